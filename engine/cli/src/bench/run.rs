//! A whole run in a process of its own, and the model's share of it.
use std::time::Duration;

use clap::Args;
use connectors::galaxy::ColumnNames;
use hubbleflow::{
    Places, SettingsError, Stopper, StoreOptions, Summary, clock::clock, model::model_directory,
    units::HumanBytes,
};
use models::Precision;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{
    machine::Machine,
    memory_curve::{Drawing, MemoryCurve},
    model::rounds,
    replay::{Choice, ReplayedCatalog, replay},
    table::table,
    usage::usage,
};
use crate::{
    Error,
    args::{DropBy, RunArgs},
    job::job,
};

/// How long the model alone is timed, after the run.
const MODEL_TIME: Duration = Duration::from_secs(5);

/// Settings of `bench run`.
#[derive(Args)]
#[command(mut_arg("out", |out| {
    let help = "Where the predictions go [default: a folder that is removed]";
    out.required(false).default_value("").hide_default_value(true).help(help)
}))]
pub struct RunBench {
    /// As those of `run`.
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Read about this many bytes: the catalog again and again, each time under new ids, or its first files [default: the
    /// catalog once, as it is]
    #[arg(long, conflicts_with = "limit")]
    bytes: Option<HumanBytes>,
}

/// What a run took, from the start of the process to the last commit.
#[derive(Clone, Debug, Serialize)]
pub struct RunTiming {
    /// What it did.
    #[serde(flatten)]
    pub summary: Summary,
    /// By the clock.
    pub wall_seconds: f64,
    /// Of all its threads.
    pub cpu_seconds: f64,
    /// What the model alone takes for these rows, on one thread.
    pub model_cpu_seconds: f64,
    /// The latter by the former.
    pub model_share: f64,
    /// The most memory that it held.
    pub peak_rss_bytes: u64,
    /// What was replayed, with `--bytes`.
    #[serde(flatten)]
    pub replayed: Option<Replayed>,
    /// What it ran on.
    pub machine: Machine,
}

/// A catalog that was replayed.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The bytes of all passes, by the files of the catalog as they are stored.
    pub bytes: u64,
    /// How often the catalog was read.
    pub passes: u64,
    /// The memory that the process held over time.
    pub memory: MemoryCurve,
}

/// Runs a job in this process, then times the model alone.
pub(super) fn bench(
    bench: RunBench,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<RunTiming, Error> {
    let mut args = bench.run;
    if args.cluster.local.is_some() || args.cluster.processes.is_some() {
        let reason = "bench run times one process: leave --local and --processes out";
        return Err(Error::Usage(reason.to_owned()));
    }
    let temporary = tempfile::tempdir()
        .map_err(|source| Error::io("making a folder for the predictions", source))?;
    if args.catalog.out.is_empty() {
        args.catalog.out = temporary.path().join("out").display().to_string();
    }
    let drawing = Drawing::begin();
    let (places, mut replayed) = match bench.bytes {
        Some(bytes) => {
            let (places, replayed) = places(&mut args, bytes.0, options, runtime)?;
            (Some(places), Some(replayed))
        }
        None => (None, None),
    };
    let summary = job(&args, places, &Stopper::new().1, options, runtime)?.run()?;
    if let Some(replayed) = &mut replayed {
        replayed.memory = drawing.end();
    }
    let (wall, used) = (clock(), usage());
    let settings = args.settings()?;
    let device = args.device.resolve(0)?;
    let dir = runtime.block_on(model_directory(&args.catalog.model()?, options))?;
    let fastest = Precision::fastest(device, settings.instructions);
    let precision = models::precision(&dir.path, settings.precision, fastest)?;
    let instructions = settings.instructions.unwrap_or(precision.instructions());
    let model = models::load_with(&dir.path, device, precision, instructions)?;
    let rounds = rounds(model.as_ref(), 1, settings.batch(device), MODEL_TIME)?;
    let model_cpu_seconds = rounds.cpu_seconds_a_galaxy() * summary.rows_written as f64;
    let cpu_seconds = used.cpu.as_secs_f64();
    Ok(RunTiming {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds,
        model_cpu_seconds,
        model_share: model_cpu_seconds / cpu_seconds,
        peak_rss_bytes: used.peak_rss_bytes,
        replayed,
        machine: Machine::here(),
        summary,
    })
}

/// The places of a run that replays its catalog. Its drops are then those of the replay.
fn places(
    args: &mut RunArgs,
    bytes: u64,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<(Places, Replayed), Error> {
    let Places { catalog, out } = Places::open(&args.catalog.catalog, &args.catalog.out, options)?;
    if catalog.overlaps(&out) {
        let (catalog, out) = (catalog.url, out.url);
        return Err(SettingsError::OutputInCatalog { catalog, out }.into());
    }
    let names = ColumnNames::parse(&args.catalog.rows.column);
    let choice = Choice {
        drop_by: args.catalog.drop_by.into(),
        drops: std::mem::take(&mut args.catalog.drop),
        names: names.map_err(|error| Error::Usage(error.to_string()))?,
    };
    args.catalog.drop_by = DropBy::Child;
    let catalog = runtime.block_on(ReplayedCatalog::new(catalog, choice, bytes))?;
    let replayed = Replayed {
        bytes: catalog.bytes(),
        passes: catalog.passes(),
        memory: MemoryCurve::default(),
    };
    let catalog = replay(catalog);
    Ok((Places { catalog, out }, replayed))
}

impl std::fmt::Display for RunTiming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let summary = &self.summary;
        let model = format!(
            "{:.1} s, {:.0}% of the CPU time ({} on {} threads of {})",
            self.model_cpu_seconds,
            100.0 * self.model_share,
            summary.precision,
            summary.model_threads,
            summary.device
        );
        let mut rows = vec![
            ("machine", self.machine.to_string()),
            (
                "galaxies",
                format!("{} of {} rows", summary.rows_written, summary.rows_read),
            ),
            (
                "galaxies a second",
                format!("{:.1}", summary.galaxies_per_second),
            ),
            ("wall time", format!("{:.2} s", self.wall_seconds)),
            ("CPU time", format!("{:.2} s", self.cpu_seconds)),
            ("of it the model's", model),
            ("peak memory", HumanBytes(self.peak_rss_bytes).to_string()),
        ];
        if let Some(replayed) = &self.replayed {
            let Replayed { bytes, passes, .. } = replayed;
            let replay = format!("{} in {passes} passes", HumanBytes(*bytes));
            rows.push(("replayed", replay));
            rows.push(("memory over time", replayed.memory.to_string()));
        }
        table(f, &rows)
    }
}
