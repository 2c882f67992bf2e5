//! `--local N`: a cluster of N processes on this machine, watched by the one that started it.
use std::{
    ffi::OsString,
    io::Read,
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hubbleflow::{
    Stop,
    clock::clock,
    start::{Start, nonce},
};

use crate::{
    Error,
    again::start_again,
    console::tell,
    error::LOST,
    signals::{ask_to_end, end_at_once},
};

/// The exit code of a supervised process that crashed, or whose peer did: it can be started again.
const CRASHED: u8 = 101;
/// Whether this process is supervised.
static SUPERVISED: AtomicBool = AtomicBool::new(false);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the others may take to end once one has.
const GRACE: Duration = Duration::from_secs(2);

/// The processes of one start; those that still run are killed with it.
struct Processes(Vec<Child>);

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Fails only for a process that has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs `processes` times this program with `args`, as a cluster, and starts all of them again where one crashes; the
/// variables of `environment` are added to this process's own. When it is told to stop, it passes that on to all
/// processes. Answers the exit code of the first process, which leads.
///
/// # Errors
/// [`Error::Crashed`] if it crashes more than `restarts` times.
pub fn supervise(
    args: &[OsString],
    processes: usize,
    restarts: u32,
    environment: &[(&str, String)],
    stop: Option<&Stop>,
) -> Result<u8, Error> {
    let is_told = || stop.is_some_and(|stop| *stop.borrow());
    let command = nonce()?;
    for start in 0.. {
        let this = Start {
            command: command.clone(),
            after: clock(),
        };
        let code = watch(start_all(args, &this, processes, environment)?, is_told)?;
        match code {
            Some(code) => return Ok(code),
            None if is_told() => {
                return Err(Error::Crashed(
                    "a process crashed while the cluster was ending; what is committed stays, and the next start goes on"
                        .to_owned(),
                ));
            }
            None if start < restarts => tell(format_args!(
                "a process crashed; starting the cluster again ({} of {restarts})",
                start + 1
            )),
            None => break,
        }
    }
    Err(Error::Crashed(format!(
        "a process crashed, also after {restarts} restarts; what is committed stays, run again to go on"
    )))
}

fn start_all(
    args: &[OsString],
    start: &Start,
    processes: usize,
    environment: &[(&str, String)],
) -> Result<Processes, Error> {
    let io = |what: &'static str| move |source| Error::io(what, source);
    let program = std::env::current_exe().map_err(io("finding this program"))?;
    let ports = free_ports(processes).map_err(io("finding free ports"))?;
    let addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let addresses = addresses.collect::<Vec<_>>().join(",");
    let mut children = Processes(Vec::new());
    for process in 0..processes {
        let child = Command::new(&program)
            .args(args)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .args([
                "--processes",
                &processes.to_string(),
                "--process",
                &process.to_string(),
                "--supervised",
                &start.to_string(),
                "--addresses",
                &addresses,
            ])
            // What a terminal sends to its foreground comes to the supervisor alone, and is passed on once.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(if process == 0 {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn();
        children
            .0
            .push(child.map_err(io("starting a process of the cluster"))?);
    }
    Ok(children)
}

/// Ports that are free now; the processes bind them at once.
pub(crate) fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// Waits until all processes have ended; `None` if a process crashed. Asks all processes to end when told to.
fn watch(mut processes: Processes, is_told: impl Fn() -> bool) -> Result<Option<u8>, Error> {
    let mut asked = false;
    let mut ended: Vec<Option<ExitStatus>> = vec![None; processes.0.len()];
    // One that gives up takes the others with it: its own word counts, so they are given a moment to end.
    let mut deadline: Option<Duration> = None;
    while ended.iter().any(Option::is_none) && deadline.is_none_or(|deadline| clock() < deadline) {
        for (child, ended) in processes.0.iter_mut().zip(&mut ended) {
            if ended.is_none() {
                *ended = child
                    .try_wait()
                    .map_err(|source| Error::io("watching the cluster", source))?;
            }
        }
        if is_told() && !asked {
            asked = true;
            // Once a process has ended, its number may be another process's.
            let running = processes.0.iter().zip(&ended);
            running
                .filter(|(_, ended)| ended.is_none())
                .for_each(|(child, _)| ask_to_end(child.id()));
        }
        let gave_up = |status: &ExitStatus| !matches!(status.code(), Some(0 | 3));
        if ended.iter().flatten().any(gave_up) && !asked {
            deadline = deadline.or(Some(clock() + GRACE));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let codes = || ended.iter().flatten().map(|status| status.code());
    let refused = codes().flatten().find(|&code| code == 1 || code == 2);
    let crashed = ended.iter().any(Option::is_none)
        || codes().any(|code| code.is_none_or(|code| code == i32::from(CRASHED)));
    let first = codes().next().flatten();
    Ok(refused
        .or(if crashed { None } else { first })
        .and_then(|code| u8::try_from(code).ok()))
}

/// Ends this process, which cannot go on: 101 where it is supervised, and 1 elsewhere.
pub fn crash() -> ! {
    end_at_once(match SUPERVISED.load(Ordering::Relaxed) {
        true => CRASHED.into(),
        false => 1,
    })
}

/// Ends this process, which has lost another process of its cluster, so that it is started again: by its supervisor, by
/// itself if the cluster may change its size, or by whoever reads its exit code.
pub fn lose_cluster() -> ! {
    if SUPERVISED.load(Ordering::Relaxed) {
        crash();
    }
    start_again(1);
    end_at_once(LOST.into())
}

/// Ends this process when its standard input does: when whoever supervises it is gone.
///
/// # Errors
/// [`Error::Io`] where no thread can be started.
pub fn end_with_supervisor() -> Result<(), Error> {
    SUPERVISED.store(true, Ordering::Relaxed);
    let wait = || {
        let mut byte = [0];
        while std::io::stdin()
            .read(&mut byte)
            .is_ok_and(|bytes| bytes > 0)
        {}
        crash();
    };
    let thread = std::thread::Builder::new().spawn(wait);
    thread.map(|_| ()).map_err(Error::no_threads)
}
