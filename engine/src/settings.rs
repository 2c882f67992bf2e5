//! The settings of a job as a user writes them: flags, `HUBBLEFLOW_…` variables, or a TOML file.
use std::{cmp::Ordering, path::PathBuf, time::Duration};

use clap::{Args, Command, ValueEnum};
use connectors::galaxy::KeptTypes;
use models::device::{DeviceChoice, PrecisionChoice};
use tch::Device;

use crate::{Error, supervise::Start};

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
        Duration::try_from_secs_f64(number * seconds)
            .map(Self)
            .map_err(|_| bad())
    }
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| "a number from 1".to_owned())
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

/// Makes sure that there are redshifts between two bounds.
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
    /// A z_spec above this is ignored: 99 and 9999 are how tables say that there is none
    #[arg(long, default_value_t = 10.0)]
    pub z_spec_max: f32,
    /// Go on in an output that holds another model's predictions
    #[arg(long)]
    pub model_change: bool,
    /// Print one JSON object last on stdout
    #[arg(long)]
    pub json: bool,
}

/// How a job runs: none of these changes a prediction but device, precision and batch.
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
    /// Galaxies that the model takes at a time [default: 128, on a GPU 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// The bound on what a process has in flight: fetched, decoded, waiting, not yet written
    #[arg(long, default_value = "512MB")]
    pub memory: Bytes,
    /// Threads that run the model in a process [default: its share of the cores, on a GPU 3]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Workers of the dataflow in a process
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: u32,
    /// How often a local cluster is started again after one of its processes crashed
    #[arg(long, default_value_t = 3)]
    pub restarts: u32,
    /// Run as a cluster of N processes on this machine
    #[arg(long, value_name = "N", value_parser = positive)]
    pub local: Option<usize>,
    /// How many processes the cluster has
    #[arg(long, value_name = "N", requires = "process")]
    pub processes: Option<usize>,
    /// Which of them this is, from 0
    #[arg(long, value_name = "I", requires = "hosts")]
    pub process: Option<usize>,
    /// A file with a line HOST:PORT for each process
    #[arg(long, value_name = "FILE", requires = "processes")]
    pub hosts: Option<PathBuf>,
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
    #[arg(long, default_value = "500ms")]
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

    use super::{Bytes, While};

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
        for text in ["10", "s", "-1s", "1 parsec", ""] {
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
