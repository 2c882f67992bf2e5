//! Deal the splits out as the workers ask for them, so that a slow worker does not hold its drop.
//!
//! ```text
//! splits ──► deal ──► read ── validate ── infer ──┬──► parcels
//!             ▲                                   │
//!             └──────────── hand_back ◄───────────┘     one for each split that is done
//! ```
//! Each worker has a few splits in hand, and gets another for each that it hands back. What is handed back comes around at
//! the next drop's time: a loop has to let time pass, and no drop is settled before those ahead of it anyway.
use std::collections::VecDeque;

use connectors::{Split, split::Splits};
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, Exchange as _, generic::Operator, vec::Map},
};

use crate::{DropId, Flow, Parcel};

/// Deals splits out.
/// ```
/// use connectors::split::Splits;
/// use operators::{Deal, DropId, Flow, HandBack, Infer, Inference, Parcel, Read, Reader, Rules, Validate};
/// use timely::dataflow::operators::{ConnectLoop, Feedback};
///
/// /// From splits to redshifts, three splits in hand of each worker.
/// fn photoz<'s>(splits: Flow<'s, Splits>, reader: &Reader, rules: Rules, inference: &Inference) -> Flow<'s, Parcel> {
///     let (around, handed_back) = splits.scope().feedback(1);
///     let splits = splits.deal(handed_back, 3);
///     let photoz = splits.read(reader).validate(rules, reader.clock).infer(inference);
///     photoz.clone().hand_back().connect_loop(around);
///     photoz
/// }
/// ```
pub trait Deal<'s> {
    /// Gives each worker `in_hand` splits, and then one for each that it hands back, in their order. The drops come in on the
    /// first worker.
    ///
    /// # Panics
    /// If `in_hand` is 0: nothing would ever be dealt.
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split>;
}

/// Says that splits are done.
pub trait HandBack<'s> {
    /// One for each split whose last rows go by, or that has failed.
    fn hand_back(self) -> Flow<'s, HandedBack>;
}

/// What a worker says of a split that it had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandedBack {
    /// The worker.
    pub worker: usize,
    /// Whether it is done with the split.
    pub is_done: bool,
    /// The object of which the split has failed, by its place among the drop's: its other splits need not be tried.
    pub failed_object: Option<u32>,
}

impl<'s> Deal<'s> for Flow<'s, Splits> {
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split> {
        assert!(in_hand > 0, "a worker without a split in hand never asks");
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

/// The worker with the fewest splits in hand, if any may have another.
fn most_idle(free: &[usize]) -> Option<usize> {
    let workers = 0..free.len();
    // Of several, the first.
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
