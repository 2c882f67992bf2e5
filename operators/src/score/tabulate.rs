//! Add up what changes: each worker its objects by slice, the first worker all of them; then the numbers of those slices
//! that have changed.
use std::collections::{BTreeMap, BTreeSet};

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::{Capability, Concat, generic::Operator, vec::Map},
};

use super::{
    change::{Change, Unread},
    row::{Key, Row},
    scan::Failed,
};
use crate::{
    DropId, Flow,
    gather::gather,
    metrics::{Metrics, Numbers, Scores, Slice},
};

/// Sums by slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Objects with a spec-z.
    objects: i64,
    /// What is known of each slice that has any object.
    slices: BTreeMap<Slice, Scores>,
}

impl Table {
    /// Adds an object as it stands, so many times: -1 takes it away.
    pub fn add(&mut self, row: &Row, times: i64) {
        self.objects += times;
        if let Some((z_phot, z_spec)) = row.redshifts() {
            for slice in row.slices() {
                let scores = self.slices.entry(slice).or_default();
                scores.add(z_phot, z_spec, times);
            }
        }
    }

    /// Adds another's sums; a slice that has no object left is gone.
    fn merge(&mut self, other: Self) {
        self.objects += other.objects;
        for (slice, more) in other.slices {
            let scores = self.slices.entry(slice).or_default();
            scores.merge(&more);
            if scores.is_empty() {
                self.slices.remove(&slice);
            }
        }
    }
}

/// What a change comes to at the first worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Told {
    Change {
        sequence: u64,
        drop: String,
        added: Vec<(u32, String)>,
    },
    Sums(Table),
    Failed(Failed),
}

/// The metrics of what is committed up to an entry, or why they are not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// The metrics.
    pub metrics: Result<Box<Metrics>, String>,
}

/// Adds up the objects as they stand; the first worker of the cluster emits the metrics after each change.
pub fn tabulate<'s>(
    objects: VecCollection<'s, DropId, (Key, Row)>,
    changes: Flow<'s, Change>,
    failures: Flow<'s, Failed>,
    unread: Unread,
) -> Flow<'s, Scored> {
    let changes = changes.map(|change| Told::Change {
        sequence: change.sequence,
        drop: change.drop,
        added: change
            .added
            .into_iter()
            .map(|added| (added.entry, added.drop))
            .collect(),
    });
    let sums = add_up(objects).map(Told::Sums);
    let told = changes.concat(sums).concat(failures.map(Told::Failed));
    let first = Exchange::new(|_: &Told| 0);
    let told = gather(told, first, "Sums", |_| (), |_| 0, u64::MAX);
    let mut board = Board::default();
    told.flat_map(move |told| {
        let scored = board.take(told.items);
        unread.set(!board.unread.is_empty());
        scored
    })
}

/// What each worker's objects add to the sums.
fn add_up<'s>(objects: VecCollection<'s, DropId, (Key, Row)>) -> Flow<'s, Table> {
    objects
        .inner
        .unary_frontier(Pipeline, "AddUp", move |_capability, _info| {
            let mut open: BTreeMap<DropId, (Capability<DropId>, Table)> = BTreeMap::new();
            move |(input, frontier), output| {
                input.for_each_time(|capability, data| {
                    for ((_key, row), time, times) in data.flat_map(|items| items.drain(..)) {
                        let (_, table) = open
                            .entry(time)
                            .or_insert_with(|| (capability.delayed(&time, 0), Table::default()));
                        table.add(&row, times as i64);
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

/// The sums of all workers, and the numbers they come to.
#[derive(Debug, Default)]
struct Board {
    table: Table,
    numbers: BTreeMap<Slice, Numbers>,
    drops: BTreeMap<u32, String>,
    /// Entries whose rows could not be read in the last change, and why: no metrics are known until they are. Each change
    /// tries again.
    unread: BTreeMap<u32, String>,
}

impl Board {
    /// Takes in all that was told of a change.
    fn take(&mut self, told: Vec<Told>) -> Option<Scored> {
        let mut change = None;
        let mut changed = BTreeSet::new();
        self.unread.clear();
        for told in told {
            match told {
                Told::Sums(sums) => {
                    changed.extend(sums.slices.keys().copied());
                    self.table.merge(sums);
                }
                Told::Failed(Failed { entry, reason }) => {
                    self.unread.insert(entry, reason);
                }
                Told::Change {
                    sequence,
                    drop,
                    added,
                } => {
                    self.drops.extend(added);
                    change = Some((sequence, drop));
                }
            }
        }
        let (sequence, drop) = change?;
        for slice in changed {
            match self.table.slices.get(&slice) {
                Some(scores) => self.numbers.insert(slice, scores.numbers()),
                None => self.numbers.remove(&slice),
            };
        }
        let drop_of = |entry| self.drops.get(&entry).cloned().unwrap_or_default();
        let metrics = match self.unread.values().next() {
            Some(reason) => Err(reason.clone()),
            None => Ok(Box::new(Metrics::new(
                sequence,
                &drop,
                self.table.objects,
                &self.numbers,
                drop_of,
            ))),
        };
        Some(Scored {
            sequence,
            drop,
            metrics,
        })
    }
}
