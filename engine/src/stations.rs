//! What the operators of a process work with, once the processes of the cluster have met.
use std::sync::Arc;

use connectors::budget::Budget;
use operators::{Checkpointer, Inference, Reader, Shutdown, Writer};
use tch::Device;
use tokio::runtime::Handle;

use crate::{
    Error, LoadedModel, Plan,
    clock::clock,
    cluster::Cluster,
    settings::{JobSettings, cores},
};

/// What the operators of a process work with.
pub struct Stations {
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
    /// Tells the operators that the process is about to leave.
    pub(crate) shutdown: Shutdown,
    /// The processes.
    pub(crate) cluster: Cluster,
}

impl Stations {
    /// Shares the cores and the memory of this process out.
    ///
    /// # Errors
    /// The model's, for replicas; the system's, for threads.
    pub(crate) fn new(
        settings: &JobSettings,
        model: LoadedModel,
        plan: &Arc<Plan>,
        (shutdown, cluster): (Shutdown, Cluster),
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let workers = cluster.workers();
        let cores = (cores() / cluster.processes_here()).max(1);
        let threads = settings.threads(model.device, cores);
        // A quarter is kept for predictions that wait to be written; the rest is for rows that wait to be predicted.
        let held_bytes = settings.memory_bytes / 4;
        let reader = Reader {
            catalog: plan.catalog.clone(),
            budget: Budget::new(settings.memory_bytes - held_bytes),
            runtime: runtime.clone(),
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
            runtime: runtime.clone(),
            clock,
        };
        let writer = Writer {
            output: plan.output.clone(),
            model_id: plan.model_id.clone(),
            reference_band: plan.reference_band.clone(),
            held_bytes: held_bytes / workers as u64,
            runtime: runtime.clone(),
            clock,
        };
        Ok(Self {
            inference: inference(model, plan, threads)?,
            plan: plan.clone(),
            reader,
            checkpointer,
            writer,
            shutdown,
            cluster,
        })
    }
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
