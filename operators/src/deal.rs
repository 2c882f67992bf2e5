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

use connectors::Split;
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, Exchange as _, generic::Operator, vec::Map},
};

use crate::{DropId, Flow, Parcel};

/// Deals splits out.
/// ```
/// use connectors::Split;
/// use operators::{Deal, DropId, Flow, HandBack, Infer, Inference, Parcel, Read, Reader, Rules, Validate};
/// use timely::dataflow::operators::{ConnectLoop, Feedback};
///
/// /// From splits to redshifts, three splits in hand of each worker.
/// fn photoz<'s>(splits: Flow<'s, Split>, reader: &Reader, rules: Rules, inference: &Inference) -> Flow<'s, Parcel> {
///     let (around, handed_back) = splits.scope().feedback(1);
///     let splits = splits.deal(handed_back, 3);
///     let photoz = splits.read(reader).validate(rules, reader.clock).infer(inference);
///     photoz.clone().hand_back().connect_loop(around);
///     photoz
/// }
/// ```
pub trait Deal<'s> {
    /// Gives each worker `in_hand` splits, and then one for each that it hands back, in their order.
    ///
    /// # Panics
    /// If `in_hand` is 0: nothing would ever be dealt.
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split>;
}

/// Says that splits are done.
pub trait HandBack<'s> {
    /// One for each split whose last rows go by.
    fn hand_back(self) -> Flow<'s, HandedBack>;
}

/// The worker that is done with a split.
pub type HandedBack = usize;

impl<'s> Deal<'s> for Flow<'s, Split> {
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Split> {
        assert!(in_hand > 0, "a worker without a split in hand never asks");
        let workers = self.scope().worker().peers();
        let first = || Exchange::new(|_: &_| 0);
        let back_to_first = Exchange::new(|_: &HandedBack| 0);
        let dealt = self.binary(handed_back, first(), back_to_first, "Deal", move |_, _| {
            let mut waiting: VecDeque<(Capability<DropId>, Split)> = VecDeque::new();
            let mut free = vec![in_hand; workers];
            move |splits, handed_back, output| {
                splits.for_each_time(|time, data| {
                    let splits = data.flat_map(|splits| splits.drain(..));
                    waiting.extend(splits.map(|split| (time.retain(0), split)));
                });
                handed_back.for_each_time(|_, data| {
                    data.flat_map(|workers| workers.drain(..))
                        .for_each(|worker| free[worker] += 1);
                });
                while let Some(worker) = most_idle(&free) {
                    let Some((capability, split)) = waiting.pop_front() else {
                        break;
                    };
                    free[worker] -= 1;
                    output.session(&capability).give((worker as u64, split));
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
                    let done = parcels.filter(|parcel| parcel.ends_split).map(|_| me);
                    output.session(&time).give_iterator(done);
                });
            }
        })
    }
}
