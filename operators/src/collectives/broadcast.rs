//! Broadcast: the items of one rank to all.
use timely::{ExchangeData, dataflow::StreamVec, progress::Timestamp};

use super::{
    Rank,
    letter::{open, post, to_each},
};

/// Broadcasts items.
///
/// ```
/// use hubbleflow_operators::collectives::{BroadcastFrom, Rank};
/// use timely::dataflow::operators::{Inspect, ToStream};
///
/// timely::execute(timely::Config::process(3), |worker| {
///     let me = worker.index();
///     worker.dataflow::<u64, _, _>(|scope| {
///         let mine = [10 + me].to_stream(scope).container::<Vec<_>>();
///         mine.broadcast_from(Rank::FIRST).inspect(|item| assert_eq!(*item, 10));
///     });
/// }).unwrap();
/// ```
pub trait BroadcastFrom<'s> {
    /// Delivers the items of the rank `root` to every rank, itself included, as soon as they come, in their order. Items
    /// of other ranks are ignored.
    fn broadcast_from(self, root: Rank) -> Self;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> BroadcastFrom<'s> for StreamVec<'s, T, D> {
    fn broadcast_from(self, root: Rank) -> Self {
        let ranks = self.scope().peers();
        let gives = root == Rank::of(self.scope().worker());
        let letters = post(self, "Broadcast", move |_number, item| {
            to_each(Rank::up_to(if gives { ranks } else { 0 }), item)
        });
        open(letters, "Hear", |letter| letter.item)
    }
}
