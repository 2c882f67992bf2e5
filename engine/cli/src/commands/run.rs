//! `hubbleflow run` and `hubbleflow watch`: in this process, or in a cluster of processes on this machine.
use std::{ffi::OsString, time::Duration};

use hubbleflow::{ClusterError, Places, Stop, StoreOptions, Summary, Watch};
use tokio::runtime::Runtime;

use crate::{
    Error, again,
    args::RunArgs,
    console::{json, print, tell},
    job::job,
    progress::flagged,
    signals, supervise,
};

/// How long a process that has lost a worker waits for the reason.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Runs a job to its end, or until it is told to stop; 3 if a drop failed.
pub(crate) fn run(
    args: &RunArgs,
    watch: Option<Watch>,
    stop: &Stop,
    options: &StoreOptions,
    runtime: &Runtime,
) -> Result<u8, Error> {
    check(args, watch.is_some())?;
    if args.cluster.supervised.is_some() {
        supervise::end_with_supervisor()?;
    }
    // Before anything begins, in a cluster too.
    Places::open(&args.catalog.catalog, &args.catalog.out, options)?;
    if let (Some(processes), None) = (args.cluster.local, args.cluster.process) {
        let ours: Vec<OsString> = std::env::args_os().skip(1).collect();
        return supervise::supervise(
            &ours,
            processes.max(1),
            args.cluster.restarts,
            &[],
            Some(stop),
        );
    }
    end_on_panic();
    let job = job(args, None, stop, options, runtime)?;
    let watches = watch.is_some();
    let ran = match watch {
        None => job.run(),
        Some(watch) => job.watch(watch),
    };
    let summary = match (ran, signals::asked()) {
        (Ok(summary), _) => summary,
        (Err(hubbleflow::Error::Cluster(ClusterError::ToldToEnd)), Some(signal)) => {
            return Ok(128 + signal);
        }
        (Err(error), None) if args.cluster.supervised.is_none() => {
            match &error {
                hubbleflow::Error::Regroup => again::start_again(0),
                hubbleflow::Error::LostPeer { .. } => again::start_again(1),
                _ => (),
            }
            return Err(error.into());
        }
        (Err(error), _) => return Err(error.into()),
    };
    let leader = summary.is_leader;
    if leader {
        tell(describe(&summary));
        if args.catalog.json {
            print(json(&summary))?;
        }
    }
    if summary.is_stopped && leader {
        tell("ended early: finished results are stored, and the next run goes on from them");
    }
    // A watch ends when it is told to. A run that is told to end has not done what it should.
    Ok(
        match signals::asked().filter(|_| summary.is_stopped && !watches) {
            Some(signal) => 128 + signal,
            None => summary.exit_code(),
        },
    )
}

/// Refuses arguments that contradict each other.
fn check(args: &RunArgs, watches: bool) -> Result<(), Error> {
    if watches && args.catalog.again {
        return Err(Error::usage(
            "--again is for run: a watch never takes a drop again; give run --drop NAME --again beside it",
        ));
    }
    let cluster = &args.cluster;
    if cluster.local.is_some() && cluster.processes.is_some() && cluster.supervised.is_none() {
        return Err(Error::usage(
            "--local starts the processes of a cluster, and with --processes this is one of them: give one of the two",
        ));
    }
    Ok(())
}

fn describe(summary: &Summary) -> String {
    let flagged = flagged(&summary.rows_flagged);
    format!(
        "{} drops committed, {} failed: {} galaxies in {:.1} s ({:.0} a second, {} {}){flagged}",
        summary.drops_committed,
        summary.drops_failed,
        summary.rows_written,
        summary.seconds,
        summary.galaxies_per_second,
        summary.device,
        summary.precision
    )
}

/// A worker that panics leaves the others waiting for ever: the process ends, and with it the cluster. A panic on any
/// other thread is noticed by the worker that waits for it.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default();
        let is_connection = ["timely:recv", "timely:send"]
            .iter()
            .any(|of| name.starts_with(of));
        if !is_connection {
            report(panic);
        }
        // A process that is about to leave ends by itself, also if others have left before.
        if name.starts_with("timely:") && signals::asked().is_none() {
            // Where another process is lost, its heartbeat says which.
            std::thread::sleep(LAST_WORD);
            if is_connection {
                tell(
                    "hubbleflow: a connection to another process was lost; what is committed stays",
                );
                supervise::lose_cluster();
            }
            supervise::crash();
        }
    }));
}
