//! Runs a job in this process: prepare the output, build the dataflow on every worker, see the drops settled.
//!
//! [`Job::run`] hands in the drops that are there, [`Job::watch`] those that arrive; the rest is the same.
mod count;
mod lead;
mod prepare;
mod process;
mod receiving;

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
    Error, Job, Observer, Plan, Stop, Watch, clock::clock, cluster::Joined, on_workers::join,
    start::nonce, stations::Stations,
};
pub use count::Summary;
use count::{Count, lock};
use lead::Lead;
use prepare::{Prepared, prepare};
use process::{End, Process, Settle};
use receiving::Receiving;

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
    let (began, start, stop) = (job.began, job.start.clone(), job.stop.clone());
    let (observer, plan) = (job.observer.clone(), job.plan.clone());
    let (device, precision) = (job.device.clone(), job.precision.clone());
    let (stations, joined) = job.join(watch.is_some())?;
    if joined.cluster.processes() > 1 {
        observer.gathered(&joined.gathered());
    }
    // What the processes have agreed on, or what a supervisor has told this one.
    let start = joined.start.clone().or(start);
    let (nonce, since) = (
        nonce()?,
        start.as_ref().map_or(Duration::ZERO, |start| start.after),
    );
    let run = match &start {
        Some(start) => format!("{}-{nonce}", start.command),
        None => nonce,
    };
    let is_leader = joined.cluster.is_leader();
    let model_threads = stations.inference.threads();
    let prepared = match is_leader {
        true => {
            let prepared = prepare(&plan, observer.as_ref(), &run, watch.is_some());
            runtime.block_on(prepared)?
        }
        false => Prepared::nothing(&plan),
    };
    let count = Arc::new(Mutex::new(Count::before(&prepared.ledger, start.as_ref())));
    let around = Around {
        stop,
        observer,
        runtime,
        run,
    };
    let is_done = work(stations, joined, prepared, watch, around, &count)?;
    let mut summary = lock(&count).summary.clone();
    (summary.is_stopped, summary.is_leader) = (!is_done, is_leader);
    summary.seconds = (since + clock() - began).as_secs_f64();
    summary.galaxies_per_second = summary.rows_written as f64 / summary.seconds;
    summary.model_threads = model_threads;
    (summary.device, summary.precision) = (device, precision);
    Ok(summary)
}

/// What is around the dataflow of a run.
struct Around {
    stop: Stop,
    observer: Arc<dyn Observer>,
    runtime: Handle,
    /// The first part of the names of this run's attempts.
    run: String,
}

/// Takes all drops through the dataflow. Returns false if the run was told to end before that was done.
fn work(
    stations: Stations,
    joined: Joined,
    prepared: Prepared,
    watch: Option<Watch>,
    around: Around,
    count: &Arc<Mutex<Count>>,
) -> Result<bool, Error> {
    let (stop, runtime, run) = (around.stop, around.runtime, around.run);
    let (leader, progress) = (stations.cluster.is_leader(), Progress::default());
    // Every process sees the same drops settled. Only the leader reports them.
    let observer: Arc<dyn Observer> = match leader {
        true => around.observer,
        false => Arc::new(()),
    };
    // Nobody knows what a watch will find.
    let found = watch.is_none().then(|| prepared.work());
    if leader {
        observer.begin(found, &progress);
    }
    let ledger = Arc::new(tokio::sync::Mutex::new(prepared.ledger));
    let committer = committer(&stations, ledger.clone(), &runtime);
    report_unpublished(
        prepared.unpublished,
        observer.as_ref(),
        count,
        &committer.unfinished,
    );
    let scorer = scorer(&stations.plan, ledger.clone(), prepared.first, &runtime);
    let (feeder, feed) = feeder();
    let [(tell, told), (tell_watcher, settled)] = [(); 2].map(|()| mpsc::unbounded_channel());
    let (tell_scored, scored) = mpsc::unbounded_channel();
    let lead = Lead {
        plan: stations.plan.clone(),
        ledger,
        feeder,
        settled: [told, settled],
        scored,
        unfinished: committer.unfinished.clone(),
        progress: progress.clone(),
        run,
        observer: observer.clone(),
        stop: stop.clone(),
    };
    let planning = leader.then(|| lead.start(watch, prepared.pending, &runtime));
    let leaving = runtime.spawn(leave(stop, stations.shutdown.clone()));
    let process = Process {
        stations,
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
    let regroup = joined.regroup.clone();
    let has_left = step_workers(process, joined, &runtime)?;
    leaving.abort();
    match has_left {
        true if regroup.is_asked() => Err(Error::Regroup),
        true => Ok(false),
        false => planning.map_or(Ok(true), |planning| wait_for(planning, &runtime)),
    }
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
fn step_workers(process: Process, joined: Joined, runtime: &Handle) -> Result<bool, Error> {
    let Joined {
        builders,
        guard,
        heartbeats,
        lost,
        regroup,
        reception,
        ..
    } = joined;
    let is_cluster = process.stations.cluster.processes() > 1;
    let reception = reception.map(|reception| {
        let (ask_others, regroup) = (heartbeats.regroup(), regroup.clone());
        let ask = move || {
            ask_others();
            regroup.ask();
        };
        Receiving::start(reception, ask, runtime)
    });
    let process = Arc::new(process);
    let each = process.clone();
    let config = timely::WorkerConfig::default();
    let started = timely::execute::execute_from(builders, guard, config, move |worker| {
        each.work(worker);
    });
    let ended = join(started.map_err(Error::worker)?);
    let panicked = process.end.panicked.get().cloned();
    let has_left = process.end.has_left.load(Ordering::Relaxed);
    let leave_cluster = || {
        heartbeats.end();
        if let Some(reception) = reception {
            reception.end(runtime);
        }
    };
    // The others leave too, and some of them earlier.
    if (has_left && panicked.is_none()) || (is_cluster && process.stations.shutdown.is_asked()) {
        leave_cluster();
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
    match ended {
        Err(_) if is_cluster => Err(Error::LostPeer {
            how: "a connection to another process was lost".to_owned(),
        }),
        Err(error) => Err(error),
        Ok(_) => {
            leave_cluster();
            Ok(false)
        }
    }
}

fn committer(
    stations: &Stations,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
    runtime: &Handle,
) -> Committer {
    Committer {
        output: stations.plan.output.clone(),
        ledger,
        model_id: stations.plan.model_id.clone(),
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        settings: stations.plan.settings.clone().into(),
        unfinished: Unfinished::default(),
        shutdown: stations.shutdown.clone(),
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
    plan: &Plan,
    ledger: Arc<tokio::sync::Mutex<Ledger>>,
    first: Vec<u64>,
    runtime: &Handle,
) -> Scorer {
    Scorer {
        output: plan.output.clone(),
        ledger,
        first,
        runtime: runtime.clone(),
    }
}
