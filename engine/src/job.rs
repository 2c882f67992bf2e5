//! A job that is ready to run: settings resolved, places opened, the model loaded.
use std::{sync::Arc, time::Duration};

use connectors::budget::Budget;
use operators::{Checkpointer, Inference, Reader, Shutdown, Writer};
use serde_json::{Map, Value};
use tch::Device;
use tokio::runtime::{Handle, Runtime};

use crate::{
    Error, Observer,
    clock::clock,
    cluster::Cluster,
    model::LoadedModel,
    plan::{Places, Plan},
    settings::{JobSettings, cores},
    start::Start,
    stop::Stop,
};

/// A job in one process of its cluster.
pub struct Job {
    /// What is read, and where it goes.
    pub(crate) plan: Arc<Plan>,
    /// How rows are read.
    pub(crate) reader: Reader,
    /// How rows are predicted.
    pub(crate) inference: Inference,
    /// How results are stored before their drop is committed.
    pub(crate) checkpointer: Checkpointer,
    /// How predictions are written.
    pub(crate) writer: Writer,
    /// Asks the run to end early.
    pub(crate) stop: Stop,
    /// Tells the operators that the process is about to leave.
    pub(crate) shutdown: Shutdown,
    /// The processes.
    pub(crate) cluster: Cluster,
    /// This start of the command, if a supervisor may start the command again.
    pub(crate) start: Option<Start>,
    /// Where the model runs, as `cpu`.
    pub(crate) device: String,
    /// The model's arithmetic, as `fp32`.
    pub(crate) precision: String,
    /// When the job was begun, by [`clock`].
    pub(crate) began: Duration,
    /// Receives what happens.
    pub(crate) observer: Arc<dyn Observer>,
    /// Runs what waits for stores.
    pub(crate) runtime: Arc<JobRuntime>,
}

/// The tokio runtime of a job: the caller's, or one that ends with the job.
pub(crate) enum JobRuntime {
    Callers(Handle),
    Own(Runtime),
}

impl JobRuntime {
    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Callers(handle) => handle,
            Self::Own(runtime) => runtime.handle(),
        }
    }
}

/// What a job is made of.
pub(crate) struct JobParts {
    pub settings: JobSettings,
    pub model: LoadedModel,
    pub places: Places,
    pub start: Option<Start>,
    pub began: Duration,
    pub observer: Arc<dyn Observer>,
    pub stop: Stop,
    pub runtime: JobRuntime,
}

impl Job {
    /// Whether this process plans and commits.
    pub fn is_leader(&self) -> bool {
        self.cluster.is_leader()
    }

    pub(crate) fn new(parts: JobParts) -> Result<Self, Error> {
        let JobParts {
            settings,
            model,
            places,
            start,
            began,
            observer,
            stop,
            runtime,
        } = parts;
        settings.check()?;
        let shutdown = Shutdown::default();
        let plan = Arc::new(plan(&settings, &model, places)?);
        let cluster = Cluster::new(settings.cluster.as_ref(), settings.workers as usize)?;
        let workers = cluster.workers();
        let cores = (cores() / cluster.processes_here()).max(1);
        let threads = settings.threads(model.device, cores);
        // A quarter is kept for predictions that wait to be written; the rest is for rows that wait to be predicted.
        let held_bytes = settings.memory_bytes / 4;
        let handle = runtime.handle().clone();
        let reader = Reader {
            catalog: plan.catalog.clone(),
            budget: Budget::new(settings.memory_bytes - held_bytes),
            runtime: handle.clone(),
            splits_in_hand: splits_in_hand(model.device, threads, cores)
                .div_ceil(workers)
                .max(2),
            shutdown: shutdown.clone(),
            clock,
        };
        let checkpointer = Checkpointer {
            checkpoints: plan.checkpoints(),
            every: settings.checkpoint,
            held_bytes: held_bytes / workers as u64,
            budget: reader.budget.clone(),
            shutdown: shutdown.clone(),
            runtime: handle.clone(),
            clock,
        };
        let writer = Writer {
            output: plan.output.clone(),
            model_id: plan.model_id.clone(),
            reference_band: plan.reference_band.clone(),
            held_bytes: held_bytes / workers as u64,
            runtime: handle,
            clock,
        };
        let (device, precision) = (model.device_name(), model.precision.to_string());
        Ok(Self {
            reader,
            inference: inference(model, &plan, threads)?,
            checkpointer,
            writer,
            stop,
            shutdown,
            plan,
            cluster,
            start,
            device,
            precision,
            began,
            observer,
            runtime: Arc::new(runtime),
        })
    }

    /// What must be the same in all processes of a cluster.
    pub(crate) fn agreement(&self) -> Map<String, Value> {
        let plan = &self.plan;
        let mut agreement = plan.settings.clone();
        for (key, value) in [
            ("engine", env!("CARGO_PKG_VERSION")),
            ("model", plan.model_id.as_str()),
            ("output", plan.output.location().url.as_str()),
        ] {
            agreement.insert(key.to_owned(), value.into());
        }
        agreement.insert("drop".to_owned(), plan.drops.clone().into());
        agreement.insert("again".to_owned(), plan.again.into());
        agreement.insert("model_change".to_owned(), plan.model_change.into());
        agreement.insert("workers".to_owned(), self.cluster.workers().into());
        agreement.insert("processes".to_owned(), self.cluster.processes().into());
        agreement
    }
}

/// The plan, with the settings of the model in what the ledger keeps.
fn plan(settings: &JobSettings, model: &LoadedModel, places: Places) -> Result<Plan, Error> {
    let mut plan = Plan::new(&settings.plan, model.model.as_ref(), places)?;
    let kind = if model.device.is_cuda() {
        "cuda"
    } else {
        "cpu"
    };
    plan.batch = settings.batch(model.device);
    let mut keep = |name: &str, value: Value| plan.settings.insert(name.to_owned(), value);
    keep("batch", plan.batch.into());
    keep("device", kind.into());
    keep("precision", model.precision.to_string().into());
    if let Some(set) = model.instructions {
        keep("instructions", set.to_string().into());
    }
    Ok(plan)
}

/// Threads that run the model, each with a replica of its own.
fn inference(model: LoadedModel, plan: &Plan, threads: usize) -> Result<Inference, Error> {
    let others = (1..threads).map(|_| model.model.replica());
    let mut replicas = others.collect::<Result<Vec<_>, _>>()?;
    replicas.push(model.model);
    let inference = Inference::new(replicas, &plan.wanted, plan.batch, clock)
        .map_err(|error| Error::worker(format!("cannot start {threads} threads: {error}")))?;
    Ok(inference.with_quantiles(plan.stores_quantiles))
}

/// How many splits a process has in hand: those that are computed, and one that is read meanwhile. Beside a GPU all cores
/// read.
fn splits_in_hand(device: Device, threads: usize, cores: usize) -> usize {
    match device {
        Device::Cpu => threads + 1,
        _ => threads + cores,
    }
}
