//! Lets a process leave a run before the run is over: the process stores finished results and begins no new work.
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Tells the operators of a process that the process is about to leave, and whether they are done.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_asked: AtomicBool,
    /// Splits whose results are neither stored nor handed on, and commits that go on.
    busy: AtomicU64,
}

impl Shutdown {
    /// Asks the operators to store finished results and to begin no new work.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to leave.
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Relaxed)
    }

    /// Whether everything that was begun has ended.
    pub fn is_idle(&self) -> bool {
        self.0.busy.load(Ordering::Acquire) == 0
    }

    /// Counts work that begins.
    pub fn begin(&self) {
        self.0.busy.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts work that has ended.
    pub fn end(&self, works: u64) {
        self.0.busy.fetch_sub(works, Ordering::AcqRel);
    }
}
