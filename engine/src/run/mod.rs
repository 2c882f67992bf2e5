//! Runs a job in this process: prepare the output, build the dataflow on every worker, see the drops settled.
//!
//! [`Job::run`] hands in the drops that are there, [`Job::watch`] those that arrive; the rest is the same.
mod count;
mod lead;
mod prepare;
mod process;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use connectors::{Ledger, Unpublished};
use operators::{
    Committer, Progress, Scorer, Unfinished, commit::may_be_published_later, feed::feeder,
};
use timely::communication::WorkerGuards;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    Error, Job, Observer, Watch,
    clock::clock,
    cluster::Joined,
    start::{Start, nonce},
};
pub use count::Summary;
use count::{Count, lock};
use lead::Lead;
use prepare::{Prepared, prepare};
use process::{Process, Settle};

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
fn go(job: Job, watch: Option<Watch>) -> Result<Summary, Error> {
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
    work(job, joined, prepared, watch, run, &count)?;
    let mut summary = lock(&count).summary.clone();
    summary.seconds = (since + clock() - began).as_secs_f64();
    summary.galaxies_per_second = summary.rows_written as f64 / summary.seconds;
    (summary.device, summary.precision) = (device, precision);
    Ok(summary)
}

/// Takes all drops through the dataflow.
fn work(
    job: Job,
    joined: Joined,
    prepared: Prepared,
    watch: Option<Watch>,
    run: String,
    count: &Arc<Mutex<Count>>,
) -> Result<(), Error> {
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
        };
        lead.start(watch, prepared.pending, &runtime)
    });
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
        panicked: OnceLock::new(),
    };
    step_workers(process, joined)?;
    if let Some(planning) = planning {
        let planned = runtime.block_on(planning);
        planned.map_err(|error| Error::Worker(format!("planning stopped: {error}")))?;
    }
    Ok(())
}

/// Starts the workers, and waits for them.
fn step_workers(process: Process, joined: Joined) -> Result<(), Error> {
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
    let ended = join(started.map_err(Error::Worker)?);
    let panicked = process.panicked.get().cloned();
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
        return Err(Error::Worker(panicked));
    }
    ended?;
    heartbeats.end();
    Ok(())
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

/// Waits for the workers of this process.
fn join(guards: WorkerGuards<()>) -> Result<(), Error> {
    let joined = catch_unwind(AssertUnwindSafe(|| guards.join()));
    let results =
        joined.map_err(|_| Error::Worker("a connection to another process was lost".to_owned()))?;
    results
        .into_iter()
        .collect::<Result<(), String>>()
        .map_err(Error::Worker)
}
