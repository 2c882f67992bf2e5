//! Keeps results until their drop is complete, stores them meanwhile, and sends them to the workers that write them.
//!
//! ```text
//! predictions ── collect ── store ── hold ──► parcels
//!                bundles    one      in memory, or in the checkpoint alone
//! ```
//! A worker stores its results from time to time, so that a crash loses seconds. The results stay in memory
//! until their drop is complete. If they exceed their share of memory, they are freed, and the writer reads them back from
//! the checkpoint.
mod collect;
mod hold;
mod store;

use std::time::Duration;

use connectors::{budget::Budget, checkpoint::Checkpoints};
use tokio::runtime::Handle;

use crate::{Clock, Flow, Parcel, Predictions, Shutdown};

/// Stores and holds the results of one process.
#[derive(Clone, Debug)]
pub struct Checkpointer {
    /// The checkpoints of the job.
    pub checkpoints: Checkpoints,
    /// How often a worker stores its results. Zero stores only results that do not fit into memory.
    pub every: Duration,
    /// Upper bound on the results that a worker keeps in memory, in bytes.
    pub held_bytes: u64,
    /// The bound on bytes in flight: nothing is read while too much waits to be stored.
    pub budget: Budget,
    /// Says when the process is about to leave.
    pub shutdown: Shutdown,
    /// The runtime for encoding and requests.
    pub runtime: Handle,
    /// The engine's clock.
    pub clock: Clock,
}

/// Stores results, and sends them on.
/// ```
/// # use std::time::Duration;
/// # use connectors::{Location, Output, budget::Budget, checkpoint::Checkpoints};
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::{Night, TenthOfMagR, rules};
/// use hubbleflow_operators::{Checkpoint, Checkpointer, Content, Infer, Inference, Read, Shutdown, Validate};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let night = Night::of_two_galaxies();
/// # let (splits, reader) = (night.splits(), night.reader());
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
///
/// let model = vec![Box::new(TenthOfMagR) as Box<dyn models::Model>];
/// let inference = Inference::new(model, &[models::ModelOutput::ZPhot], 128, reader.clock).unwrap();
/// let checkpointer = Checkpointer {
///     checkpoints: Checkpoints::new(output, "a tenth of r", "0123456789abcdef".to_owned()),
///     every: Duration::from_secs(30),
///     held_bytes: 1 << 20,
///     budget: reader.budget.clone(),
///     shutdown: Shutdown::default(),
///     runtime: reader.runtime.clone(),
///     clock: reader.clock,
/// };
/// timely::example(move |scope| {
///     let splits = splits.to_stream(scope).container::<Vec<_>>();
///     let photoz = splits.read(&reader).validate(rules(), reader.clock).infer(&inference);
///     // The rows are few, so they stay in memory.
///     photoz.checkpoint(&checkpointer).inspect(|parcel| {
///         assert!(matches!(parcel.content, Content::Rows(_)));
///     });
/// });
/// ```
pub trait Checkpoint<'s> {
    /// Emits the parcels of a drop when all of its splits are predicted.
    fn checkpoint(self, checkpointer: &Checkpointer) -> Flow<'s, Parcel>;
}

impl<'s> Checkpoint<'s> for Flow<'s, Predictions> {
    fn checkpoint(self, checkpointer: &Checkpointer) -> Flow<'s, Parcel> {
        let bundles = collect::collect(self, checkpointer);
        let stored = store::store(bundles, checkpointer);
        hold::hold(stored, checkpointer)
    }
}

/// Upper bound on the results of one drop that one of `workers` workers keeps in memory. When the drop is complete, the
/// workers that write its parts receive all of them. If they are few, the bound is lower, so that the results fit there.
fn share(held_bytes: u64, parts: u32, workers: usize) -> u64 {
    let workers = workers.max(1) as u64;
    held_bytes / workers * u64::from(parts).clamp(1, workers)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_worker_of_a_part_gets_no_more_than_it_could_keep() {
        assert_eq!(share(128, 1, 1), 128);
        assert_eq!(share(128, 1, 64), 2);
        assert_eq!(share(128, 32, 64), 64);
        assert_eq!(share(128, 1000, 64), 128);
    }
}
