//! What the leader does besides the work of its workers: it finds drops, plans them, and tries again.
use std::sync::Arc;

use connectors::{DropListing, Ledger};
use operators::{Progress, Published, Settled, Unfinished, feed::Feeder};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    Observer, Stop,
    plan::Plan,
    planner::Planner,
    retry::Retries,
    todo::Pending,
    watch::{Watch, Watcher},
};

/// What the leader does besides the work of its workers.
pub(super) struct Lead {
    pub plan: Arc<Plan>,
    pub ledger: Arc<tokio::sync::Mutex<Ledger>>,
    pub feeder: Feeder,
    /// What has become of the drops, for the planner and for the watcher.
    pub settled: [mpsc::UnboundedReceiver<Settled>; 2],
    /// What has become of the metrics.
    pub scored: mpsc::UnboundedReceiver<Published>,
    pub unfinished: Unfinished,
    pub progress: Progress,
    /// The first part of the names of this run's attempts.
    pub run: String,
    pub observer: Arc<dyn Observer>,
    pub stop: Stop,
}

impl Lead {
    /// Plans the drops that are handed in: those that are pending, or those that a watcher finds.
    pub fn start(
        self,
        watch: Option<Watch>,
        pending: Vec<Pending>,
        runtime: &Handle,
    ) -> tokio::task::JoinHandle<bool> {
        // One drop waits for the planner, and no more: a watch that stops leaves the rest for the next start.
        let (hand_in, drops) = mpsc::channel(1);
        let [to_planner, to_watcher] = self.settled;
        match watch {
            Some(watch) => {
                let retries = Retries {
                    ledger: self.ledger.clone(),
                    unfinished: self.unfinished,
                    scored: self.scored,
                    drops: hand_in.clone(),
                    stop: watch.stop.clone(),
                    observer: self.observer.clone(),
                };
                runtime.spawn(retries.retry());
                let watcher = Watcher {
                    watch,
                    plan: self.plan.clone(),
                    ledger: self.ledger.clone(),
                    drops: hand_in,
                    settled: to_watcher,
                    observer: self.observer.clone(),
                };
                runtime.spawn(watcher.watch());
            }
            None => {
                runtime.spawn(hand_in_all(pending, hand_in));
            }
        }
        let planner = Planner {
            plan: self.plan,
            ledger: self.ledger,
            drops,
            feeder: self.feeder,
            settled: to_planner,
            progress: self.progress,
            run: self.run,
            attempts: 0,
            observer: self.observer,
            stop: self.stop,
        };
        runtime.spawn(planner.take())
    }
}

/// Hands in the drops that are there.
async fn hand_in_all(pending: Vec<Pending>, drops: mpsc::Sender<DropListing>) {
    for pending in pending {
        if drops.send(pending.listing).await.is_err() {
            // The planner has taken as many rows as it was asked for, or is gone.
            return;
        }
    }
}
