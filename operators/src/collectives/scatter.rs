//! Scatter: the items of one rank, dealt to all in turn.
use timely::{ExchangeData, dataflow::StreamVec, progress::Timestamp};

use super::{
    Rank,
    letter::{open, post},
};

/// Scatters items.
///
/// ```
/// use hubbleflow_operators::collectives::{Rank, ScatterFrom};
/// use timely::dataflow::operators::{Inspect, ToStream};
///
/// timely::execute(timely::Config::process(3), |worker| {
///     let me = worker.index();
///     worker.dataflow::<u64, _, _>(|scope| {
///         let items = (me == 0).then_some([20, 21, 22]).into_iter().flatten();
///         let mine = items.to_stream(scope).container::<Vec<_>>().scatter_from(Rank::FIRST);
///         mine.inspect(move |item| assert_eq!(*item, 20 + me));
///     });
/// }).unwrap();
/// ```
pub trait ScatterFrom<'s> {
    /// Delivers the items of the rank `root` to the ranks in turn, as soon as they come: at each time the first item goes
    /// to rank 0, the next to rank 1, and after the last rank the turn is rank 0's again. Each rank gets its items in
    /// their order. Items of other ranks are ignored.
    fn scatter_from(self, root: Rank) -> Self;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> ScatterFrom<'s> for StreamVec<'s, T, D> {
    fn scatter_from(self, root: Rank) -> Self {
        let ranks = self.scope().peers() as u64;
        let gives = root == Rank::of(self.scope().worker());
        let letters = post(self, "Scatter", move |number, item| {
            gives.then_some((Rank((number % ranks) as u32), item))
        });
        open(letters, "Take", |letter| letter.item)
    }
}
