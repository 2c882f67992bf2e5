//! The model alone: on one thread of a CPU, on as many as a run has on a GPU.
use std::{thread, time::Duration};

use clap::Args;
use hubbleflow::{
    StoreOptions,
    clock::clock,
    model::{device_name, model_directory},
    settings::{BATCH_MAX, THREADS_MAX},
    units::HumanBytes,
};
use models::{
    Inputs, Model, ModelOutput, Precision,
    device::{DeviceChoice, PrecisionChoice},
};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::{
    machine::Machine,
    table::table,
    usage::{thread_cpu, usage},
};
use crate::{Error, bundled};

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
    /// Galaxies that it takes at a time [default: 128, on a GPU 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    batch: Option<u32>,
    /// Threads that run it, each with a batch of its own [default: 1, on a GPU 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=THREADS_MAX as i64))]
    threads: Option<u32>,
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
    /// Threads that ran it.
    pub threads: usize,
    /// Rounds that were timed.
    pub rounds: usize,
    /// Galaxies of each.
    pub galaxies_per_round: usize,
    /// By the clock, in the median round.
    pub galaxies_per_second: f64,
    /// By the time that its threads computed, in the median round: what other programs take does not count.
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
    let device = args.device.resolve(0)?;
    let dir = runtime.block_on(model_directory(&bundled::resolve_url(&args.dir)?, options))?;
    let precision = models::precision(&dir.path, args.precision, Precision::fastest(device, None))?;
    let model = models::load(&dir.path, device, precision)?;
    let time = Duration::from_secs_f64(args.seconds.min(1e6));
    let asked = |number: Option<u32>| number.map(|number| number as usize);
    let batch = asked(args.batch).unwrap_or(models::device::batch(device));
    let threads = asked(args.threads).unwrap_or(models::device::threads(device, 1));
    let rounds = rounds(model.as_ref(), threads, batch, time)?;
    let galaxies = rounds.galaxies;
    let cpu = rounds.sorted(|round| round.cpu);
    let wall = rounds.sorted(|round| round.wall);
    let (median, last) = (cpu.len() / 2, cpu.len() - 1);
    Ok(ModelTiming {
        model: model.name().to_owned(),
        device: device_name(device),
        precision,
        batch,
        threads,
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

/// Runs a model on some threads for about as long as `time`, in rounds, after a warm-up.
pub(super) fn rounds(
    model: &dyn Model,
    threads: usize,
    batch: usize,
    time: Duration,
) -> Result<Rounds, Error> {
    let replica = |_| Replica::new(model.replica()?, batch);
    let mut replicas: Vec<_> = (0..threads).map(replica).collect::<Result<_, _>>()?;
    round(&mut replicas, 1)?;
    let a_batch = round(&mut replicas, 1)?.wall.as_secs_f64().max(1e-6);
    let batches = time.as_secs_f64() / ROUNDS as f64 / a_batch;
    let batches = batches.round().max(1.0) as usize;
    let rounds = (0..ROUNDS).map(|_| round(&mut replicas, batches));
    Ok(Rounds {
        rounds: rounds.collect::<Result<_, _>>()?,
        galaxies: threads * batches * batch,
    })
}

/// A model with a batch where it reads it fastest.
struct Replica {
    model: Box<dyn Model>,
    inputs: Inputs,
    wanted: Vec<ModelOutput>,
}

impl Replica {
    fn new(model: Box<dyn Model>, batch: usize) -> Result<Self, Error> {
        let made_up = models::init::inputs(batch, model.needs())?;
        let placed = |tensor: tch::Tensor| -> Result<tch::Tensor, models::Error> {
            let mut place = model.host_tensor(&tensor.size())?;
            place.f_copy_(&tensor)?;
            Ok(place)
        };
        let inputs = Inputs {
            cutouts: made_up.cutouts.map(placed).transpose()?,
            mags: made_up.mags.map(placed).transpose()?,
            embeddings: made_up.embeddings.map(placed).transpose()?,
            ebv: made_up.ebv,
        };
        let all = model.outputs();
        // As in a run: an embedding counts only for a model that gives no redshifts.
        let has_redshifts = all.contains(&ModelOutput::ZPhot);
        let is_extra =
            |output: &ModelOutput| has_redshifts && matches!(output, ModelOutput::Embedding { .. });
        let wanted = all.iter().filter(|output| !is_extra(output)).cloned();
        let wanted = wanted.collect();
        Ok(Self {
            model,
            inputs,
            wanted,
        })
    }

    /// Predicts the batch a number of times; returns the CPU time of this thread.
    fn run(&self, batches: usize) -> Result<Duration, Error> {
        models::single_threaded();
        let began = thread_cpu();
        for _ in 0..batches {
            let _outputs = self.model.forward(&self.inputs, &self.wanted)?;
        }
        Ok(thread_cpu() - began)
    }
}

/// Runs a number of batches on each thread.
fn round(replicas: &mut [Replica], batches: usize) -> Result<Round, Error> {
    let began = clock();
    let cpu = thread::scope(|scope| {
        let run = |replica: &mut Replica| replica.run(batches);
        let threads = replicas.iter_mut().map(|it| scope.spawn(move || run(it)));
        let threads: Vec<_> = threads.collect();
        let joined = threads.into_iter().map(|thread| match thread.join() {
            Ok(cpu) => cpu,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.sum::<Result<Duration, Error>>()
    })?;
    Ok(Round {
        cpu,
        wall: clock() - began,
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
                    "{}, {} on {}, threads: {}",
                    self.model, self.precision, self.device, self.threads
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
            ("peak memory", HumanBytes(self.peak_rss_bytes).to_string()),
        ];
        table(f, &rows)
    }
}
