//! Deals splits to the workers that ask for them, so that a slow worker does not hold up its drop.
//!
//! ```text
//! splits ──► deal ──► read ── validate ── infer ──┬──► parcels
//!             ▲                                   │
//!             └──────────── hand_back ◄───────────┘     one item for each split that is done
//! ```
//! Each worker has a few splits in hand. It gets another split for each split that it hands back. A split is handed back
//! at the time of the next drop, because timely's loops must advance the time. This delays no drop, because a drop is
//! settled after the drops before it.
use std::collections::VecDeque;

use connectors::{Split, split::Splits};
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, Exchange as _, generic::Operator, vec::Map},
};

use crate::{DropId, Flow, Parcel};

/// Deals splits out.
///
/// One worker gets the splits of a drop, one at a time:
/// ```
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use hubbleflow_operators::{Deal, HandedBack};
/// use timely::dataflow::operators::{Capture, ConnectLoop, Feedback, ToStream, capture::Extract, vec::Map};
/// # let night = Night::of_two_galaxies();
/// # let splits = night.splits();
///
/// let count = splits.clone().count();
/// let dealt = timely::example(move |scope| {
///     let (around, handed_back) = scope.feedback(1);
///     let dealt = [splits].to_stream(scope).container::<Vec<_>>().deal(handed_back, 1);
///     // Worker 0 finishes each split at once, and hands it back.
///     let done = HandedBack { worker: 0, is_done: true, failed_object: None };
///     dealt.clone().map(move |_split| done).connect_loop(around);
///     dealt.map(|split| split.number).capture()
/// });
/// let dealt: Vec<u64> = dealt.extract().into_iter().flat_map(|(_time, numbers)| numbers).collect();
/// assert_eq!(dealt, (0..count as u64).collect::<Vec<_>>());
/// ```
pub trait Deal<'s> {
    /// Gives each worker `in_hand` splits, and then one split for each that the worker hands back. Splits are dealt in
    /// their order. The drops come in on the first worker.
    ///
    /// # Panics
    /// If `in_hand` is 0, because no split would ever be dealt.
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split>;
}

/// Hands back the splits that are done.
/// ```
/// # use std::sync::Arc;
/// # use hubbleflow_operators::{Parcel, Tally};
/// use hubbleflow_operators::HandBack;
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
/// # let parcel = |ends_split| {
/// #     let (drop, attempt) = ("night-1".to_owned(), "first".to_owned());
/// #     Parcel { drop, attempt, part: 0, object_index: 0, content: Err(String::new()), ends_split, tally: Tally::default() }
/// # };
///
/// // Two parcels of one split; the second ends the split.
/// let parcels = [parcel(false), parcel(true)];
/// let handed_back = timely::example(|scope| {
///     parcels.to_stream(scope).container::<Vec<_>>().hand_back().capture()
/// });
/// // Worker 0 hands the split back when it ends; both parcels say that its object has failed.
/// let handed_back: Vec<_> = handed_back.extract().into_iter().flat_map(|(_time, backs)| backs).collect();
/// assert_eq!(handed_back.iter().map(|back| back.is_done).collect::<Vec<_>>(), [false, true]);
/// ```
pub trait HandBack<'s> {
    /// Emits an item for each split whose last parcel goes by, or that has failed.
    fn hand_back(self) -> Flow<'s, HandedBack>;
}

/// What a worker says about a split that it had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HandedBack {
    /// The worker.
    pub worker: usize,
    /// Whether it is done with the split.
    pub is_done: bool,
    /// The object whose split has failed, by its place among the objects of the drop: its other splits are not tried.
    pub failed_object: Option<u32>,
}

impl<'s> Deal<'s> for Flow<'s, Splits> {
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split> {
        assert!(
            in_hand > 0,
            "in_hand is 0, so no split is ever dealt; set it to 1 or more"
        );
        let workers = self.scope().worker().peers();
        let back_to_first = Exchange::new(|_: &HandedBack| 0);
        let dealt = self.binary(handed_back, Pipeline, back_to_first, "Deal", move |_, _| {
            let mut waiting: VecDeque<(Capability<DropId>, Splits)> = VecDeque::new();
            let mut free = vec![in_hand; workers];
            move |splits, handed_back, output| {
                splits.for_each_time(|time, data| {
                    let splits = data.flat_map(|splits| splits.drain(..));
                    waiting.extend(splits.map(|splits| (time.retain(0), splits)));
                });
                handed_back.for_each_time(|time, data| {
                    for back in data.flat_map(|backs| backs.drain(..)) {
                        free[back.worker] += usize::from(back.is_done);
                        // What comes around is one drop further.
                        let of_drop = waiting
                            .iter_mut()
                            .filter(|(drop, _)| drop.time() + 1 == *time.time());
                        for (_, splits) in of_drop {
                            back.failed_object
                                .into_iter()
                                .for_each(|object| splits.skip_object(object));
                        }
                    }
                });
                while let Some(worker) = most_idle(&free) {
                    let Some((capability, splits)) = waiting.front_mut() else {
                        break;
                    };
                    let Some(split) = splits.next() else {
                        waiting.pop_front();
                        continue;
                    };
                    free[worker] -= 1;
                    output.session(&*capability).give((worker as u64, split));
                }
            }
        });
        let dealt = dealt.exchange(|(worker, _)| *worker);
        dealt.map(|(_, split)| split)
    }
}

/// The worker with the fewest splits in hand, or `None` if all hands are full.
fn most_idle(free: &[usize]) -> Option<usize> {
    let workers = 0..free.len();
    // `max_by_key` returns the last maximum, so the first worker wins.
    let idle = workers.rev().max_by_key(|&worker| free[worker])?;
    (free[idle] > 0).then_some(idle)
}

impl<'s> HandBack<'s> for Flow<'s, Parcel> {
    fn hand_back(self) -> Flow<'s, HandedBack> {
        let me = self.scope().worker().index();
        self.unary(Pipeline, "HandBack", move |_, _| {
            move |input, output| {
                input.for_each_time(|time, data| {
                    let parcels = data.flat_map(|parcels| parcels.drain(..));
                    let told = parcels.filter_map(|parcel| {
                        let failed_object = parcel.content.err().map(|_| parcel.object_index);
                        let is_told = parcel.ends_split || failed_object.is_some();
                        is_told.then_some(HandedBack {
                            worker: me,
                            is_done: parcel.ends_split,
                            failed_object,
                        })
                    });
                    output.session(&time).give_iterator(told);
                });
            }
        })
    }
}
