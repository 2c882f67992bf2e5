//! Feeds the dataflow with planned drops, in the order in which they are handed in.
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    mpsc::{Receiver, Sender, TryRecvError, channel},
};

use connectors::checkpoint::PlannedDrop;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{Scope, operators::generic::source},
    scheduling::{Activator, SyncActivator},
};

use crate::{DropId, Flow};

type Waker = Arc<OnceLock<Mutex<SyncActivator>>>;

/// Hands drops to the dataflow, from any thread. When the feeder is dropped, the dataflow ends after the drops it has.
#[derive(Debug)]
pub struct Feeder {
    plans: Option<Sender<PlannedDrop>>,
    waker: Waker,
}

/// The dataflow's end of a [`Feeder`].
#[derive(Debug)]
pub struct Feed {
    plans: Receiver<PlannedDrop>,
    waker: Waker,
}

/// A feeder, and the feed that it fills.
pub fn feeder() -> (Feeder, Feed) {
    let (sender, receiver) = channel();
    let waker = Waker::default();
    (
        Feeder {
            plans: Some(sender),
            waker: waker.clone(),
        },
        Feed {
            plans: receiver,
            waker,
        },
    )
}

impl Feeder {
    /// Hands a drop in. Returns false if the dataflow is gone.
    pub fn put(&self, drop: impl Into<PlannedDrop>) -> bool {
        let sent = self
            .plans
            .as_ref()
            .is_some_and(|plans| plans.send(drop.into()).is_ok());
        wake(&self.waker);
        sent
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.plans = None;
        wake(&self.waker);
    }
}

fn wake(waker: &Waker) {
    if let Some(waker) = waker.get() {
        // This fails only if the worker is gone.
        let _ = waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .activate();
    }
}

/// Emits each drop at a time of its own: the first at 0, the next at 1. A worker without a feed emits nothing.
/// ```
/// # use std::sync::Mutex;
/// # use connectors::{DropPlan, galaxy::FileKind};
/// use hubbleflow_operators::feed::{feed, feeder};
/// use timely::dataflow::operators::{Capture, capture::Extract, vec::Map};
/// # let plan = |name: &str| DropPlan {
/// #     name: name.to_owned(), attempt: String::new(), began: 1, kind: FileKind::Galaxies, id_kind: None, keep: Default::default(),
/// #     inputs: vec![], ignored: vec![], rows: 0, parts: 1, failure: None, splits: Default::default(),
/// # };
///
/// let (feeder, plans) = feeder();
/// assert!(feeder.put(plan("night-2")));
/// assert!(feeder.put(plan("night-1")));
/// drop(feeder);
/// # let plans = Mutex::new(plans);
/// let drops = timely::example(|scope| {
///     # let plans = plans.into_inner().unwrap();
///     feed(scope, Some(plans)).map(|drop| drop.plan.name).capture()
/// });
/// assert_eq!(drops.extract(), [(0, vec!["night-2".to_owned()]), (1, vec!["night-1".to_owned()])]);
/// ```
///
/// # Panics
/// If a feed enters a second dataflow.
pub fn feed<'s>(scope: Scope<'s, DropId>, feed: Option<Feed>) -> Flow<'s, PlannedDrop> {
    source::<_, CapacityContainerBuilder<Vec<PlannedDrop>>, _, _>(
        scope,
        "Feed",
        move |capability, info| {
            let activator: Activator = scope.activator_for(info.address.clone());
            if let Some(feed) = &feed {
                let waker = scope.worker().sync_activator_for(info.address.to_vec());
                feed.waker
                    .set(Mutex::new(waker))
                    .expect("invariant: a feed enters one dataflow");
            }
            // Drops may have been handed in before the waker was set.
            activator.activate();
            let mut open = feed.map(|feed| (feed, capability));
            move |output| {
                while let Some((feed, capability)) = &mut open {
                    match feed.plans.try_recv() {
                        Ok(plan) => {
                            output.session(capability).give(plan);
                            let next = capability.time() + 1;
                            capability.downgrade(&next);
                        }
                        Err(TryRecvError::Empty) => return,
                        Err(TryRecvError::Disconnected) => open = None,
                    }
                }
            }
        },
    )
}
