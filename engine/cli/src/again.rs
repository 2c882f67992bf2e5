//! A process of a cluster that may change its size starts itself again, in its own place, to meet the others anew.
use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hubbleflow::{clock::clock, start::Start};

/// What a process tells itself when it starts again.
const OURS: [&str; 2] = ["--earlier", "--left"];

/// What the running cluster is, if it may change its size.
static NOW: Mutex<Option<Now>> = Mutex::new(None);

#[derive(Clone)]
struct Now {
    command: String,
    processes: usize,
    /// How long the command had been running when this process was started.
    after: Duration,
}

/// Keeps in mind which command this process would be started again for.
pub(crate) fn remember(command: &str, processes: usize, after: Duration) {
    *NOW.lock().unwrap_or_else(PoisonError::into_inner) = Some(Now {
        command: command.to_owned(),
        processes,
        after,
    });
}

/// Starts this program again in place of this process, if its cluster may change its size; `lost` of its processes are
/// gone. Returns only if it cannot be done.
pub(crate) fn start_again(lost: usize) {
    let now = NOW.lock().unwrap_or_else(PoisonError::into_inner).take();
    let (Some(now), Ok(program)) = (now, std::env::current_exe()) else {
        return;
    };
    let start = Start {
        command: now.command,
        after: now.after + clock(),
    };
    let left = now.processes.saturating_sub(lost).max(1);
    let mut words = std::env::args_os().skip(1);
    let mut kept: Vec<OsString> = Vec::new();
    while let Some(word) = words.next() {
        match OURS.iter().any(|ours| word == **ours) {
            true => drop(words.next()),
            false => kept.push(word),
        }
    }
    let failed = Command::new(program)
        .args(kept)
        .args(
            OURS.iter()
                .zip([start.to_string(), left.to_string()])
                .flat_map(|(name, value)| [(*name).to_owned(), value]),
        )
        .exec();
    crate::console::tell(format_args!("hubbleflow: cannot start again: {failed}"));
}
