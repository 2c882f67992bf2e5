//! Hands work to other threads and takes the answers back: the only place where timely meets other threads.
use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
};

use timely::{
    dataflow::{
        channels::pact::ParallelizationContract,
        operators::{Capability, generic::Operator},
    },
    scheduling::SyncActivator,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{DropId, Flow};

/// Answers of [`Reply::send_in_turn`] that wait for the worker at once.
const ANSWERS_MAX: usize = 16;

enum Answer<O> {
    Item(O),
    /// With its place among the few that may wait, given back when the answer is taken or thrown away.
    InTurn(O, OwnedSemaphorePermit),
    Finished,
    Lost(String),
}

/// The reply to one item: any number of answers, then [`Reply::finish`] or [`Reply::lose`].
pub struct Reply<O> {
    slot: usize,
    /// The answer that is sent when the reply is dropped.
    last: Answer<O>,
    answers: Sender<(usize, Answer<O>)>,
    room: Arc<Semaphore>,
    waker: SyncActivator,
}

impl<O> Reply<O> {
    /// Sends an answer into the dataflow, at the time of the item.
    pub fn send(&self, answer: O) {
        self.put(Answer::Item(answer));
    }

    /// Sends an answer when few others wait for the worker: for work that gives many answers of which nothing else bounds
    /// the memory.
    pub async fn send_in_turn(&self, answer: O) {
        let place = self.room.clone().acquire_owned().await;
        let place = place.expect("the semaphore of an operator's answers is never closed");
        self.put(Answer::InTurn(answer, place));
    }

    /// Lets go of the item's time. A reply that is dropped unfinished (its thread panicked) stops the run.
    pub fn finish(mut self) {
        self.last = Answer::Finished;
    }

    /// Stops the run, for this reason.
    pub fn lose(mut self, reason: String) {
        self.last = Answer::Lost(reason);
    }

    fn put(&self, answer: Answer<O>) {
        // Both fail only if the dataflow is gone, and then nobody needs the answer.
        let _ = self.answers.send((self.slot, answer));
        let _ = self.waker.activate();
    }
}

impl<O> Drop for Reply<O> {
    fn drop(&mut self) {
        let last = std::mem::replace(&mut self.last, Answer::Finished);
        self.put(last);
    }
}

/// Hands each item to `submit`, which answers from any thread, and emits the answers.
///
/// A worker must never block, so work that waits or computes long runs on other threads. The operator holds the item's
/// capability until the reply is finished, so a drop cannot appear complete while work is out. At most `in_flight` items
/// are out at once; the rest wait in the operator.
///
/// # Panics
/// On the worker, if a reply is lost or dropped unfinished: a run that stops is better than a drop that waits for ever.
/// At once, if `in_flight` is 0.
///
/// ```
/// use hubbleflow_operators::offload::offload;
/// use timely::dataflow::{channels::pact::Pipeline, operators::{Input, Probe, vec::Map}};
///
/// timely::execute_directly(|worker| {
///     let (mut input, probe) = worker.dataflow::<u64, _, _>(|scope| {
///         let (input, items) = scope.new_input::<Vec<u64>>();
///         let squares = offload(items, Pipeline, "Square", 2, |x, reply| {
///             std::thread::spawn(move || {
///                 reply.send(x * x);
///                 reply.finish();
///             });
///         });
///         (input, squares.map(|square| assert_eq!(square, 49)).probe().0)
///     });
///     input.send(7);
///     input.advance_to(1);
///     while probe.less_than(&1) {
///         worker.step_or_park(None);
///     }
/// });
/// ```
pub fn offload<'s, I: 'static, O: Send + 'static>(
    items: Flow<'s, I>,
    pact: impl ParallelizationContract<DropId, Vec<I>>,
    name: &str,
    in_flight: usize,
    mut submit: impl FnMut(I, Reply<O>) + 'static,
) -> Flow<'s, O> {
    assert!(
        in_flight > 0,
        "in_flight is 0, so the operator never finishes; set it to 1 or more"
    );
    let worker = items.scope().worker();
    items.unary(pact, name, move |_capability, info| {
        let waker = worker.sync_activator_for(info.address.to_vec());
        let (answers, answered) = channel::<(usize, Answer<O>)>();
        let room = Arc::new(Semaphore::new(ANSWERS_MAX));
        let mut waiting: VecDeque<(Capability<DropId>, I)> = VecDeque::new();
        let mut out: Vec<Option<Capability<DropId>>> = (0..in_flight).map(|_| None).collect();
        move |input, output| {
            input.for_each_time(|time, data| {
                waiting.extend(
                    data.flat_map(|items| items.drain(..))
                        .map(|item| (time.retain(0), item)),
                );
            });
            for (slot, answer) in answered.try_iter() {
                let capability = out[slot]
                    .as_ref()
                    .expect("invariant: an answer comes only for an item that is out");
                match answer {
                    Answer::Item(item) => output.session(capability).give(item),
                    Answer::InTurn(item, place) => {
                        drop(place);
                        output.session(capability).give(item);
                    }
                    Answer::Finished => out[slot] = None,
                    Answer::Lost(reason) => panic!("{reason}"),
                }
            }
            while let Some(slot) = out.iter().position(Option::is_none) {
                let Some((capability, item)) = waiting.pop_front() else {
                    break;
                };
                out[slot] = Some(capability);
                submit(
                    item,
                    Reply {
                        slot,
                        last: Answer::Lost(
                            "work that was handed to another thread was lost".to_owned(),
                        ),
                        answers: answers.clone(),
                        room: room.clone(),
                        waker: waker.clone(),
                    },
                );
            }
        }
    })
}

/// Runs work that may panic. Returns its result, or the message of its panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let ran = catch_unwind(AssertUnwindSafe(work));
    ran.map_err(|panic| panic_message(panic.as_ref()).to_owned())
}

/// Runs work on the blocking threads of a runtime. Returns its result, or the message of its panic.
pub async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = runtime.spawn_blocking(work).await;
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => format!("panicked: {}", panic_message(panic.as_ref())),
        Err(cancelled) => cancelled.to_string(),
    })
}

/// The message of a panic.
pub fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
}
