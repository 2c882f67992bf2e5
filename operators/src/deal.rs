//! Deals tasks to the workers that ask for them, so that a slow worker does not hold up its drop.
//!
//! ```text
//! tasks ──► deal ──► adopt, or read ── validate ── infer ──┬──► predictions
//!            ▲                                             │
//!            └──────────────── hand_back ◄─────────────────┘     the splits that are done
//! ```
//! Each worker has a few splits in hand. It gets another split for each split that it hands back. A split is handed back
//! at the time of the next drop, because timely's loops must advance the time. This delays no drop, because a drop is
//! settled after the drops before it.
use std::collections::VecDeque;

use connectors::checkpoint::{Task, Work};
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, generic::Operator, vec::Map},
};

use crate::{
    DropId, Flow, Predictions,
    collectives::{PointToPoint, Rank},
    predictions::ChunkResult,
};

/// Deals tasks out.
///
/// One worker gets the splits of a drop, one at a time:
/// ```
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use connectors::checkpoint::{Task, Work};
/// use hubbleflow_operators::{Deal, HandedBack};
/// use timely::dataflow::operators::{ConnectLoop, Feedback, Inspect, ToStream, vec::Map};
/// # let night = Night::of_two_galaxies();
/// # let splits = night.splits();
///
/// let expected: Vec<Task> = splits.clone().map(Task::Read).collect();
/// let work = Work::from(splits);
/// let (sender, dealt) = std::sync::mpsc::channel();
/// timely::example(move |scope| {
///     let (around, handed_back) = scope.feedback(1);
///     let dealt = [work].to_stream(scope).container::<Vec<_>>().deal(handed_back, 1);
///     // Worker 0 finishes each split at once, and hands it back.
///     let done = HandedBack { worker: 0, splits: 1, failed_object: None };
///     dealt.clone().map(move |_task| done).connect_loop(around);
///     dealt.inspect(move |task| sender.send(task.clone()).unwrap());
/// });
/// assert_eq!(dealt.iter().collect::<Vec<Task>>(), expected);
/// ```
pub trait Deal<'s> {
    /// Gives each worker tasks of `in_hand` splits, and then more as the worker hands splits back. Tasks are dealt in their
    /// order. The drops come in on the first worker.
    ///
    /// # Panics
    /// If `in_hand` is 0, because no split would ever be dealt.
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Task>;
}

/// Hands back the splits that are done.
/// ```
/// # use hubbleflow_operators::{ChunkResult, Predictions, Tally};
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use hubbleflow_operators::HandBack;
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
/// # let split = Night::of_two_galaxies().splits().next().unwrap();
/// # let chunk = |is_last| Predictions::Chunk(ChunkResult {
/// #     split: split.clone(), is_last, pieces: Err(String::new()), tally: Tally::default(),
/// # });
///
/// // Two chunks of one split; the second ends the split.
/// let chunks = [chunk(false), chunk(true)];
/// let handed_back = timely::example(|scope| {
///     chunks.to_stream(scope).container::<Vec<_>>().hand_back().capture()
/// });
/// // Worker 0 hands the split back when it ends; both chunks say that its object has failed.
/// let handed_back: Vec<_> = handed_back.extract().into_iter().flat_map(|(_time, backs)| backs).collect();
/// assert_eq!(handed_back.iter().map(|back| back.splits).collect::<Vec<_>>(), [0, 1]);
/// ```
pub trait HandBack<'s> {
    /// Emits an item when splits are done, and when a split has failed.
    fn hand_back(self) -> Flow<'s, HandedBack>;
}

/// What a worker says about splits that it had in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HandedBack {
    /// The worker.
    pub worker: usize,
    /// The number of splits that it is done with.
    pub splits: usize,
    /// The object whose split has failed, by its place among the objects of the drop: its other splits are not tried.
    pub failed_object: Option<u32>,
}

impl<'s> Deal<'s> for Flow<'s, Work> {
    fn deal(self, handed_back: Flow<'s, HandedBack>, in_hand: usize) -> Flow<'s, Task> {
        assert!(
            in_hand > 0,
            "in_hand is 0, so no split is ever dealt; set it to 1 or more"
        );
        let ranks: Vec<Rank> = Rank::all(self.scope().worker()).collect();
        let back_to_first = Exchange::new(|_: &HandedBack| 0);
        let dealt = self.binary(handed_back, Pipeline, back_to_first, "Deal", move |_, _| {
            let mut waiting: VecDeque<(Capability<DropId>, Work)> = VecDeque::new();
            // A checkpoint may have more splits than a worker has in hand.
            let mut free = vec![in_hand as i64; ranks.len()];
            move |work, handed_back, output| {
                work.for_each_time(|time, data| {
                    let work = data.flat_map(|work| work.drain(..));
                    waiting.extend(work.map(|work| (time.retain(0), work)));
                });
                handed_back.for_each_time(|time, data| {
                    for back in data.flat_map(|backs| backs.drain(..)) {
                        free[back.worker] += back.splits as i64;
                        // What comes around is one drop further.
                        let of_drop = waiting
                            .iter_mut()
                            .filter(|(drop, _)| drop.time() + 1 == *time.time());
                        for (_, work) in of_drop {
                            back.failed_object
                                .into_iter()
                                .for_each(|object| work.skip_object(object));
                        }
                    }
                });
                while let Some(worker) = most_idle(&free) {
                    let Some((capability, work)) = waiting.front_mut() else {
                        break;
                    };
                    let Some(task) = work.next() else {
                        waiting.pop_front();
                        continue;
                    };
                    free[worker] -= task.splits() as i64;
                    output.session(&*capability).give((ranks[worker], task));
                }
            }
        });
        dealt.send().map(|dealt| dealt.item)
    }
}

/// The worker with the fewest splits in hand, or `None` if all hands are full.
fn most_idle(free: &[i64]) -> Option<usize> {
    let workers = 0..free.len();
    // `max_by_key` returns the last maximum, so the first worker wins.
    let idle = workers.rev().max_by_key(|&worker| free[worker])?;
    (free[idle] > 0).then_some(idle)
}

impl<'s> HandBack<'s> for Flow<'s, Predictions> {
    fn hand_back(self) -> Flow<'s, HandedBack> {
        let worker = self.scope().worker().index();
        self.unary(Pipeline, "HandBack", move |_, _| {
            move |input, output| {
                input.for_each_time(|time, data| {
                    let predictions = data.flat_map(|items| items.drain(..));
                    let backs = predictions.filter_map(|predictions| {
                        let (splits, failed_object) = match predictions {
                            Predictions::Chunk(chunk) => of_chunk(&chunk),
                            Predictions::Adopted(bundle) => (bundle.results.len(), None),
                        };
                        let says = splits > 0 || failed_object.is_some();
                        says.then_some(HandedBack {
                            worker,
                            splits,
                            failed_object,
                        })
                    });
                    output.session(&time).give_iterator(backs);
                });
            }
        })
    }
}

/// The number of splits that end with a chunk, and the object if it has failed.
fn of_chunk(chunk: &ChunkResult) -> (usize, Option<u32>) {
    let failed_object = chunk.pieces.is_err().then_some(chunk.split.object_index);
    (usize::from(chunk.is_last), failed_object)
}
