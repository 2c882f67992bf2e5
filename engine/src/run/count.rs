//! What a run counts: drops and rows, over all starts of its command.
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use connectors::{
    Ledger,
    ledger::{EntryKind, FlagCounts, RowCounts},
};
use operators::{Outcome, Settled};
use serde::Serialize;

use crate::start::Start;

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Drops that this run committed.
    pub drops_committed: u64,
    /// Drops that could not be committed, also when they were tried again.
    pub drops_failed: u64,
    /// Rows of the committed drops.
    pub rows_read: u64,
    /// Of them, predicted or withdrawn.
    pub rows_written: u64,
    /// Of them, learned.
    pub rows_learned: u64,
    /// Of them, rejected.
    pub rows_rejected: u64,
    /// The rows written, by flag: the bits of `z_flags` that any row has.
    pub rows_flagged: FlagCounts,
    /// Of the rows read, those whose results came from a checkpoint of an earlier try.
    pub rows_adopted: u64,
    /// Seconds since the start of the job, or of the command if a supervisor started it.
    pub seconds: f64,
    /// Rows written by seconds.
    pub galaxies_per_second: f64,
    /// Seconds in which a thread of the model had a batch, summed over the threads of all processes, for the drops that this
    /// start committed. Two threads that predict for a second make two.
    pub infer_seconds: f64,
    /// Threads of this process that run the model.
    pub model_threads: usize,
    /// Where the model ran.
    pub device: String,
    /// Its arithmetic.
    pub precision: String,
    /// Why drops could not be committed, by drop.
    #[serde(skip)]
    pub failures: BTreeMap<String, Vec<String>>,
    /// Whether the run was told to end before all was done.
    #[serde(skip)]
    pub is_stopped: bool,
    /// Whether this process led. The other processes of a cluster do not count rows.
    #[serde(skip)]
    pub is_leader: bool,
}

impl Summary {
    /// The exit code: 3 if a drop failed.
    pub fn exit_code(&self) -> u8 {
        if self.drops_failed > 0 { 3 } else { 0 }
    }
}

/// What was counted so far, by all starts of the command.
#[derive(Default)]
pub(crate) struct Count {
    pub summary: Summary,
}

impl Count {
    /// What earlier starts of the same command have committed.
    pub fn before(ledger: &Ledger, start: Option<&Start>) -> Self {
        let mut count = Self::default();
        if let Some(Start { command, .. }) = start {
            let ours = ledger.entries().iter();
            let ours = ours.filter(|entry| {
                entry.kind == EntryKind::Drop && entry.attempt.starts_with(command)
            });
            ours.for_each(|entry| count.committed(&entry.rows, entry.flags.as_ref()));
        }
        count
    }

    /// Counts a drop that could not be committed, or not be published.
    pub fn failed(&mut self, drop: &str, reason: String) {
        self.summary.failures.insert(drop.to_owned(), vec![reason]);
        self.summary.drops_failed = self.summary.failures.len() as u64;
    }

    pub fn settled(&mut self, settled: &Settled) {
        if let Outcome::Known(_) = settled.outcome {
            return;
        }
        // A watch may try a drop again.
        let failures = &mut self.summary.failures;
        match &settled.outcome {
            Outcome::Failed(reasons) => failures.insert(settled.drop.clone(), reasons.clone()),
            _ => failures.remove(&settled.drop),
        };
        self.summary.drops_failed = failures.len() as u64;
        if let Outcome::Committed(_) = settled.outcome {
            self.committed(&settled.rows, Some(&settled.flags));
            self.summary.rows_adopted += settled.tally.adopted_rows;
            self.summary.infer_seconds += settled.tally.infer_seconds;
        }
    }

    fn committed(&mut self, rows: &RowCounts, flags: Option<&FlagCounts>) {
        self.summary.drops_committed += 1;
        self.summary.rows_read += rows.read;
        self.summary.rows_written += rows.written;
        self.summary.rows_learned += rows.learned;
        self.summary.rows_rejected += rows.rejected;
        self.summary.rows_flagged += flags.cloned().unwrap_or_default();
    }
}

/// Locks a count. A panic while the count was locked leaves a valid count.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
