//! What a run tells whoever started it.
use operators::{Progress, Published, Settled};

use crate::start::Start;

/// The drops that a run has to do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// How many drops are pending.
    pub drops: u64,
    /// The bytes of their objects.
    pub bytes: u64,
}

/// A cluster whose processes have come together.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The number of this process, from 0.
    pub process: usize,
    /// How many processes the cluster has.
    pub processes: usize,
    /// The command that the summary counts for, if the processes have met through a store. All of them know it.
    pub start: Option<Start>,
}

/// Receives what happens in a run. Every method does nothing unless it is overridden; `()` observes nothing.
///
/// The run's own threads call these methods, so they should return quickly.
///
/// ```
/// use hubbleflow::{Observer, Settled};
///
/// /// Prints the name of each drop.
/// struct Names;
///
/// impl Observer for Names {
///     fn settled(&self, settled: &Settled) {
///         println!("{}", settled.drop);
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// The processes of the cluster have come together.
    fn gathered(&self, cluster: &Gathered) {
        let _ = cluster;
    }

    /// The run begins. `work` is `None` for a watch: nobody knows which drops arrive. `progress` counts from now on.
    fn begin(&self, work: Option<Work>, progress: &Progress) {
        let _ = (work, progress);
    }

    /// A drop was committed, failed, or turned out to be committed already.
    fn settled(&self, settled: &Settled) {
        let _ = settled;
    }

    /// `rows_adopted` of the `rows` of a drop come from checkpoints of earlier tries.
    fn adopted(&self, drop: &str, rows_adopted: u64, rows: u64) {
        let _ = (drop, rows_adopted, rows);
    }

    /// A drop that an earlier run committed cannot be published now.
    fn unpublished(&self, drop: &str, reason: &str) {
        let _ = (drop, reason);
    }

    /// Metrics were written after a drop, or could not be.
    fn scored(&self, published: &Published) {
        let _ = published;
    }

    /// Something that the user should know and that does not stop the run.
    fn warn(&self, line: &str) {
        let _ = line;
    }

    /// Another process of the cluster is gone; the run ends with [`Error::LostPeer`](crate::Error::LostPeer) soon after.
    fn peer_lost(&self, how: &str) {
        let _ = how;
    }

    /// The run is over.
    fn end(&self) {}
}

impl Observer for () {}
