//! Run a job in this process: prepare the output, build the dataflow on every worker, see the drops settled.
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use connectors::{DropListing, Ledger, ledger::Rows};
use operators::{
    Committer, Outcome, Progress, Scorer, Settled, feed::Feed, feed::feeder,
    offload::panic_message, publish, score,
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
    dataflow,
    job::Job,
    observe::Observer,
    plan::{Pending, Planner},
};

/// How long a worker that waits for work does not look whether another has panicked.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Drops that this run committed.
    pub drops_committed: u64,
    /// Drops that could not be committed.
    pub drops_failed: u64,
    /// Rows of the committed drops.
    pub rows_read: u64,
    /// Of them, predicted or withdrawn.
    pub rows_written: u64,
    /// Of them, learned.
    pub rows_learned: u64,
    /// Of them, rejected.
    pub rows_rejected: u64,
    /// From the start of the process.
    pub seconds: f64,
    /// Rows written by seconds.
    pub galaxies_per_second: f64,
    /// Where the model ran.
    pub device: String,
    /// Its arithmetic.
    pub precision: String,
}

impl Summary {
    /// The exit code: 3 where a drop failed.
    pub fn exit_code(&self) -> u8 {
        if self.drops_failed > 0 { 3 } else { 0 }
    }

    fn count(&mut self, settled: &Settled) {
        match settled.outcome {
            Outcome::Committed(_) => {
                let Rows {
                    read,
                    written,
                    learned,
                    rejected,
                } = settled.rows;
                self.drops_committed += 1;
                self.rows_read += read;
                self.rows_written += written;
                self.rows_learned += learned;
                self.rows_rejected += rejected;
            }
            Outcome::Failed(_) => self.drops_failed += 1,
            Outcome::Overtaken(_) | Outcome::Abandoned => {}
        }
    }
}

/// Runs a job to its end. On a cluster every process calls this with the same settings.
///
/// # Errors
/// What keeps the whole job from running; a drop that fails is counted in the summary.
pub fn run(job: Job, runtime: &Handle) -> Result<Summary, Error> {
    let (builders, guard) = job.cluster.connect(&job)?;
    let (run, progress) = (nonce()?, Progress::default());
    let leader = job.cluster.is_leader();
    let Prepared {
        ledger,
        pending,
        first,
    } = match leader {
        true => runtime.block_on(prepare(&job, &run))?,
        false => Prepared::nothing(&job),
    };
    let observer = leader.then(|| Observer::start(&pending, progress.clone()));
    let ledger = Arc::new(tokio::sync::Mutex::new(ledger));
    let committer = committer(&job, ledger.clone(), runtime);
    let scorer = scorer(&job, ledger.clone(), first, runtime);
    let (feeder, feed) = feeder();
    let (tell, told) = mpsc::unbounded_channel();
    let planning = leader.then(|| {
        let drops: Vec<DropListing> = pending.into_iter().map(|pending| pending.listing).collect();
        let planner = Planner {
            plan: job.plan.clone(),
            ledger,
            feeder,
            settled: told,
            progress: progress.clone(),
            run,
        };
        runtime.spawn(planner.take(drops))
    });
    let summary = Arc::new(Mutex::new(Summary::default()));
    let (device, precision) = (job.device.clone(), job.precision.clone());
    let process = Arc::new(Process {
        job,
        drops: Mutex::new(leader.then_some(feed)),
        committer,
        scorer,
        progress,
        settle: Settle {
            summary: summary.clone(),
            observer,
            tell,
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
    drop(process);
    if let Some(planning) = planning {
        let planned = runtime.block_on(planning);
        planned.map_err(|error| Error::Worker(format!("planning stopped: {error}")))?;
    }
    let mut summary = lock(&summary).clone();
    summary.seconds = clock().as_secs_f64();
    summary.galaxies_per_second = summary.rows_written as f64 / summary.seconds;
    (summary.device, summary.precision) = (device, precision);
    Ok(summary)
}

fn committer(job: &Job, ledger: Arc<tokio::sync::Mutex<Ledger>>, runtime: &Handle) -> Committer {
    Committer {
        output: job.plan.output.clone(),
        ledger,
        model_id: job.plan.model_id.clone(),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        settings: job.plan.settings.clone().into(),
        runtime: runtime.clone(),
    }
}

fn scorer(
    job: &Job,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
    first: Option<u64>,
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
    /// The entry up to which metrics are made before any drop is settled: where there is a drop to come, whose metrics
    /// go on from these, or where they are missing.
    first: Option<u64>,
}

impl Prepared {
    /// What is known to those who do not lead.
    fn nothing(job: &Job) -> Self {
        Self {
            ledger: Ledger::unread(job.plan.output.location()),
            pending: Vec::new(),
            first: None,
        }
    }
}

/// Makes sure the output can take the job's results, ends what earlier runs left, and finds what is to be done.
async fn prepare(job: &Job, run: &str) -> Result<Prepared, Error> {
    let plan = &job.plan;
    // The catalog first: a mistyped one should not leave an output behind.
    if plan.catalog.drops().await?.is_empty() {
        let catalog = &plan.catalog.location().url;
        eprintln!(
            "warning: {catalog} holds no drop: no folder and no .parquet object; check the URL"
        );
    }
    plan.output.check(run).await?;
    let mut ledger = Ledger::open(plan.output.location()).await?;
    plan.check_model(&ledger)?;
    plan.output
        .recover(&mut ledger, env!("CARGO_PKG_VERSION"))
        .await?;
    let pending = plan.pending(&ledger).await?;
    let mut first = score::newest(&ledger);
    if let Some(sequence) = first
        && pending.is_empty()
        && publish::exists(&plan.output, sequence).await?
    {
        first = None;
    }
    Ok(Prepared {
        ledger,
        pending,
        first,
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
        let (tell, observer) = (self.settle.clone(), self.settle.observer.clone());
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
            metrics.inspect(move |metrics| {
                if let Some(observer) = &observer {
                    observer.scored(metrics);
                }
            });
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
    summary: Arc<Mutex<Summary>>,
    observer: Option<Observer>,
    tell: mpsc::UnboundedSender<Settled>,
}

impl Settle {
    fn one(&self, settled: &Settled) {
        lock(&self.summary).count(settled);
        if let Some(observer) = &self.observer {
            observer.settled(settled);
        }
        // Only the leader's planner listens.
        let _ = self.tell.send(settled.clone());
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
fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Worker(format!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
