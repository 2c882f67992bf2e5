//! Steps the workers of this process, and reports settled drops.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use operators::{
    Committer, Progress, Published, Scorer, Settled,
    collectives::{BroadcastFrom, Rank},
    feed::Feed,
    offload::panic_message,
};
use timely::{dataflow::operators::Inspect, worker::Worker};
use tokio::sync::mpsc;

use super::count::{Count, lock};
use crate::{Observer, clock::clock, cluster::Lost, dataflow, stations::Stations};

/// How long a worker that waits for work does not look whether another worker has panicked.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a process that leaves may take to store finished results.
const LEAVE_MAX: Duration = Duration::from_millis(4500);
/// How long a process of a cluster stays after it has stored its results.
const LEAVE_MIN: Duration = Duration::from_secs(2);

/// What the workers of this process share.
pub(super) struct Process {
    pub stations: Stations,
    /// Where the drops come from; the first worker of the cluster takes it.
    pub drops: Mutex<Option<Feed>>,
    pub committer: Committer,
    pub scorer: Scorer,
    pub progress: Progress,
    pub settle: Settle,
    pub lost: Lost,
    pub end: End,
}

/// How the workers of this process end.
#[derive(Default)]
pub(super) struct End {
    /// When they were told to leave, by the engine's clock.
    leaves_at: OnceLock<Duration>,
    /// Whether one left before the dataflow was done.
    pub has_left: AtomicBool,
    /// What the first worker to panic said.
    pub panicked: OnceLock<String>,
}

impl Process {
    /// The whole work of one worker.
    pub fn work(&self, worker: &mut Worker) {
        let drops = lock(&self.drops).take_if(|_| worker.index() == 0);
        let here = worker
            .index()
            .is_multiple_of(self.stations.cluster.workers());
        let (tell, settle) = (self.settle.clone(), self.settle.clone());
        let Self {
            stations,
            committer,
            scorer,
            progress,
            ..
        } = self;
        worker.dataflow(|scope| {
            let (settled, metrics) =
                dataflow::build(scope, drops, stations, committer, scorer, progress);
            metrics.inspect(move |metrics| settle.scored(metrics));
            settled.broadcast_from(Rank::FIRST).inspect(move |settled| {
                if here {
                    tell.one(settled);
                }
            });
        });
        self.step(worker);
    }

    fn is_broken(&self) -> bool {
        self.end.panicked.get().is_some() || self.lost.reason().is_some()
    }

    /// Whether the process was told to leave, and has stored its finished results or has run out of time.
    fn may_leave(&self) -> bool {
        if !self.stations.shutdown.is_asked() {
            return false;
        }
        let leaves_at = *self.end.leaves_at.get_or_init(clock);
        let waited = clock() - leaves_at;
        // A process that leaves cuts the connections that the others still use.
        let is_alone = self.stations.cluster.processes() == 1;
        waited >= LEAVE_MAX
            || (self.stations.shutdown.is_idle() && (is_alone || waited >= LEAVE_MIN))
    }

    /// Steps a worker until its dataflow is done, or until a worker of this process has panicked or another process is
    /// lost: the worker would wait for ever.
    fn step(&self, worker: &mut Worker) {
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            while worker.has_dataflows() && !self.is_broken() {
                if self.may_leave() {
                    self.end.has_left.store(true, Ordering::Relaxed);
                    break;
                }
                worker.step_or_park(Some(PATIENCE));
            }
        }));
        if let Err(panic) = stepped {
            // The first panic is the reason of those that follow from it.
            self.end
                .panicked
                .get_or_init(|| panic_message(panic.as_ref()).to_owned());
        }
        for unfinished in worker.installed_dataflows() {
            worker.drop_dataflow(unfinished);
        }
    }
}

/// What a process does with a drop that is settled.
#[derive(Clone)]
pub(super) struct Settle {
    pub count: Arc<Mutex<Count>>,
    pub observer: Arc<dyn Observer>,
    /// The planner, and the watcher, of the leader.
    pub tell: [mpsc::UnboundedSender<Settled>; 2],
    /// The retries of a watch.
    pub tell_scored: mpsc::UnboundedSender<Published>,
}

impl Settle {
    fn scored(&self, metrics: &Published) {
        self.observer.scored(metrics);
        // A run has nobody who tries again.
        let _ = self.tell_scored.send(metrics.clone());
    }

    fn one(&self, settled: &Settled) {
        lock(&self.count).settled(settled);
        self.observer.settled(settled);
        for listener in &self.tell {
            // The other processes have no planner and no watcher.
            let _ = listener.send(settled.clone());
        }
    }
}
