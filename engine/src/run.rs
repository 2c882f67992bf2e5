//! Run a job in this process: prepare the output, build the dataflow on every worker, see the drops settled.
//!
//! `run` hands in the drops that are there, `watch` those that arrive; all else is the same.
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use connectors::{
    DropListing, Ledger,
    ledger::{Kind, Rows},
    output::Unpublished,
};
use operators::{
    Committer, Outcome, Progress, Published, Scorer, Settled, Unfinished,
    commit::may_be_published_later,
    feed::{Feed, Feeder, feeder},
    offload::panic_message,
    publish, score,
};
use serde::Serialize;
use timely::{
    dataflow::operators::{Inspect, vec::Broadcast},
    worker::Worker,
};
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    Error,
    clock::clock,
    cluster::Joined,
    console::tell,
    dataflow,
    job::{Job, Plan},
    observe::Observer,
    plan::{Pending, Planner, Todo},
    retry::Retries,
    supervise::Start,
    watch::{Watch, Watcher},
};

/// How long a worker that waits for work does not look whether another has panicked.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Drops that this run committed.
    pub drops_committed: u64,
    /// Drops that could not be committed, also when they were tried again.
    pub drops_failed: u64,
    /// Rows of the committed drops.
    pub rows_read: u64,
    /// Of them, predicted or withdrawn.
    pub rows_written: u64,
    /// Of them, learned.
    pub rows_learned: u64,
    /// Of them, rejected.
    pub rows_rejected: u64,
    /// From the start of the command.
    pub seconds: f64,
    /// Rows written by seconds.
    pub galaxies_per_second: f64,
    /// Where the model ran.
    pub device: String,
    /// Its arithmetic.
    pub precision: String,
    /// Why drops could not be committed, by drop.
    #[serde(skip)]
    pub failures: BTreeMap<String, Vec<String>>,
}

impl Summary {
    /// The exit code: 3 where a drop failed.
    pub fn exit_code(&self) -> u8 {
        if self.drops_failed > 0 { 3 } else { 0 }
    }
}

/// What was counted so far, by all starts of the command.
#[derive(Default)]
struct Count {
    summary: Summary,
}

impl Count {
    /// What earlier starts of the same command have committed.
    fn before(ledger: &Ledger, job: &Job) -> Self {
        let mut count = Self::default();
        if let Some(Start { command, .. }) = &job.start {
            let ours = ledger.entries().iter();
            let ours =
                ours.filter(|entry| entry.kind == Kind::Drop && entry.attempt.starts_with(command));
            ours.for_each(|entry| count.committed(&entry.rows));
        }
        count
    }

    /// Counts a drop that could not be committed, or not be published.
    fn failed(&mut self, drop: &str, reason: String) {
        self.summary.failures.insert(drop.to_owned(), vec![reason]);
        self.summary.drops_failed = self.summary.failures.len() as u64;
    }

    fn one(&mut self, settled: &Settled) {
        if let Outcome::Known(_) = settled.outcome {
            return;
        }
        // A watch may try a drop again.
        let failures = &mut self.summary.failures;
        match &settled.outcome {
            Outcome::Failed(reasons) => failures.insert(settled.drop.clone(), reasons.clone()),
            _ => failures.remove(&settled.drop),
        };
        self.summary.drops_failed = failures.len() as u64;
        if let Outcome::Committed(_) = settled.outcome {
            self.committed(&settled.rows);
        }
    }

    fn committed(&mut self, rows: &Rows) {
        self.summary.drops_committed += 1;
        self.summary.rows_read += rows.read;
        self.summary.rows_written += rows.written;
        self.summary.rows_learned += rows.learned;
        self.summary.rows_rejected += rows.rejected;
    }
}

/// Runs a job to its end. On a cluster every process calls this with the same settings.
///
/// # Errors
/// What keeps the whole job from running; a drop that fails is counted in the summary.
pub fn run(job: Job, runtime: &Handle) -> Result<Summary, Error> {
    go(job, None, Observer::start, runtime)
}

/// Runs a job as [`run`] does, and shows nothing of it.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_quietly(job: Job, runtime: &Handle) -> Result<Summary, Error> {
    go(job, None, |_, _| Observer::quiet(), runtime)
}

/// Takes each drop of the catalog as it arrives, until it is told to stop. On a cluster every process calls this, and
/// the first decides when to stop.
///
/// # Errors
/// As [`run`]; while it watches, a store that fails is asked again.
pub fn watch(job: Job, watch: Watch, runtime: &Handle) -> Result<Summary, Error> {
    go(job, Some(watch), Observer::start, runtime)
}

fn go(
    job: Job,
    watch: Option<Watch>,
    observe: fn(Option<&[Pending]>, Progress) -> Observer,
    runtime: &Handle,
) -> Result<Summary, Error> {
    let Joined {
        builders,
        guard,
        heartbeats,
    } = job.cluster.connect(&job)?;
    let (nonce, progress) = (nonce()?, Progress::default());
    let (run, since) = match &job.start {
        Some(Start { command, after }) => (format!("{command}-{nonce}"), *after),
        None => (nonce, Duration::ZERO),
    };
    let leader = job.cluster.is_leader();
    let Prepared {
        ledger,
        pending,
        first,
        unpublished,
    } = match leader {
        true => runtime.block_on(prepare(&job, &run, watch.is_some()))?,
        false => Prepared::nothing(&job),
    };
    // What will come of a watch is not known.
    let known = watch.is_none().then_some(pending.as_slice());
    let observer = leader.then(|| observe(known, progress.clone()));
    let count = Arc::new(Mutex::new(Count::before(&ledger, &job)));
    let ledger = Arc::new(tokio::sync::Mutex::new(ledger));
    let committer = committer(&job, ledger.clone(), runtime);
    tell_unpublished(
        unpublished,
        observer.as_ref(),
        &count,
        &committer.unfinished,
    );
    let scorer = scorer(&job, ledger.clone(), first, runtime);
    let (feeder, feed) = feeder();
    let [(tell, told), (tell_watcher, settled)] = [(); 2].map(|()| mpsc::unbounded_channel());
    let (tell_scored, scored) = mpsc::unbounded_channel();
    let planning = observer.clone().map(|observer| {
        let lead = Lead {
            plan: job.plan.clone(),
            ledger,
            feeder,
            settled: [told, settled],
            scored,
            unfinished: committer.unfinished.clone(),
            progress: progress.clone(),
            run,
            observer,
        };
        lead.start(watch, pending, runtime)
    });
    let (device, precision) = (job.device.clone(), job.precision.clone());
    let process = Arc::new(Process {
        job,
        drops: Mutex::new(leader.then_some(feed)),
        committer,
        scorer,
        progress,
        settle: Settle {
            count: count.clone(),
            observer,
            tell: [tell, tell_watcher],
            tell_scored,
        },
        panicked: OnceLock::new(),
    });
    let each = process.clone();
    let guards =
        timely::execute::execute_from(builders, guard, timely::WorkerConfig::default(), move |w| {
            each.work(w);
        })
        .map_err(Error::Worker)?;
    let joined = join(guards);
    if let Some(panicked) = process.panicked.get() {
        return Err(Error::Worker(panicked.clone()));
    }
    joined?;
    heartbeats.end();
    drop(process);
    if let Some(planning) = planning {
        let planned = runtime.block_on(planning);
        planned.map_err(|error| Error::Worker(format!("planning stopped: {error}")))?;
    }
    let mut summary = lock(&count).summary.clone();
    summary.seconds = (since + clock()).as_secs_f64();
    summary.galaxies_per_second = summary.rows_written as f64 / summary.seconds;
    (summary.device, summary.precision) = (device, precision);
    Ok(summary)
}

/// What the leader does besides the work of its workers.
struct Lead {
    plan: Arc<Plan>,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
    feeder: Feeder,
    /// What has become of the drops, for the planner and for the watcher.
    settled: [mpsc::UnboundedReceiver<Settled>; 2],
    /// What has become of the metrics.
    scored: mpsc::UnboundedReceiver<Published>,
    unfinished: Unfinished,
    progress: Progress,
    run: String,
    observer: Observer,
}

impl Lead {
    /// Plans the drops that are handed in: those that are pending, or those that a watcher finds.
    fn start(
        self,
        watch: Option<Watch>,
        pending: Vec<Pending>,
        runtime: &Handle,
    ) -> tokio::task::JoinHandle<()> {
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
                    observer: self.observer,
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

fn committer(job: &Job, ledger: Arc<tokio::sync::Mutex<Ledger>>, runtime: &Handle) -> Committer {
    Committer {
        output: job.plan.output.clone(),
        ledger,
        model_id: job.plan.model_id.clone(),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        settings: job.plan.settings.clone().into(),
        unfinished: Unfinished::default(),
        runtime: runtime.clone(),
    }
}

/// Tells of the drops that an earlier run has committed and that cannot be published now. A watch tries again.
fn tell_unpublished(
    unpublished: Vec<Unpublished>,
    observer: Option<&Observer>,
    count: &Mutex<Count>,
    unfinished: &Unfinished,
) {
    for Unpublished {
        drop,
        attempt,
        error,
    } in unpublished
    {
        if may_be_published_later(&error) {
            unfinished.add(&attempt, &drop);
        }
        let reason = error.to_string();
        if let Some(observer) = observer {
            observer.failed(&drop, &reason);
        }
        lock(count).failed(&drop, reason);
    }
}

fn scorer(
    job: &Job,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
    first: Vec<u64>,
    runtime: &Handle,
) -> Scorer {
    Scorer {
        output: job.plan.output.clone(),
        ledger,
        first,
        runtime: runtime.clone(),
    }
}

/// What is known when a run begins.
struct Prepared {
    ledger: Ledger,
    pending: Vec<Pending>,
    /// The entries that are scored before any drop is settled: those whose metrics are missing, and the newest where there
    /// is a drop to come, whose metrics go on from there.
    first: Vec<u64>,
    /// What could not be published of earlier runs' drops.
    unpublished: Vec<Unpublished>,
}

impl Prepared {
    /// What is known to those who do not lead.
    fn nothing(job: &Job) -> Self {
        Self {
            ledger: Ledger::unread(job.plan.output.location()),
            pending: Vec::new(),
            first: Vec::new(),
            unpublished: Vec::new(),
        }
    }
}

/// Makes sure the output can take the job's results, ends what earlier runs left, and finds what is to be done: by a
/// watch, whatever will come.
async fn prepare(job: &Job, run: &str, watches: bool) -> Result<Prepared, Error> {
    let plan = &job.plan;
    // The catalog first: a mistyped one should not leave an output behind.
    let sightings = plan.catalog.sightings().await?;
    plan.output.check(run).await?;
    let mut ledger = Ledger::open(plan.output.location()).await?;
    plan.check_model(&ledger)?;
    let unpublished = plan
        .output
        .recover(&mut ledger, env!("CARGO_PKG_VERSION"))
        .await?;
    let pending = match watches {
        true => Vec::new(),
        false => {
            let Todo {
                pending,
                changed,
                warnings,
            } = plan.todo(&ledger, sightings)?;
            for warning in warnings {
                tell(format_args!("warning: {warning}"));
            }
            for changed in changed {
                tell(format_args!("warning: {changed}"));
            }
            pending
        }
    };
    let mut first = publish::to_score(&plan.output, &ledger).await?;
    let newest = score::newest(&ledger).filter(|_| watches || !pending.is_empty());
    first.extend(newest.filter(|newest| first.last() != Some(newest)));
    Ok(Prepared {
        ledger,
        pending,
        first,
        unpublished,
    })
}

/// What the workers of this process share.
struct Process {
    job: Job,
    /// Where the drops come from; the first worker of the cluster takes it.
    drops: Mutex<Option<Feed>>,
    committer: Committer,
    scorer: Scorer,
    progress: Progress,
    settle: Settle,
    /// What the first worker to panic said.
    panicked: OnceLock<String>,
}

impl Process {
    /// The whole work of one worker.
    fn work(&self, worker: &mut Worker) {
        let drops = lock(&self.drops).take_if(|_| worker.index() == 0);
        let here = worker.index().is_multiple_of(self.job.cluster.workers());
        let (tell, settle) = (self.settle.clone(), self.settle.clone());
        let Self {
            job,
            committer,
            scorer,
            progress,
            ..
        } = self;
        worker.dataflow(|scope| {
            let (settled, metrics) =
                dataflow::build(scope, drops, job, committer, scorer, progress);
            metrics.inspect(move |metrics| settle.scored(metrics));
            settled.broadcast().inspect(move |settled| {
                if here {
                    tell.one(settled);
                }
            });
        });
        self.step(worker);
    }

    /// Steps a worker until its dataflow is done, or until a worker of this process has panicked: the others would wait
    /// for it for ever.
    fn step(&self, worker: &mut Worker) {
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            while worker.has_dataflows() && self.panicked.get().is_none() {
                worker.step_or_park(Some(PATIENCE));
            }
        }));
        if let Err(panic) = stepped {
            // The first panic is the reason of those that follow from it.
            self.panicked
                .get_or_init(|| panic_message(panic.as_ref()).to_owned());
        }
        for unfinished in worker.installed_dataflows() {
            worker.drop_dataflow(unfinished);
        }
    }
}

/// What a process does with a drop that is settled.
#[derive(Clone)]
struct Settle {
    count: Arc<Mutex<Count>>,
    observer: Option<Observer>,
    /// The planner, and the watcher, of the leader.
    tell: [mpsc::UnboundedSender<Settled>; 2],
    /// Whoever tries again, where the leader watches.
    tell_scored: mpsc::UnboundedSender<Published>,
}

impl Settle {
    fn scored(&self, metrics: &Published) {
        if let Some(observer) = &self.observer {
            observer.scored(metrics);
        }
        // A run has nobody who tries again.
        let _ = self.tell_scored.send(metrics.clone());
    }

    fn one(&self, settled: &Settled) {
        lock(&self.count).one(settled);
        if let Some(observer) = &self.observer {
            observer.settled(settled);
        }
        for listener in &self.tell {
            // The other processes have none.
            let _ = listener.send(settled.clone());
        }
    }
}

/// Waits for the workers of this process.
fn join(guards: timely::communication::WorkerGuards<()>) -> Result<(), Error> {
    let joined = catch_unwind(AssertUnwindSafe(|| guards.join()));
    let results =
        joined.map_err(|_| Error::Worker("a connection to another process was lost".to_owned()))?;
    results
        .into_iter()
        .collect::<Result<(), String>>()
        .map_err(Error::Worker)
}

/// Sixteen hex digits that no other run has.
pub(crate) fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Worker(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
