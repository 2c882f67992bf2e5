//! Runs a job in this process: prepare the output, build the dataflow on every worker, see the drops settled.
//!
//! [`Job::run`] hands in the drops that are there, [`Job::watch`] those that arrive; the rest is the same.
mod count;
mod lead;
mod prepare;
mod process;

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use connectors::{Ledger, Unpublished};
use operators::{
    Committer, Progress, Scorer, Shutdown, Unfinished, commit::may_be_published_later, feed::feeder,
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use crate::{
    Error, Job, Observer, Stop, Watch,
    clock::clock,
    cluster::Joined,
    on_workers::join,
    start::{Start, nonce},
};
pub use count::Summary;
use count::{Count, lock};
use lead::Lead;
use prepare::{Prepared, prepare};
use process::{End, Process, Settle};

/// How long drops in flight may take to be committed when the run is told to end. After that, finished results are stored.
const SETTLE_MAX: Duration = Duration::from_secs(4);

impl Job {
    /// Runs the job to its end: every drop that is pending now. In a cluster every process calls this.
    ///
    /// This blocks, so an async caller runs it on a thread of its own (`tokio::task::spawn_blocking`).
    ///
    /// # Errors
    /// What keeps the whole job from running; a drop that fails is counted in the summary.
    pub fn run(self) -> Result<Summary, Error> {
        go(self, None)
    }

    /// Takes each drop as it arrives, until the watch is told to stop. In a cluster every process calls this, and the
    /// first decides when to stop.
    ///
    /// # Errors
    /// As [`Job::run`]; a store that fails during the watch is asked again.
    pub fn watch(self, watch: Watch) -> Result<Summary, Error> {
        go(self, Some(watch))
    }
}

/// Runs a job, and tells its observer when it is over.
fn go(mut job: Job, watch: Option<Watch>) -> Result<Summary, Error> {
    if let Some(watch) = &watch {
        job.stop = watch.stop.clone();
    }
    // Kept until the end: tasks of the run need the runtime when the rest of the job is gone.
    let (observer, _runtime) = (job.observer.clone(), job.runtime.clone());
    let ran = run(job, watch);
    observer.end();
    ran
}

fn run(job: Job, watch: Option<Watch>) -> Result<Summary, Error> {
    let runtime = job.runtime.handle().clone();
    let joined = job.cluster.connect(&job.agreement(), &job.observer)?;
    let (nonce, began, start) = (nonce()?, job.began, job.start.clone());
    let (run, since) = match &start {
        Some(Start { command, after }) => (format!("{command}-{nonce}"), *after),
        None => (nonce, Duration::ZERO),
    };
    let leader = job.cluster.is_leader();
    let prepared = match leader {
        true => runtime.block_on(prepare(&job, &run, watch.is_some()))?,
        false => Prepared::nothing(&job),
    };
    let count = Arc::new(Mutex::new(Count::before(&prepared.ledger, start.as_ref())));
    let (device, precision) = (job.device.clone(), job.precision.clone());
    let is_done = work(job, joined, prepared, watch, run, &count)?;
    let mut summary = lock(&count).summary.clone();
    summary.is_stopped = !is_done;
    summary.seconds = (since + clock() - began).as_secs_f64();
    summary.galaxies_per_second = summary.rows_written as f64 / summary.seconds;
    (summary.device, summary.precision) = (device, precision);
    Ok(summary)
}

/// Takes all drops through the dataflow. Returns false if the run was told to end before that was done.
fn work(
    job: Job,
    joined: Joined,
    prepared: Prepared,
    watch: Option<Watch>,
    run: String,
    count: &Arc<Mutex<Count>>,
) -> Result<bool, Error> {
    let runtime = job.runtime.handle().clone();
    let (leader, progress) = (job.cluster.is_leader(), Progress::default());
    // Every process sees the same drops settled. Only the leader reports them.
    let observer: Arc<dyn Observer> = match leader {
        true => job.observer.clone(),
        false => Arc::new(()),
    };
    if leader {
        // Nobody knows what a watch will find.
        let work = watch.is_none().then(|| prepared.work());
        observer.begin(work, &progress);
    }
    let ledger = Arc::new(tokio::sync::Mutex::new(prepared.ledger));
    let committer = committer(&job, ledger.clone(), &runtime);
    report_unpublished(
        prepared.unpublished,
        observer.as_ref(),
        count,
        &committer.unfinished,
    );
    let scorer = scorer(&job, ledger.clone(), prepared.first, &runtime);
    let (feeder, feed) = feeder();
    let [(tell, told), (tell_watcher, settled)] = [(); 2].map(|()| mpsc::unbounded_channel());
    let (tell_scored, scored) = mpsc::unbounded_channel();
    let planning = leader.then(|| {
        let lead = Lead {
            plan: job.plan.clone(),
            ledger,
            feeder,
            settled: [told, settled],
            scored,
            unfinished: committer.unfinished.clone(),
            progress: progress.clone(),
            run,
            observer: observer.clone(),
            stop: job.stop.clone(),
        };
        lead.start(watch, prepared.pending, &runtime)
    });
    let leaving = runtime.spawn(leave(job.stop.clone(), job.shutdown.clone()));
    let process = Process {
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
        lost: joined.lost.clone(),
        end: End::default(),
    };
    let has_left = step_workers(process, joined)?;
    leaving.abort();
    if has_left {
        return Ok(false);
    }
    planning.map_or(Ok(true), |planning| wait_for(planning, &runtime))
}

/// Waits for the planner. Returns whether it has taken all drops through.
fn wait_for(planning: JoinHandle<bool>, runtime: &Handle) -> Result<bool, Error> {
    let planned = runtime.block_on(planning);
    planned.map_err(|error| Error::worker(format!("planning stopped: {error}")))
}

/// Tells the operators that the process is about to leave, some seconds after the run is told to end.
async fn leave(mut stop: Stop, shutdown: Shutdown) {
    // An error means that nobody can tell it any more.
    if stop.wait_for(|&stop| stop).await.is_ok() {
        tokio::time::sleep(SETTLE_MAX).await;
        shutdown.ask();
    }
}

/// Starts the workers, and waits for them. Returns whether they left before the dataflow was done.
fn step_workers(process: Process, joined: Joined) -> Result<bool, Error> {
    let Joined {
        builders,
        guard,
        heartbeats,
        lost,
    } = joined;
    let is_cluster = process.job.cluster.processes() > 1;
    let process = Arc::new(process);
    let each = process.clone();
    let config = timely::WorkerConfig::default();
    let started = timely::execute::execute_from(builders, guard, config, move |worker| {
        each.work(worker);
    });
    let ended = join(started.map_err(Error::worker)?);
    let panicked = process.end.panicked.get().cloned();
    let has_left = process.end.has_left.load(Ordering::Relaxed);
    // The others leave too, and some of them earlier.
    if (has_left && panicked.is_none()) || (is_cluster && process.job.shutdown.is_asked()) {
        heartbeats.end();
        return Ok(true);
    }
    // If another process is lost, its heartbeat says which; the workers only see that a connection broke.
    let broken = panicked.is_some() || ended.is_err();
    let lost = match broken && is_cluster {
        true => lost.wait(),
        false => lost.reason(),
    };
    if let Some(how) = lost {
        return Err(Error::LostPeer {
            how: how.to_owned(),
        });
    }
    if let Some(panicked) = panicked {
        return Err(Error::worker(panicked));
    }
    ended?;
    heartbeats.end();
    Ok(false)
}

fn committer(job: &Job, ledger: Arc<tokio::sync::Mutex<Ledger>>, runtime: &Handle) -> Committer {
    Committer {
        output: job.plan.output.clone(),
        ledger,
        model_id: job.plan.model_id.clone(),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        settings: job.plan.settings.clone().into(),
        unfinished: Unfinished::default(),
        shutdown: job.shutdown.clone(),
        runtime: runtime.clone(),
    }
}

/// Reports the drops that an earlier run committed and that cannot be published now. A watch tries again.
fn report_unpublished(
    unpublished: Vec<Unpublished>,
    observer: &dyn Observer,
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
        observer.unpublished(&drop, &reason);
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
