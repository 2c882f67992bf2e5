//! One run in a process of its own, and what it takes.
use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use hubbleflow::{Stop, clock::clock};

use super::processes::resident_bytes_of_all;
use crate::{Error, bench::usage::children_cpu, signals::ask_to_end};

/// How often a run is looked at: whether it has ended, and what it holds.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a run that is told to end may take. It ends its own processes meanwhile.
const END_MAX: Duration = Duration::from_secs(10);
/// Of what a run prints, the end is kept.
const PRINTED_BYTES_MAX: u64 = 1 << 16;

/// How a run ended, and what it took, with all processes that it started.
pub(super) struct Ended {
    /// How its first process ended.
    pub status: ExitStatus,
    /// By the clock, from the start of the process to its end.
    pub wall: Duration,
    /// Of all cores.
    pub cpu: Duration,
    /// The most that all processes held at one moment. `None` if the system does not say.
    pub peak_rss_bytes: Option<u64>,
    /// The end of what it printed as its result.
    pub result: String,
    /// The end of what it told on the way.
    pub told: String,
}

/// A process that does not outlive its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs this program with these words, and takes down what it takes. Ends the run early if told to stop. What the run prints
/// goes to files in `folder`.
pub(super) fn measure(
    words: &[OsString],
    folder: &Path,
    stop: Option<&Stop>,
) -> Result<Ended, Error> {
    let file = |name: &str| {
        let open = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(folder.join(name));
        open.map_err(|source| Error::io("a file for what a run prints", source))
    };
    let (mut result, mut told) = (file("result")?, file("told")?);
    let io = |source| Error::io("starting a run", source);
    let program = std::env::current_exe().map_err(io)?;
    let (cpu, began) = (children_cpu(), clock());
    let child = Command::new(program)
        .args(words)
        // A list of the sweep, and for a run its place in a cluster.
        .env_remove("HUBBLEFLOW_PROCESSES")
        // What a terminal sends to its foreground comes to the sweep alone, and is passed on once.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(result.try_clone().map_err(io)?)
        .stderr(told.try_clone().map_err(io)?)
        .spawn();
    let mut running = Running(child.map_err(io)?);
    let (status, peak_rss_bytes) = watch(&mut running.0, stop)?;
    Ok(Ended {
        status,
        wall: clock() - began,
        cpu: children_cpu() - cpu,
        peak_rss_bytes,
        result: end_of(&mut result)?,
        told: end_of(&mut told)?,
    })
}

/// Waits until a run has ended. Returns how, and the most that it held.
fn watch(child: &mut Child, stop: Option<&Stop>) -> Result<(ExitStatus, Option<u64>), Error> {
    let is_told = || stop.is_some_and(|stop| *stop.borrow());
    let mut peak: Option<u64> = None;
    let mut deadline: Option<Duration> = None;
    loop {
        let ended = child.try_wait();
        if let Some(status) = ended.map_err(|source| Error::io("watching a run", source))? {
            return Ok((status, peak));
        }
        peak = peak.max(resident_bytes_of_all(child.id()));
        match deadline {
            None if is_told() => {
                ask_to_end(child.id());
                deadline = Some(clock() + END_MAX);
            }
            // Fails only for a process that has ended. Processes of a cluster end with their supervisor.
            Some(deadline) if clock() > deadline => {
                let _ = child.kill();
            }
            _ => (),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The end of a file, as text.
fn end_of(file: &mut File) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let read = read_end(file, &mut bytes);
    read.map_err(|source| Error::io("reading what a run printed", source))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_end(file: &mut File, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(PRINTED_BYTES_MAX)))?;
    file.take(PRINTED_BYTES_MAX).read_to_end(bytes)?;
    Ok(())
}
