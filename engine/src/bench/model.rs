//! The model alone, on one thread.
use std::time::Duration;

use clap::Args;
use models::{
    Model, Precision,
    device::{DeviceChoice, PrecisionChoice},
};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{Machine, table};
use crate::{
    Error,
    clock::{clock, thread_cpu, usage},
    job::{StoreOptions, device_name, model_directory},
    settings::Bytes,
};

/// Rounds that the time is spread over: enough for a median.
const ROUNDS: usize = 7;

/// Settings of `bench model`.
#[derive(Args)]
pub struct ModelArgs {
    /// The model's directory, a path or a URL
    dir: String,
    /// Where it runs
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Its arithmetic
    #[arg(long, default_value = "auto")]
    precision: PrecisionChoice,
    /// Galaxies that it takes at a time
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// About how long it is timed
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What the model takes.
#[derive(Clone, Debug, Serialize)]
pub struct ModelTiming {
    /// The model's name.
    pub model: String,
    /// Where it ran.
    pub device: String,
    /// Its arithmetic.
    pub precision: Precision,
    /// Galaxies that it took at a time.
    pub batch: usize,
    /// Rounds that were timed.
    pub rounds: usize,
    /// Galaxies of each.
    pub galaxies_per_round: usize,
    /// By the clock, in the median round.
    pub galaxies_per_second: f64,
    /// By the time that the thread computed, in the median round: what other programs take does not count.
    pub galaxies_per_cpu_second: f64,
    /// The slowest round less the fastest, by the median one, in CPU time.
    pub spread: f64,
    /// That the timed rounds took.
    pub cpu_seconds: f64,
    /// That the timed rounds took.
    pub wall_seconds: f64,
    /// The most memory that the process held.
    pub peak_rss_bytes: u64,
    /// What it was timed on.
    pub machine: Machine,
}

/// Loads a model and times it.
pub(super) fn bench(
    args: &ModelArgs,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<ModelTiming, Error> {
    if !(args.seconds.is_finite() && args.seconds > 0.0) {
        return Err(Error::Usage("--seconds must be above 0".to_owned()));
    }
    models::single_threaded();
    let device = args.device.resolve()?;
    let precision = args.precision.resolve();
    let dir = runtime.block_on(model_directory(&args.dir, options))?;
    let model = models::load(&dir.path, device, precision)?;
    let (batch, time) = (
        args.batch as usize,
        Duration::from_secs_f64(args.seconds.min(1e6)),
    );
    let rounds = rounds(model.as_ref(), batch, time)?;
    let galaxies = rounds.galaxies;
    let cpu = rounds.sorted(|round| round.cpu);
    let wall = rounds.sorted(|round| round.wall);
    let (median, last) = (cpu.len() / 2, cpu.len() - 1);
    Ok(ModelTiming {
        model: model.name().to_owned(),
        device: device_name(device),
        precision,
        batch,
        rounds: cpu.len(),
        galaxies_per_round: galaxies,
        galaxies_per_second: galaxies as f64 / wall[median],
        galaxies_per_cpu_second: galaxies as f64 / cpu[median],
        spread: (cpu[last] - cpu[0]) / cpu[median],
        cpu_seconds: cpu.iter().sum(),
        wall_seconds: wall.iter().sum(),
        peak_rss_bytes: usage().peak_rss_bytes,
        machine: Machine::here(),
    })
}

/// What rounds of a model took.
pub(super) struct Rounds {
    /// Galaxies of each.
    galaxies: usize,
    rounds: Vec<Round>,
}

struct Round {
    cpu: Duration,
    wall: Duration,
}

impl Rounds {
    /// Seconds of each round, the shortest first.
    fn sorted(&self, of: impl Fn(&Round) -> Duration) -> Vec<f64> {
        let mut seconds: Vec<f64> = self.rounds.iter().map(|r| of(r).as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }

    /// CPU seconds that a galaxy takes in the median round.
    pub(super) fn cpu_seconds_a_galaxy(&self) -> f64 {
        let cpu = self.sorted(|round| round.cpu);
        cpu[cpu.len() / 2] / self.galaxies as f64
    }
}

/// Runs a model on this thread for about as long as `time`, in rounds, after a warm-up.
pub(super) fn rounds(model: &dyn Model, batch: usize, time: Duration) -> Result<Rounds, Error> {
    let inputs = models::init::inputs(batch, model.cutout_px())?;
    let once = || -> Result<Round, Error> {
        let (cpu, wall) = (thread_cpu(), clock());
        let _z_phot = model.forward(&inputs)?;
        Ok(Round {
            cpu: thread_cpu() - cpu,
            wall: clock() - wall,
        })
    };
    once()?;
    let a_batch = once()?.wall.as_secs_f64().max(1e-6);
    let batches = (time.as_secs_f64() / ROUNDS as f64 / a_batch)
        .round()
        .max(1.0) as usize;
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut round = once()?;
        for _ in 1..batches {
            let Round { cpu, wall } = once()?;
            round.cpu += cpu;
            round.wall += wall;
        }
        rounds.push(round);
    }
    Ok(Rounds {
        galaxies: batches * batch,
        rounds,
    })
}

impl std::fmt::Display for ModelTiming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounds = format!(
            "{} of {} galaxies, {} at a time, spread {:.1}%",
            self.rounds,
            self.galaxies_per_round,
            self.batch,
            100.0 * self.spread
        );
        let rows = [
            ("machine", self.machine.to_string()),
            (
                "model",
                format!(
                    "{}, {} on one thread of {}",
                    self.model, self.precision, self.device
                ),
            ),
            ("rounds", rounds),
            (
                "galaxies a second",
                format!("{:.1}", self.galaxies_per_second),
            ),
            (
                "galaxies a CPU second",
                format!("{:.1}", self.galaxies_per_cpu_second),
            ),
            ("peak memory", Bytes(self.peak_rss_bytes).to_string()),
        ];
        table(f, &rows)
    }
}
