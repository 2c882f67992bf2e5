//! Reduce: the items of all ranks, folded in rank order.
use timely::{ExchangeData, dataflow::StreamVec, progress::Timestamp};

use super::{
    Rank, Round,
    letter::{post, to_each},
    round::collect,
};

/// Folds items.
///
/// A fold is `fold(fold(a, b), c)` for the items a, b, c in rank order. The function may be anything that gives the same
/// result for the same arguments:
/// ```
/// use hubbleflow_operators::collectives::{Reduce, Round};
/// use timely::dataflow::operators::{Inspect, ToStream};
///
/// timely::execute(timely::Config::process(3), |worker| {
///     let me = worker.index();
///     worker.dataflow::<u64, _, _>(|scope| {
///         let mine = [["a", "b", "c"][me].to_owned()].to_stream(scope).container::<Vec<_>>();
///         let fold = |left: String, right: String| format!("({left}{right})");
///         mine.clone().allreduce(Round::Item, fold).inspect(|all| assert_eq!(all, "((ab)c)"));
///         mine.scan(Round::Item, fold).inspect(move |prefix| {
///             assert_eq!(prefix, ["a", "(ab)", "((ab)c)"][me]);
///         });
///     });
/// }).unwrap();
/// ```
pub trait Reduce<'s, D> {
    /// The fold of all items of a round on the rank `root`. The other ranks get nothing.
    fn reduce_to(self, root: Rank, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self;

    /// The fold of all items of a round on every rank. The items go from everyone to everyone in one step, and each
    /// rank folds them all.
    fn allreduce(self, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self;

    /// On each rank the fold of the items of a round of the ranks up to it, its own included (an inclusive prefix). A
    /// rank that gives nothing gets the fold of the ranks before it, if there is any.
    fn scan(self, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> Reduce<'s, D> for StreamVec<'s, T, D> {
    fn reduce_to(self, root: Rank, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self {
        let ranks = self.scope().peers();
        let letters = post(self, "Reduce", move |_number, item| [(root, item)]);
        collect(letters, "Fold", round, ranks, left(fold))
    }

    fn allreduce(self, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self {
        let ranks = self.scope().peers();
        let letters = post(self, "Allreduce", move |_number, item| {
            to_each(Rank::up_to(ranks), item)
        });
        collect(letters, "Fold", round, ranks, left(fold))
    }

    fn scan(self, round: Round, fold: impl FnMut(D, D) -> D + 'static) -> Self {
        let (rank, ranks) = (self.scope().index(), self.scope().peers());
        let letters = post(self, "Scan", move |_number, item| {
            to_each(Rank::up_to(ranks).skip(rank), item)
        });
        collect(letters, "Fold", round, rank + 1, left(fold))
    }
}

/// The left fold of items that are in rank order.
fn left<D>(mut fold: impl FnMut(D, D) -> D) -> impl FnMut(Vec<(Rank, D)>) -> D {
    move |items| {
        let items = items.into_iter().map(|(_, item)| item);
        let folded = items.reduce(&mut fold);
        folded.expect("invariant: a round that is over has an item")
    }
}
