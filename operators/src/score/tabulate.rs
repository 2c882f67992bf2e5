//! Adds up the changes. Each worker adds up its objects by slice, and the first worker adds up all workers. Then the
//! metrics of the slices that changed are computed.
use std::collections::{BTreeMap, BTreeSet};

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Capability, Concat, generic::Operator, vec::Map},
};
use twox_hash::XxHash3_64;

use super::{
    change::{Change, Unread},
    row::{CommittedRow, ObjectKey},
    sample::SharedSample,
    scan::UnreadEntry,
};
use crate::{
    DropId, Flow,
    collectives::{Gather, Rank, Round},
    metrics::{
        COMPLETE_EVERY, ConformalScores, Distribution, IntervalSums, Metrics, Numbers, Scores,
        Slice,
    },
};

/// The sums of each slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The number of objects with a spec-z.
    objects: i64,
    /// The scores of each slice that has objects.
    slices: BTreeMap<Slice, Scores>,
    /// The scores that intervals are calibrated with.
    conformal: ConformalScores,
}

impl Table {
    /// Adds the current state of an object this many times; -1 takes it away. The model may give the distribution of the
    /// redshift.
    pub fn add(
        &mut self,
        key: ObjectKey,
        row: &CommittedRow,
        of: Option<Distribution<'_>>,
        times: i64,
    ) {
        self.objects += times;
        if let Some((z_phot, z_spec)) = row.redshifts() {
            let (hash, mag) = (XxHash3_64::oneshot(&key.to_le_bytes()), row.mag_slice());
            self.conformal.add(hash, mag, (z_phot, z_spec), of, times);
            let intervals = of.map(|of| IntervalSums::of(of, z_spec));
            for slice in row.slices() {
                let scores = self.slices.entry(slice).or_default();
                scores.add(z_phot, z_spec, times);
                if let Some(intervals) = &intervals {
                    scores.add_intervals(intervals, times);
                }
            }
        }
    }

    /// Adds the sums of another table, and removes slices that have no object left.
    fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        self.conformal.merge(&other.conformal);
        for (slice, more) in other.slices {
            let scores = self.slices.entry(slice).or_default();
            scores.merge(&more);
            if scores.is_empty() {
                self.slices.remove(&slice);
            }
        }
    }
}

/// An input of the first worker: a change, sums of a worker, or an entry that could not be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum ScoreInput {
    Change(ChangeSummary),
    Sums(Table),
    Unread(UnreadEntry),
}

/// A change, without the places of its rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ChangeSummary {
    sequence: u64,
    drop: String,
    reference_band: Option<String>,
    place: u64,
    added: Vec<(u32, String)>,
}

/// The metrics up to an entry, or why they are not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The number of the entry.
    pub sequence: u64,
    /// The drop of the entry.
    pub drop: String,
    /// The content of the metrics file: all metrics, or the metrics that changed.
    pub metrics: Result<Box<Metrics>, String>,
}

/// Adds up the current state of the objects. The first worker of the cluster emits the metrics after each change.
pub fn tabulate<'s>(
    objects: VecCollection<'s, DropId, (ObjectKey, CommittedRow)>,
    sample: SharedSample,
    changes: Flow<'s, Change>,
    failures: Flow<'s, UnreadEntry>,
    unread: Unread,
) -> Flow<'s, Scored> {
    let changes = changes.map(|change| {
        let added = change.added.into_iter();
        ScoreInput::Change(ChangeSummary {
            sequence: change.sequence,
            drop: change.drop,
            reference_band: change.reference_band,
            place: change.place,
            added: added.map(|added| (added.entry, added.drop)).collect(),
        })
    });
    let sums = add_up(objects, sample).map(ScoreInput::Sums);
    let inputs = changes
        .concat(sums)
        .concat(failures.map(ScoreInput::Unread));
    let inputs = inputs.gather_to(Rank::FIRST, Round::Time);
    let mut metrics = RunningMetrics::default();
    inputs.flat_map(move |inputs| {
        let scored = metrics.take(inputs.into_iter().map(|(_, input)| input));
        unread.set(!metrics.unread.is_empty());
        scored
    })
}

/// Adds up the objects of this worker, once for each change. They are the objects whose rows its sample holds.
fn add_up<'s>(
    objects: VecCollection<'s, DropId, (ObjectKey, CommittedRow)>,
    sample: SharedSample,
) -> Flow<'s, Table> {
    objects
        .inner
        .unary_frontier(Pipeline, "AddUp", move |_capability, _info| {
            let mut open: BTreeMap<DropId, (Capability<DropId>, Table)> = BTreeMap::new();
            move |(input, frontier), output| {
                let sample = sample.borrow();
                input.for_each_time(|capability, data| {
                    for ((key, row), time, times) in data.flat_map(|items| items.drain(..)) {
                        let (_, table) = open
                            .entry(time)
                            .or_insert_with(|| (capability.delayed(&time, 0), Table::default()));
                        table.add(key, &row, sample.distribution(key, &row), times as i64);
                    }
                });
                while let Some(first) = open.first_entry()
                    && !frontier.less_equal(first.key())
                {
                    let (capability, table) = first.remove();
                    output.session(&capability).give(table);
                }
            }
        })
}

/// The sums of all workers, and the metrics made of them.
#[derive(Debug, Default)]
struct RunningMetrics {
    table: Table,
    numbers: BTreeMap<Slice, Numbers>,
    drops: BTreeMap<u32, String>,
    /// Entries whose rows could not be read in the last change, and why. Until they are read, no metrics are known. Each
    /// change tries again.
    unread: BTreeMap<u32, String>,
    /// The place of the entry of the last change, if its metrics are known.
    known: Option<u64>,
}

impl RunningMetrics {
    /// Takes the inputs of a change and returns its metrics, or `None` if the inputs hold no change.
    fn take(&mut self, inputs: impl IntoIterator<Item = ScoreInput>) -> Option<Scored> {
        let mut change = None;
        let mut touched = BTreeSet::new();
        self.unread.clear();
        for input in inputs {
            match input {
                ScoreInput::Sums(sums) => {
                    touched.extend(sums.slices.keys().copied());
                    self.table.merge(sums);
                }
                ScoreInput::Unread(UnreadEntry { entry, reason }) => {
                    self.unread.insert(entry, reason);
                }
                ScoreInput::Change(summary) => change = Some(summary),
            }
        }
        let mut change = change?;
        self.drops.append(&mut change.added.drain(..).collect());
        let changed = self.renumber(touched);
        let metrics = match self.unread.values().next() {
            Some(reason) => Err(reason.clone()),
            None => Ok(Box::new(self.file(&change, &changed))),
        };
        self.known = metrics.is_ok().then_some(change.place);
        Some(Scored {
            sequence: change.sequence,
            drop: change.drop,
            metrics,
        })
    }

    /// Computes the metrics of these slices again. Returns the metrics that changed. A slice without objects has the metrics
    /// of no objects.
    fn renumber(&mut self, touched: BTreeSet<Slice>) -> BTreeMap<Slice, Numbers> {
        let mut changed = BTreeMap::new();
        let coverage = self.table.conformal.coverage();
        // The shifts of all objects count in every bin of magnitude that has few.
        let is_calibrated = |slice: &&Slice| matches!(slice, Slice::All | Slice::Mag(_));
        let calibrated = self.numbers.keys().filter(is_calibrated);
        let slices: BTreeSet<Slice> = touched.iter().chain(calibrated).copied().collect();
        for slice in slices {
            let now = match touched.contains(&slice) {
                true => self.table.slices.get(&slice).map(Scores::numbers),
                false => self.numbers.get(&slice).cloned(),
            };
            let [calibrated_coverage_68, calibrated_coverage_95] =
                coverage.get(&slice).copied().unwrap_or_default();
            let now = now.map(|now| Numbers {
                calibrated_coverage_68,
                calibrated_coverage_95,
                ..now
            });
            let before = match now.clone() {
                Some(now) => self.numbers.insert(slice, now),
                None => self.numbers.remove(&slice),
            };
            if before != now {
                changed.insert(slice, now.unwrap_or_default());
            }
        }
        changed
    }

    /// The metrics file of a change. The file is complete if no reader could add it to the file before, and at regular
    /// intervals.
    fn file(&self, change: &ChangeSummary, changed: &BTreeMap<Slice, Numbers>) -> Metrics {
        let follows = self.known.is_some_and(|known| known + 1 == change.place);
        let is_complete = !follows || change.place.is_multiple_of(COMPLETE_EVERY);
        let drop_of = |entry| self.drops.get(&entry).cloned().unwrap_or_default();
        let (objects, all) = (self.table.objects, self.numbers.get(&Slice::All));
        let (sequence, band) = (change.sequence, change.reference_band.as_deref());
        let new = |slices| Metrics {
            calibration: self.table.conformal.calibration(band),
            ..Metrics::new(sequence, &change.drop, objects, band, slices, drop_of)
        };
        if is_complete {
            return new(&self.numbers);
        }
        Metrics {
            all: all.cloned().unwrap_or_default(),
            ..new(changed).into_changes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(place: u64) -> ScoreInput {
        ScoreInput::Change(ChangeSummary {
            sequence: place,
            drop: String::new(),
            reference_band: None,
            place,
            added: Vec::new(),
        })
    }

    /// A file of changes is of no use without the file before it.
    #[test]
    fn a_file_holds_changes_only_where_the_file_before_it_is_known() {
        let mut metrics = RunningMetrics::default();
        let mut is_complete = |inputs: Vec<ScoreInput>| {
            let scored = metrics.take(inputs).expect("the inputs hold a change");
            scored.metrics.map(|metrics| metrics.complete)
        };
        let failed = || {
            ScoreInput::Unread(UnreadEntry {
                entry: 3,
                reason: "cannot be read".to_owned(),
            })
        };
        assert_eq!(is_complete(vec![change(1)]), Ok(true));
        assert_eq!(is_complete(vec![change(2)]), Ok(false));
        // The file of the change could not be written.
        assert_eq!(is_complete(vec![change(2)]), Ok(true));
        let unread = is_complete(vec![change(3), failed()]);
        assert_eq!(unread, Err("cannot be read".to_owned()));
        assert_eq!(is_complete(vec![change(3)]), Ok(true));
        // Another run has committed the fourth, and writes its file.
        assert_eq!(is_complete(vec![change(5)]), Ok(true));
        assert_eq!(is_complete(vec![change(6)]), Ok(false));
        for place in 7..=128 {
            let expected = place % COMPLETE_EVERY == 0;
            assert_eq!(is_complete(vec![change(place)]), Ok(expected), "{place}");
        }
    }
}
