//! Barrier: nobody goes on before everybody has come.
use std::collections::BTreeMap;

use timely::{
    ExchangeData,
    dataflow::{
        StreamVec,
        channels::pact::Pipeline,
        operators::{Capability, generic::Operator},
    },
    progress::Timestamp,
};

use super::{Rank, Round, letter::post, round::collect};

/// Holds items back until all workers have come as far.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use hubbleflow_operators::collectives::{Barrier, Round};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// static COME: AtomicUsize = AtomicUsize::new(0);
///
/// timely::execute(timely::Config::process(3), |worker| {
///     worker.dataflow::<u64, _, _>(|scope| {
///         let coming = [()].to_stream(scope).container::<Vec<_>>();
///         let coming = coming.inspect(|()| { COME.fetch_add(1, Ordering::SeqCst); });
///         coming.barrier(Round::Item).inspect(|()| assert_eq!(COME.load(Ordering::SeqCst), 3));
///     });
/// }).unwrap();
/// ```
pub trait Barrier<'s> {
    /// Holds each item of this worker back until its round is over, on all workers. Items stay on their worker and in
    /// their order.
    ///
    /// With [`Round::Time`] nothing is sent: timely's progress alone says that the time is over. With [`Round::Item`]
    /// each worker sends the others a token for each item.
    fn barrier(self, round: Round) -> Self;
}

impl<'s, T: Timestamp, D: ExchangeData + Clone> Barrier<'s> for StreamVec<'s, T, D> {
    fn barrier(self, round: Round) -> Self {
        match round {
            Round::Time => hold(self),
            Round::Item => meet(self),
        }
    }
}

/// Holds items until the frontier has passed their time.
fn hold<T: Timestamp, D: 'static>(items: StreamVec<'_, T, D>) -> StreamVec<'_, T, D> {
    items.unary_frontier(Pipeline, "Hold", |_capability, _info| {
        let mut held: BTreeMap<T, (Capability<T>, Vec<D>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|time, items| {
                let held = held.entry(time.time().clone());
                let (_, held) = held.or_insert_with(|| (time.retain(0), Vec::new()));
                held.append(items);
            });
            let over = held.extract_if(.., |time, _| !frontier.less_equal(time));
            for (_, (capability, mut items)) in over {
                output.session(&capability).give_iterator(items.drain(..));
            }
        }
    })
}

/// Sends each item to its own worker, and tokens to the others; the round of an item is over when all have come.
fn meet<T: Timestamp, D: ExchangeData + Clone>(items: StreamVec<'_, T, D>) -> StreamVec<'_, T, D> {
    let (me, ranks) = (Rank::of(items.scope().worker()), items.scope().peers());
    let letters = post(items, "Come", move |_number, item| {
        let mut item = Some(item);
        Rank::up_to(ranks).map(move |rank| (rank, item.take_if(|_| rank == me)))
    });
    let met = collect(letters, "Meet", Round::Item, ranks, |items| {
        items.into_iter().find_map(|(_, item)| item)
    });
    met.unary(Pipeline, "GoOn", |_capability, _info| {
        |input, output| {
            input.for_each(|time, items| {
                // A rank that gave nothing has nothing to go on with.
                output
                    .session(&time)
                    .give_iterator(items.drain(..).flatten());
            });
        }
    })
}
