//! The spectroscopic sample: the rows of objects that have a spec-z, which are all that scores need.
//!
//! ```text
//! rows ── admit ── wanted ──► scan again ── hold ── rows that stand, as a collection
//! ```
//! A row whose object has no spec-z can match none, and is let go. Where its object gets a spec-z later, the committed
//! files are asked for it. What stays is kept by entry, since the files of an entry that is superseded are gone by
//! then, and its rows have to leave.
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use differential_dataflow::{AsCollection, Hashable, VecCollection};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, generic::Operator},
};

use super::{
    change::Change,
    row::{Key, Names, Row, Says},
};
use crate::{DropId, Flow};

/// The rows that a worker keeps: those of the objects that are its own.
#[derive(Debug, Default)]
pub struct Sample {
    /// Objects with a spec-z in any row that was seen.
    objects: HashSet<Key>,
    /// Their rows by entry, by object.
    held: BTreeMap<u32, Vec<(Key, Row)>>,
    /// Rows of the change that is under way.
    fresh: Vec<(Key, Row)>,
}

impl Sample {
    /// Takes a row in, or lets it go; whether its object has a spec-z for the first time.
    fn admit(&mut self, key: Key, row: Row) -> bool {
        let first = row.z_spec.get().is_some() && self.objects.insert(key);
        if first || self.objects.contains(&key) {
            self.fresh.push((key, row));
        }
        first
    }

    /// Objects whose row in a superseded entry nothing took the place of: an earlier row of theirs may stand again.
    fn vanished(&self, superseded: &[u32], drops: &BTreeMap<u32, String>) -> Vec<Key> {
        let mut vanished = Vec::new();
        for entry in superseded {
            let Some(held) = self.held.get(entry) else {
                continue;
            };
            // Spec-z alone take no row's place, nor does a row of an earlier drop.
            let later = |row: &Row| row.says != Says::SpecZ && drops[&row.entry] >= drops[entry];
            let fresh = self.fresh.iter().filter(|(_, row)| later(row));
            let replaced: HashSet<Key> = fresh.map(|(key, _)| *key).collect();
            let keys = held.iter().map(|(key, _)| *key);
            vanished.extend(keys.filter(|key| !replaced.contains(key)));
        }
        vanished
    }

    /// Ends a change: what leaves, and what comes. Of rows that were found again one is kept.
    fn settle(&mut self, superseded: &[u32]) -> [Vec<(Key, Row)>; 2] {
        let gone = superseded
            .iter()
            .filter_map(|entry| self.held.remove(entry));
        let gone = gone.flatten().collect();
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable_by_key(|(key, row)| (row.entry, *key));
        fresh.dedup_by_key(|(key, row)| (row.entry, *key));
        let is_held = |(key, row): &(Key, Row)| {
            let held = self.held.get(&row.entry);
            held.is_some_and(|held| held.binary_search_by_key(key, |(key, _)| *key).is_ok())
        };
        fresh.retain(|row| !is_held(row));
        for rows in fresh.chunk_by(|(_, one), (_, next)| one.entry == next.entry) {
            let held = self.held.entry(rows[0].1.entry).or_default();
            held.reserve_exact(rows.len());
            held.extend_from_slice(rows);
            held.sort_unstable_by_key(|(key, _)| *key);
        }
        [gone, fresh]
    }
}

/// A worker's sample, shared by the two operators that fill it.
pub type SharedSample = Rc<RefCell<Sample>>;

/// The worker that an object belongs to: the one that differential takes.
fn by_object() -> Exchange<(Key, Row), impl FnMut(&(Key, Row)) -> u64> {
    Exchange::new(|(key, _): &(Key, Row)| key.hashed())
}

/// Keeps the rows of objects with a spec-z, and says at the end of a change of which objects others are wanted.
pub fn admit<'s>(
    rows: Flow<'s, (Key, Row)>,
    changes: Flow<'s, Change>,
    sample: SharedSample,
    names: Names,
) -> Flow<'s, Vec<Key>> {
    let mut open: BTreeMap<DropId, (Capability<DropId>, Vec<u32>, bool)> = BTreeMap::new();
    let mut wanted = Vec::new();
    rows.binary_frontier(changes, by_object(), Pipeline, "Admit", move |_, _| {
        move |(rows, rows_frontier), (changes, changes_frontier), output| {
            changes.for_each_time(|time, data| {
                for change in data.flat_map(|items| items.drain(..)) {
                    let anywhere = !change.rescan.is_empty();
                    let added = change.added.into_iter().chain(change.rescan);
                    let of_entry = added.map(|standing| (standing.entry, standing.drop));
                    names.borrow_mut().extend(of_entry);
                    open.insert(*time.time(), (time.retain(0), change.superseded, anywhere));
                }
            });
            // Changes come one at a time, so these rows are of the one that is open.
            let mut sample = sample.borrow_mut();
            rows.for_each_time(|_time, data| {
                for (key, row) in data.flat_map(|items| items.drain(..)) {
                    if sample.admit(key, row) {
                        wanted.push(key);
                    }
                }
            });
            while let Some(first) = open.first_entry()
                && !rows_frontier.less_equal(first.key())
                && !changes_frontier.less_equal(first.key())
            {
                let (capability, superseded, anywhere) = first.remove();
                wanted.extend(sample.vanished(&superseded, &names.borrow()));
                let wanted = std::mem::take(&mut wanted);
                if anywhere && !wanted.is_empty() {
                    output.session(&capability).give(wanted);
                }
            }
        }
    })
}

/// Takes in what was found of the objects that were wanted, and ends the change: rows that come, and rows that leave.
pub fn hold<'s>(
    found: Flow<'s, (Key, Row)>,
    changes: Flow<'s, Change>,
    sample: SharedSample,
) -> VecCollection<'s, DropId, (Key, Row)> {
    let mut open: BTreeMap<DropId, (Capability<DropId>, Vec<u32>)> = BTreeMap::new();
    let updates = found.binary_frontier(changes, by_object(), Pipeline, "Hold", move |_, _| {
        move |(found, found_frontier), (changes, changes_frontier), output| {
            changes.for_each_time(|time, data| {
                for change in data.flat_map(|items| items.drain(..)) {
                    open.insert(*time.time(), (time.retain(0), change.superseded));
                }
            });
            let mut sample = sample.borrow_mut();
            found.for_each_time(|_time, data| {
                let rows = data.flat_map(|items| items.drain(..));
                sample.fresh.extend(rows);
            });
            while let Some(first) = open.first_entry()
                && !found_frontier.less_equal(first.key())
                && !changes_frontier.less_equal(first.key())
            {
                let time = *first.key();
                let (capability, superseded) = first.remove();
                let [gone, come] = sample.settle(&superseded);
                let gone = gone.into_iter().map(|row| (row, time, -1));
                let come = come.into_iter().map(|row| (row, time, 1));
                output.session(&capability).give_iterator(gone.chain(come));
            }
        }
    });
    updates.container::<Vec<_>>().as_collection()
}
