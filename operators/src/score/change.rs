//! What a commit changes: which entries become current, which are superseded, and which files to read again.
use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use connectors::{
    Ledger,
    committed::{CommittedFile, files_of},
    ledger::{Entry, EntryKind},
    part::Folder,
};
use serde::{Deserialize, Serialize};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        ProbeHandle,
        channels::pact::Pipeline,
        operators::{
            Capability,
            generic::{OutputBuilder, builder_rc::OperatorBuilder},
        },
    },
    progress::frontier::Antichain,
};
use tokio::{runtime::Handle, sync::Mutex};

use super::quantiles::StoredQuantiles;
use crate::{DropId, Flow, Outcome, Settled, offload::offload};

/// The pause before a waiting commit is checked again.
const TURN: std::time::Duration = std::time::Duration::from_millis(1);

/// A current entry, which is the newest of its drop, and the files with its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The number of the entry.
    pub entry: u32,
    /// The drop of the entry.
    pub drop: String,
    /// The band whose magnitude the predictions have, if they have one.
    pub reference_band: Option<String>,
    /// The quantiles of the predictions.
    pub quantiles: StoredQuantiles,
    /// The files of the entry.
    pub files: Vec<CommittedFile>,
}

impl Standing {
    fn of(entry: &Entry) -> Self {
        Self {
            entry: number(entry.sequence),
            drop: entry.drop.clone(),
            reference_band: entry.reference_band().map(str::to_owned),
            quantiles: StoredQuantiles::of(entry),
            files: files_of(entry),
        }
    }

    fn predicts(&self) -> bool {
        self.files.iter().any(|file| file.folder == Folder::Photoz)
    }

    fn teaches(&self) -> bool {
        self.files.iter().any(|file| file.folder == Folder::SpecZ)
    }
}

/// The change from the entry that was scored last to a newer entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The number of the newer entry.
    pub sequence: u64,
    /// The drop of the entry.
    pub drop: String,
    /// The band of the magnitudes of the metrics, if there are magnitudes.
    pub reference_band: Option<String>,
    /// The place of the entry among the entries that commit a drop, from 1.
    pub place: u64,
    /// Entries that became current.
    pub added: Vec<Standing>,
    /// Entries that are not current any more, because their drops were committed again.
    pub superseded: Vec<u32>,
    /// Entries to read again: they have predictions without a spec-z that were not kept, and some of them may count now.
    pub rescan: Vec<Standing>,
    /// Whether nothing was scored before. Then it is enough to read the added rows that have a spec-z first.
    pub from_nothing: bool,
}

/// Shortens the number of an entry to four bytes.
fn number(sequence: u64) -> u32 {
    u32::try_from(sequence).expect("invariant: a ledger has less than four billion entries")
}

/// Whether a file could not be read, so that rows are missing. Only the value of the first worker is used.
#[derive(Clone, Debug, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Sets the value. Called after each change.
    pub fn set(&self, is_unread: bool) {
        self.0.store(is_unread, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Follows the ledger from entry to entry. A step costs only what was committed since the step before.
#[derive(Debug, Default)]
pub struct Follower {
    /// Whether rows are missing because a file could not be read.
    unread: Unread,
    /// The current entry of each drop, as of the last step.
    stands: BTreeMap<String, u64>,
    /// The number of entries so far that commit a drop.
    drops: u64,
    sequence: u64,
}

impl Follower {
    /// Steps to an entry and returns the change, or `None` if a later entry was scored already. A step to the entry that was
    /// scored last is allowed: it reads files that could not be read then.
    pub fn follow(&mut self, entries: &[Entry], sequence: u64) -> Option<Change> {
        let new = entries.get(self.sequence as usize..sequence as usize)?;
        let new = new.iter().filter(|entry| entry.kind == EntryKind::Drop);
        let newest = entries.get(sequence as usize - 1)?;
        let mut change = Change {
            sequence,
            drop: newest.drop.clone(),
            reference_band: newest.reference_band().map(str::to_owned),
            place: self.drops + new.clone().count() as u64,
            from_nothing: self.stands.is_empty(),
            ..Change::default()
        };
        let newest: BTreeMap<&str, &Entry> =
            new.map(|entry| (entry.drop.as_str(), entry)).collect();
        for (drop, entry) in newest {
            change.added.push(Standing::of(entry));
            let before = self.stands.insert(drop.to_owned(), entry.sequence);
            change.superseded.extend(before.map(number));
        }
        change.rescan = self.rescan(&change, entries);
        (self.drops, self.sequence) = (change.place, sequence);
        Some(change)
    }

    /// The entries to read again, because they may hold rows that were not kept while their objects had no spec-z.
    ///
    /// If the latest row of an object brings its first spec-z, earlier rows of the object do not count. So a new drop whose
    /// name comes last, which is the usual case, needs no second look. A spec-z from `specz/` may belong to any row. If an
    /// entry is superseded, an object that is missing in the new entry goes back to an earlier row. A file that could not
    /// be read may be in any drop.
    fn rescan(&self, change: &Change, entries: &[Entry]) -> Vec<Standing> {
        let anywhere = self.unread.is_set()
            || !change.superseded.is_empty()
            || change.added.iter().any(Standing::teaches);
        let first = change.added.iter().find(|added| added.predicts());
        let after = match first {
            _ if anywhere => Unbounded,
            Some(first) => Excluded(first.drop.as_str()),
            None => return Vec::new(),
        };
        let stands = self.stands.range::<str, _>((after, Unbounded));
        stands
            .map(|(_drop, &sequence)| Standing::of(&entries[sequence as usize - 1]))
            .filter(Standing::predicts)
            .collect()
    }
}

/// Lets one commit through at a time: the next one when `done` has passed all commits before it. The entries of `first`,
/// which were committed before the run, get the times from 0 on, and all other commits move to later times.
pub fn in_turn<'s>(
    settled: Flow<'s, Settled>,
    first: &[u64],
    done: ProbeHandle<DropId>,
) -> Flow<'s, u64> {
    let scope = settled.scope();
    // Until the broadcast, everything happens at the first worker.
    let first = match scope.worker().index() {
        0 => first.to_vec(),
        _ => Vec::new(),
    };
    let shift = first.len().max(1) as u64;
    let mut builder = OperatorBuilder::new("InTurn".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let (output, sequences) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<u64>>>::from(output);
    // The other workers do not know the length of `first`. They expect commits at earlier times, so they miss no commit.
    let later = [(0, Antichain::from_elem(shift))];
    let mut input = builder.new_input_connection(settled, Pipeline, later);
    builder.build(move |mut capabilities| {
        let start = capabilities
            .pop()
            .expect("invariant: an operator with one output has one capability");
        let at = |(time, first): (u64, u64)| (start.delayed(&time), first);
        let mut waiting: VecDeque<_> = (0..).zip(first).map(at).collect();
        drop(start);
        move |_frontiers| {
            input.for_each_time(|time, data| {
                for settled in data.flat_map(|items| items.drain(..)) {
                    if let Outcome::Committed(sequence)
                    | Outcome::Overtaken(sequence)
                    | Outcome::Known(sequence) = settled.outcome
                    {
                        let after = time.time() + shift;
                        waiting.push_back((time.delayed(&after, 0), sequence));
                    }
                }
            });
            let mut output = output.activate();
            let is_turn = |(next, _): &(Capability<DropId>, u64)| !done.less_than(next.time());
            while waiting.front().is_some_and(is_turn)
                && let Some((capability, sequence)) = waiting.pop_front()
            {
                output.session(&capability).give(sequence);
            }
            if !waiting.is_empty() {
                activator.activate_after(TURN);
            }
        }
    });
    sequences
}

/// Emits what each commit changes.
pub fn changes<'s>(
    sequences: Flow<'s, u64>,
    ledger: Arc<Mutex<Ledger>>,
    unread: &Unread,
    runtime: Handle,
) -> Flow<'s, Change> {
    let follower = Arc::new(Mutex::new(Follower {
        unread: unread.clone(),
        ..Follower::default()
    }));
    offload(sequences, Pipeline, "Changes", 1, move |sequence, reply| {
        let (ledger, follower) = (ledger.clone(), follower.clone());
        runtime.spawn(async move {
            let (ledger, mut follower) = (ledger.lock().await, follower.lock().await);
            if let Some(change) = follower.follow(ledger.entries(), sequence) {
                reply.send(change);
            }
            reply.finish();
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(drop: &str, sequence: u64) -> Entry {
        Entry {
            kind: EntryKind::Drop,
            drop: drop.to_owned(),
            sequence,
            ..Entry::abandoned(&format!("attempt-{sequence}"), "0")
        }
    }

    /// A watch scores the newest entry again when its metrics could not be made: without an answer it would try for ever.
    #[test]
    fn the_entry_that_was_scored_last_is_answered_again() {
        let entries = [committed("a", 1), committed("b", 2), committed("a", 3)];
        let mut follower = Follower::default();
        let first = follower.follow(&entries[..2], 2).expect("a first answer");
        assert_eq!((first.place, first.added.len()), (2, 2));
        let again = follower.follow(&entries[..2], 2).expect("a second answer");
        assert_eq!((again.sequence, again.place), (2, 2));
        assert!(again.added.is_empty() && again.superseded.is_empty());
        let next = follower.follow(&entries, 3).expect("the next entry");
        assert_eq!((next.place, next.superseded), (3, vec![1]));
        let again = follower.follow(&entries, 3).expect("an answer again");
        assert_eq!((again.place, again.added.len()), (3, 0));
        assert_eq!(follower.follow(&entries, 2), None);
    }
}
