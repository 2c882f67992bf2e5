//! What a commit changes: which entries stand now and did not, which no longer do, and where else to look.
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

use crate::{DropId, Flow, Outcome, Settled, offload::offload};

/// How soon a commit that waits for its turn is looked at again.
const TURN: std::time::Duration = std::time::Duration::from_millis(1);

/// An entry that stands: where its rows are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its number.
    pub entry: u32,
    /// Its drop.
    pub drop: String,
    /// Its files.
    pub files: Vec<CommittedFile>,
}

impl Standing {
    fn of(entry: &Entry) -> Self {
        Self {
            entry: number(entry.sequence),
            drop: entry.drop.clone(),
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

/// What has changed up to an entry since the one that was scored before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// Its place among the entries that commit a drop, from 1.
    pub place: u64,
    /// Entries that stand since.
    pub added: Vec<Standing>,
    /// Entries that stood, and were committed again.
    pub superseded: Vec<u32>,
    /// Entries whose predictions were left out where they had no spec-z: some may count now.
    pub rescan: Vec<Standing>,
    /// Whether nothing was scored before: of the added rows, those with a spec-z are enough to begin with.
    pub from_nothing: bool,
}

/// A number of the ledger, in four bytes.
fn number(sequence: u64) -> u32 {
    u32::try_from(sequence).expect("a ledger has less than four billion entries")
}

/// Whether a file that was scanned could not be read, so that rows are missing until it is. The first worker's alone is
/// looked at.
#[derive(Clone, Debug, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Says so after each change.
    pub fn set(&self, is_unread: bool) {
        self.0.store(is_unread, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Follows the ledger, entry by entry: a step costs what was committed since the step before.
#[derive(Debug, Default)]
pub struct Follower {
    /// Whether rows are missing.
    unread: Unread,
    /// The entry of each drop, as it was scored last.
    stands: BTreeMap<String, u64>,
    /// Entries that commit a drop so far.
    drops: u64,
    sequence: u64,
}

impl Follower {
    /// What has changed up to an entry; nothing where it was passed before. The entry that was scored last may be scored
    /// again: files are read that could not be read then.
    pub fn follow(&mut self, entries: &[Entry], sequence: u64) -> Option<Change> {
        let new = entries.get(self.sequence as usize..sequence as usize)?;
        let new = new.iter().filter(|entry| entry.kind == EntryKind::Drop);
        let mut change = Change {
            sequence,
            drop: entries.get(sequence as usize - 1)?.drop.clone(),
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

    /// Where rows may count now that were left out: the objects they are of had no spec-z.
    ///
    /// Of an object that has its first spec-z by its latest row, no earlier row counts: so a drop of the last name, which
    /// is the rule, makes nobody look. Spec-z that come alone may be of any row; and where an entry is superseded, an
    /// object that is in it no longer goes back to its row before. A file that could not be read may now be, whatever its
    /// drop.
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

/// Lets one commit through at a time: the next when `done` has passed all before it. Those of `first`, which were committed
/// before the run, go on at the times from 0; so the commits of time t do as much later.
pub fn in_turn<'s>(
    settled: Flow<'s, Settled>,
    first: &[u64],
    done: ProbeHandle<DropId>,
) -> Flow<'s, u64> {
    let scope = settled.scope();
    // Everything before the broadcast happens at the first worker.
    let first = match scope.worker().index() {
        0 => first.to_vec(),
        _ => Vec::new(),
    };
    let shift = first.len().max(1) as u64;
    let mut builder = OperatorBuilder::new("InTurn".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let (output, sequences) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<u64>>>::from(output);
    // The others, which do not know how many there are, expect them earlier, and so miss none.
    let later = [(0, Antichain::from_elem(shift))];
    let mut input = builder.new_input_connection(settled, Pipeline, later);
    builder.build(move |mut capabilities| {
        let start = capabilities.pop().expect("an operator with one output");
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

/// Says what each commit changes.
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
