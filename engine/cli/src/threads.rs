//! Whether the system starts as many threads as a command needs.
use std::sync::{Arc, Barrier};

use hubbleflow::settings::cores;

use crate::{Error, command::Command};

/// Threads that a process has beside those of its runtime, model and workers: for files, signals, heartbeats.
const THREADS_BESIDE: usize = 8;

/// How many threads a command is going to start, about.
pub(crate) fn threads_of(command: &Command) -> usize {
    let asked = match command {
        Command::Run(args) => args.threads.unwrap_or(0) + args.workers as usize,
        Command::Watch(args) => args.run.threads.unwrap_or(0) + args.run.workers as usize,
        _ => 0,
    };
    cores() + THREADS_BESIDE + asked
}

/// Makes sure that this many threads can be started: the libraries that start them panic where they cannot.
pub(crate) fn check_threads(count: usize) -> Result<(), Error> {
    let gate = Arc::new(Barrier::new(count + 1));
    for started in 0..count {
        let waiting = gate.clone();
        let thread = std::thread::Builder::new()
            .stack_size(1 << 16)
            .spawn(move || waiting.wait());
        if let Err(source) = thread {
            let reason = format!("{started} of {count} threads were started");
            return Err(Error::no_threads(std::io::Error::new(
                source.kind(),
                format!("{reason}: {source}"),
            )));
        }
    }
    gate.wait();
    Ok(())
}
