//! Whole runs at many settings: sizes of the data, of splits and of batches, and numbers of processes, as CAI varied them.
//!
//! ```text
//! points ── measure (a run in a process of its own) ── figures ── spread ── results ── csv, page (plots, cai)
//! ```
mod cai;
mod csv;
mod figures;
mod measure;
mod page;
mod plots;
mod points;
mod processes;
mod results;
mod spread;

use std::{ffi::OsString, fs::File, io::Write, path::PathBuf};

use clap::Args;
use hubbleflow::{StoreOptions, model::model_directory, settings::BATCH_MAX, units::HumanBytes};
use models::{Needs, Precision};
use tch::Device;
use tokio::runtime::Runtime;

use self::{
    csv::Csv,
    figures::{Figures, Rates},
    measure::measure,
    points::{DataSize, Lists, Point},
    results::{PointResult, Run, Sweep},
};
use super::{around::Around, machine::Machine};
use crate::{
    Error,
    args::{LocalPath, local},
    bundled,
    console::{show, tell},
    signals::asked,
};

/// Settings of `bench sweep`.
#[derive(Args)]
pub struct SweepArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    catalog: String,
    /// The model's directory, a path or a URL; `bundled` is the model that comes with the program
    #[arg(long, value_name = "DIR")]
    model: String,
    /// How much of the catalog is predicted: bytes of galaxies as the model takes them (20.5 kB of the bundled model's), or
    /// all
    #[arg(
        long,
        value_name = "BYTES,…",
        value_delimiter = ',',
        default_value = "all"
    )]
    sizes: Vec<DataSize>,
    /// Split sizes
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', default_values = ["25MB", "50MB", "75MB", "100MB"])]
    split_bytes: Vec<HumanBytes>,
    /// Galaxies that the model takes at a time
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [32, 64, 128, 256, 512],
        value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    batch: Vec<u32>,
    /// Processes on this machine
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values = ["1", "2"], value_parser = local)]
    processes: Vec<usize>,
    /// How often each point is run. Each round takes all points in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Run every combination of the values, instead of one list at a time while the others stay at the default of run, or at
    /// the last value of a list without it
    #[arg(long)]
    product: bool,
    /// What an hour of this machine costs, in dollars. Cost: wall time / 3600 s × this
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    price_per_machine_hour: Option<f64>,
    /// What a GB of memory costs a second, in dollars, as on AWS Lambda (CAI: 0.00001667). Cost: wall time × peak memory in
    /// GB × this
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    price_per_gb_second: Option<f64>,
    /// Write a line for each run there, as the runs end
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    csv: Option<PathBuf>,
    /// Write a page with plots there
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Further flags of run, the same for every point, as: -- --device cpu --memory 1GB
    #[arg(last = true, value_name = "FLAGS OF RUN")]
    flags: Vec<OsString>,
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse::<f64>().ok();
    let price = price.filter(|price| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "a price in dollars, as 0.0000167".to_owned())
}

/// What all runs of a sweep have in common.
struct Runs<'a> {
    args: &'a SweepArgs,
    around: &'a Around,
    rates: Rates,
}

/// Runs all points, and shows what they took. Ends early if told to, and shows what is known then.
pub(super) fn bench(
    args: &SweepArgs,
    around: &Around,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<u8, Error> {
    let dir = runtime.block_on(model_directory(
        &bundled::resolve_url(&args.model)?,
        options,
    ))?;
    let model = models::load(&dir.path, Device::Cpu, Precision::Fp32)?;
    let runs = Runs {
        args,
        around,
        rates: Rates {
            bytes_per_galaxy: bytes_per_galaxy(model.needs()),
            price_per_machine_hour: args.price_per_machine_hour,
            price_per_gb_second: args.price_per_gb_second,
        },
    };
    drop(model);
    // Both files are made before the first run: it would be late to learn that they cannot be.
    let csv = args.csv.as_deref().map(Csv::create).transpose()?;
    let html = args.html.as_deref().map(|path| {
        let io = |source| Error::io(path.display().to_string(), source);
        File::create(path).map_err(io)
    });
    let html = html.transpose()?;
    let sweep = runs.all(csv)?;
    show(args.json, &sweep)?;
    if let (Some(mut file), Some(path)) = (html, &args.html) {
        let written = file.write_all(page::sweep_page(&sweep).as_bytes());
        written.map_err(|source| Error::io(path.display().to_string(), source))?;
        tell(format_args!("the page is {}", path.display()));
    }
    Ok(match asked() {
        Some(signal) => 128 + signal,
        None => sweep.exit_code(),
    })
}

/// Bytes of a galaxy as a model takes it, in float32: what CAI's throughput counts.
fn bytes_per_galaxy(needs: &Needs) -> u64 {
    let cutouts = needs.cutouts.as_ref();
    let pixels = cutouts.map_or(0, |cutouts| cutouts.bands.len() * cutouts.px * cutouts.px);
    let mags = if needs.mags_required {
        needs.mags.len()
    } else {
        0
    };
    let numbers = pixels + mags + needs.embedding_width.unwrap_or(0);
    (numbers * size_of::<f32>()) as u64
}

impl Runs<'_> {
    fn lists(&self) -> Lists {
        let args = self.args;
        Lists {
            sizes: args.sizes.clone(),
            split_bytes: args.split_bytes.iter().map(|bytes| bytes.0).collect(),
            batches: args.batch.clone(),
            processes: args.processes.iter().map(|&n| n as u32).collect(),
        }
    }

    /// Runs every point, round by round, so that what changes on the machine meanwhile meets all points.
    fn all(&self, mut csv: Option<Csv>) -> Result<Sweep, Error> {
        let lists = self.lists();
        let points = match self.args.product {
            true => lists.product(),
            false => lists.one_at_a_time(),
        };
        let mut results: Vec<_> = points.into_iter().map(PointResult::new).collect();
        let (repeats, count) = (self.args.repeats, results.len());
        tell(format_args!("{count} points, {repeats} runs each"));
        for repeat in 1..=repeats {
            for (place, result) in results.iter_mut().enumerate() {
                let is_first = repeat == 1 && place == 0;
                let Some(run) = self.one(&result.point, is_first)? else {
                    continue;
                };
                let (place, point) = (place + 1, &result.point);
                tell(format_args!(
                    "round {repeat} of {repeats}, point {place} of {count}: {point}: {}",
                    describe(&run)
                ));
                if let Some(csv) = &mut csv {
                    csv.add(point, repeat, &run)?;
                }
                result.add(run);
            }
        }
        Ok(Sweep {
            catalog: self.args.catalog.clone(),
            model: self.args.model.clone(),
            machine: Machine::here(),
            rates: self.rates,
            repeats,
            base: lists.base(),
            points: results,
        })
    }

    /// Runs a point once, into an output that is removed afterwards. `None` if the sweep is told to end before the run is over.
    ///
    /// # Errors
    /// [`Error::Usage`] if the first run does not take its arguments: most likely no other run would.
    fn one(&self, point: &Point, is_first: bool) -> Result<Option<Run>, Error> {
        if self.is_told() {
            return Ok(None);
        }
        let folder = tempfile::tempdir()
            .map_err(|source| Error::io("making a folder for the predictions", source))?;
        let words = self.words(point, folder.path().join("out").into());
        let ended = measure(&words, folder.path(), self.around.stop.as_ref())?;
        if self.is_told() {
            return Ok(None);
        }
        if is_first && ended.status.code() == Some(2) {
            return Err(Error::usage(format!(
                "a run does not take these settings:\n{}",
                ended.told.trim_end()
            )));
        }
        let figures = Figures::of(&ended, point.processes, &self.rates);
        let figures = figures.and_then(|figures| self.fits(point, figures));
        Ok(Some(match figures {
            Ok(figures) => Run::Done(figures),
            Err(error) => Run::Failed { error },
        }))
    }

    fn is_told(&self) -> bool {
        let stop = self.around.stop.as_ref();
        stop.is_some_and(|stop| *stop.borrow())
    }

    /// The rows that have these bytes.
    fn rows(&self, size: DataSize) -> Option<u64> {
        match size {
            DataSize::All => None,
            DataSize::Bytes(bytes) => Some((bytes / self.rates.bytes_per_galaxy.max(1)).max(1)),
        }
    }

    /// Refuses the figures of a run on fewer rows than it was to take.
    fn fits(&self, point: &Point, figures: Figures) -> Result<Figures, String> {
        match self.rows(point.size) {
            Some(rows) if figures.rows_read < rows => Err(format!(
                "--sizes {} is {rows} rows of {} bytes, and the catalog has {}; give a larger catalog or a smaller size",
                point.size, self.rates.bytes_per_galaxy, figures.rows_read
            )),
            _ if figures.rows_read == 0 => Err("the catalog has no rows to predict".to_owned()),
            _ => Ok(figures),
        }
    }

    /// The arguments of a run of a point.
    fn words(&self, point: &Point, out: OsString) -> Vec<OsString> {
        let args = self.args;
        let mut words: Vec<OsString> = ["run", &args.catalog, "--model", &args.model, "--json"]
            .map(OsString::from)
            .into();
        let mut add = |name: &str, value: OsString| words.extend([name.into(), value]);
        add("--out", out);
        add("--split-bytes", point.split_bytes.to_string().into());
        add("--batch", point.batch.to_string().into());
        match point.processes {
            // A process alone, whatever variables and the file say.
            1 => add("--processes", "1".into()),
            processes => {
                add("--local", processes.to_string().into());
                // A run that was started again would take the time of two.
                add("--restarts", "0".into());
            }
        }
        if let Some(rows) = self.rows(point.size) {
            add("--limit", rows.to_string().into());
        }
        if let Some(file) = &self.around.settings {
            add("--settings", file.clone());
        }
        words.extend(args.flags.iter().cloned());
        words
    }
}

fn describe(run: &Run) -> String {
    match run {
        Run::Done(figures) => format!(
            "{:.2} s, {:.0} galaxies/s, {:.0}% idle",
            figures.wall_seconds,
            figures.galaxies_per_second,
            100.0 * figures.model_idle_share
        ),
        Run::Failed { error } => format!("FAILED: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use models::CutoutNeeds;

    use super::*;

    #[test]
    fn a_galaxy_has_as_many_bytes_as_the_model_takes() {
        let bands: Vec<String> = ["u", "g", "r", "i", "z"].map(str::to_owned).into();
        let (cutouts, mags) = (CutoutNeeds { bands, px: 32 }, ["u", "g", "r", "i", "z"]);
        let of_mags = Needs::of_mags(mags);
        assert_eq!(bytes_per_galaxy(&of_mags), 20);
        let both = Needs {
            cutouts: Some(cutouts),
            ..of_mags
        };
        // As CAI counts its tensors.
        assert_eq!(bytes_per_galaxy(&both), 20_500);
        let without_mags = Needs {
            mags_required: false,
            ..both
        };
        assert_eq!(bytes_per_galaxy(&without_mags), 20_480);
        let embedding = Needs {
            embedding_width: Some(192),
            ..Needs::default()
        };
        assert_eq!(bytes_per_galaxy(&embedding), 768);
    }

    #[test]
    fn prices_are_numbers_of_dollars() {
        assert_eq!(price("0.00001667"), Ok(0.00001667));
        for wrong in ["", "-1", "inf", "nan", "$1"] {
            assert!(price(wrong).is_err(), "{wrong}");
        }
    }
}
