//! The source: drops that are ready to be read, in the order in which they are handed in.
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    mpsc::{Receiver, Sender, TryRecvError, channel},
};

use connectors::DropPlan;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{Scope, operators::generic::source},
    scheduling::{Activator, SyncActivator},
};

use crate::{DropId, Flow};

type Waker = Arc<OnceLock<Mutex<SyncActivator>>>;

/// Hands drops to the dataflow, from any thread. When it is dropped, the dataflow ends after what it was handed.
#[derive(Debug)]
pub struct Feeder {
    plans: Option<Sender<DropPlan>>,
    waker: Waker,
}

/// The dataflow's end of a [`Feeder`].
#[derive(Debug)]
pub struct Feed {
    plans: Receiver<DropPlan>,
    waker: Waker,
}

/// A feeder and the feed it fills.
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
    /// Hands a drop in; false where the dataflow is gone.
    pub fn put(&self, plan: DropPlan) -> bool {
        let sent = self
            .plans
            .as_ref()
            .is_some_and(|plans| plans.send(plan).is_ok());
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
        // Fails only where the worker is gone.
        let _ = waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .activate();
    }
}

/// Emits each drop that is handed in at a time of its own. A worker without a feed emits nothing.
pub fn feed<'s>(scope: Scope<'s, DropId>, feed: Option<Feed>) -> Flow<'s, DropPlan> {
    source::<_, CapacityContainerBuilder<Vec<DropPlan>>, _, _>(
        scope,
        "Feed",
        move |capability, info| {
            let activator: Activator = scope.activator_for(info.address.clone());
            if let Some(feed) = &feed {
                let waker = scope.worker().sync_activator_for(info.address.to_vec());
                feed.waker
                    .set(Mutex::new(waker))
                    .expect("a feed enters one dataflow");
            }
            // What was handed in before the waker was set.
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
