//! Takes SIGTERM and SIGINT. The first signal asks the process to store finished results and to end within ten seconds.
//! The second signal ends the process at once.
use std::sync::atomic::{AtomicI32, Ordering};

use hubbleflow::{Stop, Stopper};

use crate::{Error, console::tell};

/// The signals that ask a process to end, and their names.
const ASK: [(libc::c_int, &str); 2] = [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT")];

/// Lines that people read after a signal.
#[derive(Clone, Copy)]
pub struct Notices {
    /// After the first signal.
    pub first: &'static str,
    /// After the second signal.
    pub second: &'static str,
}

/// The lines of a run and of a watch.
pub const OF_A_RUN: Notices = Notices {
    first: "ending within 10 s; finished results are stored first (in a cluster, tell all processes); a second signal ends at once",
    second: "ending; what is committed stays, and the next start goes on",
};

/// The lines of a sweep.
pub const OF_A_SWEEP: Notices = Notices {
    first: "ending within 10 s; the run that is measured is ended first, and its output is removed; a second signal ends at once",
    second: "ending; the output of the last run is left in the folder for temporary files",
};

/// The first signal that came, or 0.
static ASKED: AtomicI32 = AtomicI32::new(0);

/// The first signal that asked this process to end.
pub fn asked() -> Option<u8> {
    u8::try_from(ASKED.load(Ordering::Relaxed))
        .ok()
        .filter(|&signal| signal != 0)
}

/// Takes these signals from now on; to be called before the first thread is started, since threads inherit that they
/// leave them alone. Processes that are started do not.
///
/// # Errors
/// [`Error::Io`] where no thread can be started.
pub fn stop_on_signals(notices: Notices) -> Result<Stop, Error> {
    let signals = hold_back();
    let (stopper, stop) = Stopper::new();
    let wait_for_both = move || {
        let (signal, name) = wait(&signals);
        ASKED.store(signal, Ordering::Relaxed);
        tell(format_args!("{name}: {}", notices.first));
        stopper.stop();
        let (signal, name) = wait(&signals);
        tell(format_args!("{name} again: {}", notices.second));
        end_at_once(128 + signal);
    };
    let thread = std::thread::Builder::new().spawn(wait_for_both);
    thread.map_err(Error::no_threads)?;
    Ok(stop)
}

/// Keeps the signals from ending this thread and those that it starts.
fn hold_back() -> libc::sigset_t {
    // SAFETY: a zeroed set is a place to write to, and sigemptyset makes a set of it; the calls touch nothing else but
    // the mask of this thread.
    unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        for (signal, _) in ASK {
            libc::sigaddset(&mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
        signals
    }
}

/// The next of the signals.
fn wait(signals: &libc::sigset_t) -> (libc::c_int, &'static str) {
    loop {
        let mut signal = 0;
        // SAFETY: both point to values that live as long as the call.
        unsafe { libc::sigwait(signals, &mut signal) };
        if let Some(asked) = ASK.into_iter().find(|(asked, _)| *asked == signal) {
            return asked;
        }
    }
}

/// Ends the process with this exit code, whatever its other threads are doing. What is to last is in the store, and what
/// was printed is written.
///
/// Also the way out when all is done: libtorch's destructors would take a tenth of a second to free what the system frees.
pub fn end_at_once(code: libc::c_int) -> ! {
    // SAFETY: _exit returns to nobody. Unlike exit it runs no destructors of libraries, which threads still use.
    unsafe { libc::_exit(code) }
}

/// Sends SIGTERM to a process of ours.
pub fn ask_to_end(process: u32) {
    if let Ok(process) = libc::pid_t::try_from(process) {
        // SAFETY: kill only sends a signal. It fails where the process has ended, and then there is nothing to ask.
        unsafe { libc::kill(process, libc::SIGTERM) };
    }
}
