//! The settings of a job as a user writes them: flags, `HUBBLEFLOW_…` variables, or a TOML file.
use std::{cmp::Ordering, ffi::OsStr, path::PathBuf, time::Duration};

use clap::{
    Args, Command, ValueEnum,
    builder::{PathBufValueParser, TypedValueParser},
    error::ErrorKind,
};
use connectors::{galaxy::KeptTypes, scheme::scheme};
use models::device::{DeviceChoice, InstructionSet, PrecisionChoice};
use tch::Device;

use crate::{Error, supervise::Start};

/// Upper bound on the workers of a process: each of them has a channel to each other one.
pub const WORKERS_MAX: u32 = 128;
/// Upper bound on the threads that run a model in a process.
pub const THREADS_MAX: usize = 1024;
/// Upper bound on the processes that are started on one machine.
pub const LOCAL_MAX: usize = 128;
/// Upper bound on the galaxies that a model takes at a time.
pub const BATCH_MAX: u32 = 65_536;
/// The shortest pause between two looks at a catalog.
const POLL_MIN: Duration = Duration::from_millis(10);
/// The longest while: a year.
const WHILE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A number of bytes, written as `25MB`, `1GiB` or `1048576`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "t" | "tb" => 1_000_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            "tib" => 1 << 40,
            other => return Err(format!("unknown unit {other:?}; write 25MB, 512MiB or 2GB")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is no size; write 25MB, 512MiB or 2GB"))?;
        Ok(Self((number * factor as f64) as u64))
    }
}

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes >= 1_000_000_000 => write!(f, "{:.1} GB", bytes as f64 / 1e9),
            bytes if bytes >= 1_000_000 => write!(f, "{:.1} MB", bytes as f64 / 1e6),
            bytes if bytes >= 1_000 => write!(f, "{:.1} kB", bytes as f64 / 1e3),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// A while, written as `500ms`, `10s`, `5m` or `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct While(pub Duration);

impl std::str::FromStr for While {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no while; write 500ms, 10s, 5m or 1h");
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.split_at(split.unwrap_or(text.len()));
        let seconds = match unit.trim() {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let length = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        if length > WHILE_MAX {
            return Err(format!("{text:?} is longer than a year"));
        }
        Ok(Self(length))
    }
}

fn poll(text: &str) -> Result<While, String> {
    let poll: While = text.parse()?;
    if poll.0 < POLL_MIN {
        let least = POLL_MIN.as_millis();
        return Err(format!("a catalog is looked at every {least}ms at most"));
    }
    Ok(poll)
}

fn from_1_to(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| {
        let number = text.parse::<usize>().ok();
        let number = number.filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| format!("a number from 1 to {most}"))
    }
}

pub(crate) fn threads(text: &str) -> Result<usize, String> {
    from_1_to(THREADS_MAX)(text)
}

pub(crate) fn local(text: &str) -> Result<usize, String> {
    from_1_to(LOCAL_MAX)(text)
}

/// A path of this machine; a URL is refused, since it would become a folder `s3:`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalPath;

impl TypedValueParser for LocalPath {
    type Value = PathBuf;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<PathBuf, clap::Error> {
        let refuse = |reason: String| {
            let name = arg.map(|arg| format!("{arg}: ")).unwrap_or_default();
            // Not clap's own words, which repeat the value: it may hold a password.
            let reason = format!("{name}{reason}\n");
            clap::Error::raw(ErrorKind::ValueValidation, reason).with_cmd(command)
        };
        match value.to_str().map(scheme) {
            Some(Err(error)) => Err(refuse(error.to_string())),
            Some(Ok(Some(scheme))) => Err(refuse(format!(
                "a {scheme} URL, and this must be a path of this machine"
            ))),
            _ => PathBufValueParser::new().parse_ref(command, arg, value),
        }
    }
}

/// How objects make drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DropBy {
    /// Each child of the catalog is a drop.
    Child,
    /// The whole catalog is one drop.
    All,
}

impl From<DropBy> for connectors::DropBy {
    fn from(by: DropBy) -> Self {
        match by {
            DropBy::Child => Self::Child,
            DropBy::All => Self::All,
        }
    }
}

/// Makes sure that there are magnitudes between two bounds.
///
/// # Errors
/// [`Error::Usage`] where there are none.
pub(crate) fn check_mags(min: f32, max: f32) -> Result<(), Error> {
    match min.partial_cmp(&max) {
        Some(Ordering::Less) => Ok(()),
        _ => Err(Error::Usage(format!(
            "--mag-min {min} is not below --mag-max {max}"
        ))),
    }
}

/// Checks the two bounds of redshifts.
///
/// # Errors
/// [`Error::Usage`] where there are none, or where a redshift of -1 or less is to count: 1 + z is a ratio of wavelengths.
pub(crate) fn check_z_spec(min: f32, max: f32) -> Result<(), Error> {
    if min.is_nan() || min <= -1.0 {
        return Err(Error::Usage(format!(
            "--z-spec-min {min} is not above -1: there is no such redshift"
        )));
    }
    if min < max && max.is_finite() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--z-spec-min {min} and --z-spec-max {max}: the first must be below the second, and both must be numbers"
    )))
}

/// Where rows come from, and how they are read.
#[derive(Args, Clone, Debug)]
pub struct CatalogArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    pub catalog: String,
    /// Where the predictions go: a URL or a path, outside the catalog
    #[arg(long)]
    pub out: String,
    /// The model's directory (config.json and model.safetensors), a path or a URL; `bundled` is the one that comes along
    #[arg(long)]
    pub model: String,
    /// Take this drop alone (may be given several times)
    #[arg(long, value_name = "NAME")]
    pub drop: Vec<String>,
    /// Whether each child of the catalog is a drop, or the whole is one
    #[arg(long, value_enum, default_value = "child")]
    pub drop_by: DropBy,
    /// Read a column under another name, as cutout=image (may be given several times)
    #[arg(long, value_name = "NAME=NAME")]
    pub column: Vec<String>,
    /// Carry a column of the catalog through to the predictions (may be given several times)
    #[arg(long, value_name = "COLUMN")]
    pub keep: Vec<String>,
    /// Types of kept columns, where a drop does not say them: `verify` gives those of the ledger.
    #[arg(skip)]
    pub kept_types: KeptTypes,
    /// Take the first N rows alone: a first try, which the next run without it replaces
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Take drops in again that are committed already; their new files replace the old
    #[arg(long)]
    pub again: bool,
    /// About how many bytes of rows are read, batched and retried together
    #[arg(long, default_value = "25MB")]
    pub split_bytes: Bytes,
    /// Magnitudes at or below this are no magnitudes
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub mag_min: f32,
    /// Magnitudes at or above this are no magnitudes
    #[arg(long, default_value_t = 40.0)]
    pub mag_max: f32,
    /// A z_spec below this is ignored; so is one of exactly 0
    #[arg(long, default_value_t = -0.01, allow_negative_numbers = true)]
    pub z_spec_min: f32,
    /// A z_spec above this is ignored: many tables write 99 or 9999 for a missing redshift
    #[arg(long, default_value_t = 10.0)]
    pub z_spec_max: f32,
    /// Go on in an output that holds another model's predictions
    #[arg(long)]
    pub model_change: bool,
    /// Print one JSON object last on stdout
    #[arg(long)]
    pub json: bool,
}

/// How a job runs. Only device, precision, instructions and batch change predictions.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What is read, and where it goes.
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Where the model runs: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The model's arithmetic: auto, fp32 or bf16
    #[arg(long, default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Instructions of the CPU that the model uses: any, avx2, avx512, avx512_bf16 or amx [default: the fastest of this
    /// machine]. Machines that differ give the same bits where they use the same
    #[arg(long, value_name = "SET")]
    pub instructions: Option<InstructionSet>,
    /// Galaxies that the model takes at a time [default: 128, on a GPU 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    pub batch: Option<u32>,
    /// The bound on what a process has in flight: fetched, decoded, waiting, not yet written
    #[arg(long, default_value = "512MB")]
    pub memory: Bytes,
    /// Threads that run the model in a process [default: its share of the cores, on a GPU 3]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Workers of the dataflow in a process
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: u32,
    /// How often a local cluster is started again after one of its processes crashed
    #[arg(long, default_value_t = 3)]
    pub restarts: u32,
    /// Run as a cluster of N processes on this machine
    #[arg(long, value_name = "N", value_parser = local)]
    pub local: Option<usize>,
    /// How many processes the cluster has
    #[arg(long, value_name = "N", requires = "process")]
    pub processes: Option<usize>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "I", requires = "processes")]
    pub process: Option<usize>,
    /// A file with a line HOST:PORT for each process
    #[arg(long, value_name = "FILE", requires = "processes", value_parser = LocalPath)]
    pub hosts: Option<PathBuf>,
    /// The lines of such a file, from a supervisor
    #[arg(long, hide = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub addresses: Vec<String>,
    /// Started by a supervisor, for this command: ends when standard input does
    #[arg(long, hide = true, value_name = "COMMAND@SECONDS")]
    pub supervised: Option<Start>,
}

/// How a catalog is watched.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// How what arrives is run.
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to wait between two looks at the catalog
    #[arg(long, default_value = "500ms", value_parser = poll)]
    pub poll: While,
    /// A drop without _SUCCESS is whole when nothing in it has changed for this long
    #[arg(long, default_value = "10s")]
    pub settle: While,
}

impl RunArgs {
    /// The settings of a job with the defaults of the command line; whatever is to be different is a field.
    ///
    /// ```
    /// let mut args = engine::settings::RunArgs::new("survey", "photoz", "model");
    /// args.batch = Some(64);
    /// assert_eq!((args.catalog.out.as_str(), args.workers), ("photoz", 1));
    /// ```
    pub fn new(catalog: &str, out: &str, model: &str) -> Self {
        let (out, model) = (format!("--out={out}"), format!("--model={model}"));
        defaults(&[&out, &model, "--", catalog])
    }

    /// Galaxies that a model on a device takes at a time.
    pub(crate) fn batch(&self, device: Device) -> usize {
        let asked = self.batch.map(|batch| batch as usize);
        asked.unwrap_or_else(|| models::device::batch(device))
    }

    /// Threads that run a model on a device, in a process with so many cores.
    pub(crate) fn threads(&self, device: Device, cores: usize) -> usize {
        let threads = self.threads;
        threads.map_or_else(|| models::device::threads(device, cores), |n| n.max(1))
    }
}

/// Settings with the defaults of the command line; `words` are those that have none.
pub(crate) fn defaults<A: Args>(words: &[&str]) -> A {
    let command = A::augment_args(Command::new("settings").no_binary_name(true));
    let matches = command.try_get_matches_from(words);
    let args = matches.and_then(|matches| A::from_arg_matches(&matches));
    args.expect("the settings without a default are given")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::{Bytes, WatchArgs, While};

    #[derive(Debug, Parser)]
    struct Watched {
        #[command(flatten)]
        watch: WatchArgs,
    }

    fn refusal(flags: &[&str]) -> String {
        let words = ["watch", "catalog", "--out", "out", "--model", "model"];
        let parsed = Watched::try_parse_from(words.iter().chain(flags));
        parsed.unwrap_err().to_string()
    }

    /// These took all memory, or panicked.
    #[test]
    fn numbers_beyond_their_bounds_are_refused() {
        for flags in [
            ["--workers", "5000"],
            ["--workers", "0"],
            ["--threads", "1000000"],
            ["--local", "100000"],
            ["--local", "0"],
            ["--batch", "4294967295"],
            ["--poll", "0ms"],
            ["--poll", "9ms"],
            ["--settle", "1e300h"],
        ] {
            assert!(refusal(&flags).contains(flags[0]), "{flags:?}");
        }
    }

    #[test]
    fn a_url_is_no_path_and_its_password_is_not_printed() {
        for url in ["s3://a:secret@b/hosts", "s3:/b/hosts", "https://x/hosts"] {
            let said = refusal(&["--processes", "2", "--process", "0", "--hosts", url]);
            assert!(said.contains("--hosts"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn whiles_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1.5 s", 1500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            let expected = While(Duration::from_millis(milliseconds));
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["10", "s", "-1s", "1 parsec", "", "9000h"] {
            assert!(text.parse::<While>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("25MB", 25_000_000),
            ("1GiB", 1 << 30),
            ("512 mb", 512_000_000),
            ("7", 7),
            ("1.5k", 1500),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        assert!(
            "25 parsecs"
                .parse::<Bytes>()
                .unwrap_err()
                .contains("parsecs")
        );
        assert!("MB".parse::<Bytes>().is_err());
    }
}
