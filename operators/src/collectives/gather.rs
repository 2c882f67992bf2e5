//! Gather: the items of all ranks, in rank order.
use timely::{ExchangeData, dataflow::StreamVec, progress::Timestamp};

use super::{
    Rank, Round,
    letter::{post, to_each},
    round::collect,
};

/// Gathers items.
///
/// ```
/// use hubbleflow_operators::collectives::{Gather, Rank, Round};
/// use timely::dataflow::operators::{Inspect, ToStream};
///
/// timely::execute(timely::Config::process(2), |worker| {
///     let (me, ranks) = (worker.index(), Rank::all(worker).collect::<Vec<_>>());
///     worker.dataflow::<u64, _, _>(|scope| {
///         // Worker 0 gives one item, and worker 1 gives two.
///         let mine = (0..=me).map(move |item| 10 * me + item);
///         let mine = mine.to_stream(scope).container::<Vec<_>>();
///         mine.gather_to(Rank::FIRST, Round::Time).inspect(move |all| {
///             assert_eq!(me, 0);
///             assert_eq!(*all, [(ranks[0], 0), (ranks[1], 10), (ranks[1], 11)]);
///         });
///     });
/// }).unwrap();
/// ```
pub trait Gather<'s, T: Timestamp, D> {
    /// All items of a round on the rank `root`: ranks in their order, the items of a rank in the order in which it gave
    /// them. The other ranks get nothing.
    fn gather_to(self, root: Rank, round: Round) -> StreamVec<'s, T, Vec<(Rank, D)>>;

    /// All items of a round on every rank.
    fn allgather(self, round: Round) -> StreamVec<'s, T, Vec<(Rank, D)>>;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> Gather<'s, T, D> for StreamVec<'s, T, D> {
    fn gather_to(self, root: Rank, round: Round) -> StreamVec<'s, T, Vec<(Rank, D)>> {
        let ranks = self.scope().peers();
        let letters = post(self, "Gather", move |_number, item| [(root, item)]);
        collect(letters, "Gathered", round, ranks, |items| items)
    }

    fn allgather(self, round: Round) -> StreamVec<'s, T, Vec<(Rank, D)>> {
        let ranks = self.scope().peers();
        let letters = post(self, "Allgather", move |_number, item| {
            to_each(Rank::up_to(ranks), item)
        });
        collect(letters, "Gathered", round, ranks, |items| items)
    }
}
