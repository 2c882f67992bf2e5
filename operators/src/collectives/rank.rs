//! The place of a worker among all workers.
use timely::worker::Worker;

/// The place of a worker among the workers of all processes, from 0: its index.
///
/// A rank is only made for a cluster that has it:
/// ```
/// use hubbleflow_operators::collectives::{NoSuchRank, Rank};
///
/// timely::execute(timely::Config::process(2), |worker| {
///     assert_eq!(Rank::all(worker).collect::<Vec<_>>(), [Rank::FIRST, Rank::new(1, worker).unwrap()]);
///     assert_eq!(Rank::new(2, worker), Err(NoSuchRank { rank: 2, ranks: 2 }));
///     assert_eq!(Rank::of(worker).index(), worker.index());
/// }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub(super) u32);

/// A rank that the cluster does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchRank {
    /// The rank that was asked for.
    pub rank: usize,
    /// The number of workers of the cluster.
    pub ranks: usize,
}

impl std::fmt::Display for NoSuchRank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rank, ranks } = self;
        write!(
            f,
            "there is no rank {rank} among {ranks} workers; give a rank below {ranks}"
        )
    }
}

impl std::error::Error for NoSuchRank {}

impl Rank {
    /// The first worker of the first process, which every cluster has.
    pub const FIRST: Self = Self(0);

    /// The rank of a number.
    ///
    /// # Errors
    /// [`NoSuchRank`] if the cluster of this worker has fewer workers.
    pub fn new(rank: usize, worker: &Worker) -> Result<Self, NoSuchRank> {
        let ranks = worker.peers();
        match u32::try_from(rank) {
            Ok(index) if rank < ranks => Ok(Self(index)),
            _ => Err(NoSuchRank { rank, ranks }),
        }
    }

    /// The rank of this worker.
    pub fn of(worker: &Worker) -> Self {
        Self(worker.index() as u32)
    }

    /// All ranks of the cluster of this worker, in their order.
    pub fn all(worker: &Worker) -> impl Iterator<Item = Self> + use<> {
        Self::up_to(worker.peers())
    }

    /// The first ranks.
    pub(super) fn up_to(ranks: usize) -> impl ExactSizeIterator<Item = Self> {
        (0..ranks as u32).map(Self)
    }

    /// The index of the worker.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
