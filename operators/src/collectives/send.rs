//! Point to point: items to the rank that each names.
use timely::{
    ExchangeData,
    dataflow::{StreamVec, channels::pact::Pipeline, operators::generic::Operator},
    progress::Timestamp,
};

use super::{
    Rank,
    letter::{open, post},
};

/// An item that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<D> {
    /// The rank that sent it.
    pub from: Rank,
    /// The item.
    pub item: D,
}

/// Sends items.
///
/// Each worker sends its index to the next worker:
/// ```
/// use hubbleflow_operators::collectives::{PointToPoint, Rank, Receive};
/// use timely::dataflow::operators::{Inspect, ToStream};
///
/// timely::execute(timely::Config::process(3), |worker| {
///     let (me, ranks) = (worker.index(), worker.peers());
///     let next = Rank::new((me + 1) % ranks, worker).unwrap();
///     let before = Rank::new((me + ranks - 1) % ranks, worker).unwrap();
///     worker.dataflow::<u64, _, _>(|scope| {
///         let received = [(next, me)].to_stream(scope).container::<Vec<_>>().send();
///         received.receive(before).inspect(move |item| assert_eq!(*item, before.index()));
///     });
/// }).unwrap();
/// ```
pub trait PointToPoint<'s, T: Timestamp, D> {
    /// Delivers each item to its rank, at its time, as soon as it comes. Items that one rank sends to another stay in
    /// their order.
    fn send(self) -> StreamVec<'s, T, Received<D>>;
}

/// Receives items of one rank.
///
/// [`PointToPoint`] has an example.
pub trait Receive<'s, T: Timestamp, D> {
    /// The items of the rank `from`, in the order in which it sent them.
    fn receive(self, from: Rank) -> StreamVec<'s, T, D>;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> PointToPoint<'s, T, D>
    for StreamVec<'s, T, (Rank, D)>
{
    fn send(self) -> StreamVec<'s, T, Received<D>> {
        let letters = post(self, "Send", |_number, addressed| [addressed]);
        open(letters, "Receive", |letter| Received {
            from: letter.from(),
            item: letter.item,
        })
    }
}

impl<'s, T: Timestamp, D: 'static> Receive<'s, T, D> for StreamVec<'s, T, Received<D>> {
    fn receive(self, from: Rank) -> StreamVec<'s, T, D> {
        self.unary(Pipeline, "ReceiveFrom", move |_capability, _info| {
            move |input, output| {
                input.for_each(|time, received| {
                    let items = received.drain(..).filter(|received| received.from == from);
                    let items = items.map(|received| received.item);
                    output.session(&time).give_iterator(items);
                });
            }
        })
    }
}
