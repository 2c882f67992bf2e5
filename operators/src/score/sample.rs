//! The spectroscopic sample: the rows of objects that have a spec-z. Scores need no other rows.
//!
//! ```text
//! rows ── admit ── objects to look for ──► scan again ── hold ── current rows, as a collection
//! ```
//! A row whose object has no spec-z cannot be scored, so it is not kept. If its object gets a spec-z later, the row is read
//! again from the committed files. The rows that are kept are sorted by entry. When an entry is superseded, its rows must
//! be removed, and its files may be gone by then.
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use differential_dataflow::{AsCollection, VecCollection};
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Capability, generic::Operator},
};

use super::{
    change::Change,
    held::{FreshRows, HeldRows, KeyedRow},
    quantiles::StoredQuantiles,
    row::{CommittedRow, DropNames, ObjectKey, RowKind},
    scan::ScannedRows,
};
use crate::{DropId, Flow, metrics::Distribution};

/// The rows that a worker keeps: the rows of its share of the objects.
#[derive(Debug, Default)]
pub struct Sample {
    /// The objects that had a spec-z in any row so far.
    objects: HashSet<ObjectKey>,
    /// The rows of these objects by entry, sorted by object.
    held: BTreeMap<u32, HeldRows>,
    /// Rows with quantiles that the last change has removed. What they added is still to be taken away.
    removed: BTreeMap<u32, HeldRows>,
    /// The quantiles of entries that have some.
    quantiles: BTreeMap<u32, StoredQuantiles>,
    /// The rows of the current change.
    fresh: FreshRows,
}

impl Sample {
    /// Keeps a row if its object has a spec-z. Returns whether this row gives the object its first spec-z.
    fn admit(&mut self, (key, row): KeyedRow, quantiles: &[f32]) -> bool {
        let first = row.z_spec.get().is_some() && self.objects.insert(key);
        if first || self.objects.contains(&key) {
            self.fresh.push((key, row), quantiles);
        }
        first
    }

    /// The objects of superseded entries that no new row replaces. An earlier row of such an object may become current again.
    fn vanished(&self, superseded: &[u32], drops: &BTreeMap<u32, String>) -> Vec<ObjectKey> {
        let mut vanished = Vec::new();
        for entry in superseded {
            let Some(held) = self.held.get(entry) else {
                continue;
            };
            // Neither a spec-z nor a row of an earlier drop replaces a row.
            let later = |row: &CommittedRow| {
                row.kind != RowKind::SpecZ && drops[&row.entry] >= drops[entry]
            };
            let fresh = self.fresh.rows().filter(|(_, row)| later(row));
            let replaced: HashSet<ObjectKey> = fresh.map(|(key, _)| *key).collect();
            let keys = held.rows().iter().map(|(key, _)| *key);
            vanished.extend(keys.filter(|key| !replaced.contains(key)));
        }
        vanished
    }

    /// Ends a change. Returns the rows to remove and the rows to add. A row that was read twice is added once.
    fn settle(&mut self, superseded: &[u32]) -> [Vec<KeyedRow>; 2] {
        let mut gone = Vec::new();
        self.removed.clear();
        for entry in superseded {
            if let Some(held) = self.held.remove(entry) {
                gone.extend_from_slice(held.rows());
                if held.has_quantiles() {
                    self.removed.insert(*entry, held);
                }
            }
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        let is_held = |(key, row): &KeyedRow| {
            let held = self.held.get(&row.entry);
            held.is_some_and(|held| held.holds(*key))
        };
        fresh.sort(|row| !is_held(row));
        for (entry, rows) in fresh.by_entry() {
            let stored = || self.quantiles.get(&entry).cloned().unwrap_or_default();
            let held = self.held.entry(entry);
            held.or_insert_with(|| HeldRows::new(stored())).add(rows);
        }
        [gone, fresh.rows().copied().collect()]
    }

    /// Takes note of the quantiles of an entry.
    fn note(&mut self, entry: u32, quantiles: &StoredQuantiles) {
        if quantiles.width() > 0 {
            self.quantiles.insert(entry, quantiles.clone());
        }
    }

    /// The distribution of the redshift in a row that is held, or that the last change has removed.
    pub fn distribution(&self, key: ObjectKey, row: &CommittedRow) -> Option<Distribution<'_>> {
        let held = self.held.get(&row.entry);
        held.or_else(|| self.removed.get(&row.entry))?
            .distribution(key)
    }
}

/// The sample of a worker, shared by the two operators that fill it.
pub type SharedSample = Rc<RefCell<Sample>>;

/// Keeps the rows of objects with a spec-z. At the end of each change, emits the objects whose other rows must be read
/// again.
pub fn admit<'s>(
    rows: Flow<'s, ScannedRows>,
    changes: Flow<'s, Change>,
    sample: SharedSample,
    names: DropNames,
) -> Flow<'s, Vec<ObjectKey>> {
    let mut open: BTreeMap<DropId, (Capability<DropId>, Vec<u32>, bool)> = BTreeMap::new();
    let mut wanted = Vec::new();
    rows.binary_frontier(
        changes,
        ScannedRows::by_object(),
        Pipeline,
        "Admit",
        move |_, _| {
            move |(rows, rows_frontier), (changes, changes_frontier), output| {
                changes.for_each_time(|time, data| {
                    for change in data.flat_map(|items| items.drain(..)) {
                        let anywhere = !change.rescan.is_empty();
                        let added = change.added.into_iter().chain(change.rescan);
                        let added =
                            added.inspect(|of| sample.borrow_mut().note(of.entry, &of.quantiles));
                        let of_entry = added.map(|standing| (standing.entry, standing.drop));
                        names.borrow_mut().extend(of_entry);
                        open.insert(*time.time(), (time.retain(0), change.superseded, anywhere));
                    }
                });
                // Changes come one at a time, so these rows belong to the open change.
                let mut sample = sample.borrow_mut();
                rows.for_each_time(|_time, data| {
                    for scanned in data.flat_map(|items| items.drain(..)) {
                        for (row, quantiles) in scanned.iter() {
                            if sample.admit(row, quantiles) {
                                wanted.push(row.0);
                            }
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
        },
    )
}

/// Takes the rows that were read again and ends the change: emits the rows that are added and the rows that are removed.
pub fn hold<'s>(
    found: Flow<'s, ScannedRows>,
    changes: Flow<'s, Change>,
    sample: SharedSample,
) -> VecCollection<'s, DropId, (ObjectKey, CommittedRow)> {
    let mut open: BTreeMap<DropId, (Capability<DropId>, Vec<u32>)> = BTreeMap::new();
    let updates = found.binary_frontier(
        changes,
        ScannedRows::by_object(),
        Pipeline,
        "Hold",
        move |_, _| {
            move |(found, found_frontier), (changes, changes_frontier), output| {
                changes.for_each_time(|time, data| {
                    for change in data.flat_map(|items| items.drain(..)) {
                        open.insert(*time.time(), (time.retain(0), change.superseded));
                    }
                });
                let mut sample = sample.borrow_mut();
                found.for_each_time(|_time, data| {
                    for scanned in data.flat_map(|items| items.drain(..)) {
                        for (row, quantiles) in scanned.iter() {
                            sample.fresh.push(row, quantiles);
                        }
                    }
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
        },
    );
    updates.container::<Vec<_>>().as_collection()
}
