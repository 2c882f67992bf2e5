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
    metrics::{COMPLETE_EVERY, Metrics, Numbers, Scores, Slice},
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
    /// Adds the current state of an object this many times; -1 takes it away.
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
    Change(Turn),
    Sums(Table),
    Failed(Failed),
}

/// A change, but for where its rows are.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Turn {
    sequence: u64,
    drop: String,
    place: u64,
    added: Vec<(u32, String)>,
}

/// The metrics of what is committed up to an entry, or why they are not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// What their file is to hold: the metrics, or what has changed in them.
    pub metrics: Result<Box<Metrics>, String>,
}

/// Adds up the objects as they stand; the first worker of the cluster emits the metrics after each change.
pub fn tabulate<'s>(
    objects: VecCollection<'s, DropId, (Key, Row)>,
    changes: Flow<'s, Change>,
    failures: Flow<'s, Failed>,
    unread: Unread,
) -> Flow<'s, Scored> {
    let changes = changes.map(|change| {
        let added = change.added.into_iter();
        Told::Change(Turn {
            sequence: change.sequence,
            drop: change.drop,
            place: change.place,
            added: added.map(|added| (added.entry, added.drop)).collect(),
        })
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
    /// The place of the entry of the last change, if its metrics are known.
    known: Option<u64>,
}

impl Board {
    /// Takes in all that was told of a change.
    fn take(&mut self, told: Vec<Told>) -> Option<Scored> {
        let mut turn = None;
        let mut touched = BTreeSet::new();
        self.unread.clear();
        for told in told {
            match told {
                Told::Sums(sums) => {
                    touched.extend(sums.slices.keys().copied());
                    self.table.merge(sums);
                }
                Told::Failed(Failed { entry, reason }) => {
                    self.unread.insert(entry, reason);
                }
                Told::Change(change) => turn = Some(change),
            }
        }
        let mut turn = turn?;
        self.drops.append(&mut turn.added.drain(..).collect());
        let changed = self.renumber(touched);
        let metrics = match self.unread.values().next() {
            Some(reason) => Err(reason.clone()),
            None => Ok(Box::new(self.file(&turn, &changed))),
        };
        self.known = metrics.is_ok().then_some(turn.place);
        Some(Scored {
            sequence: turn.sequence,
            drop: turn.drop,
            metrics,
        })
    }

    /// Gives the slices whose sums were touched their new numbers. Those whose numbers changed; a slice that is gone has
    /// the numbers of nothing.
    fn renumber(&mut self, touched: BTreeSet<Slice>) -> BTreeMap<Slice, Numbers> {
        let mut changed = BTreeMap::new();
        for slice in touched {
            let now = self.table.slices.get(&slice).map(Scores::numbers);
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

    /// The file of a change. It is complete if no reader could add it to the file before, and at regular intervals.
    fn file(&self, turn: &Turn, changed: &BTreeMap<Slice, Numbers>) -> Metrics {
        let follows = self.known.is_some_and(|known| known + 1 == turn.place);
        let is_complete = !follows || turn.place.is_multiple_of(COMPLETE_EVERY);
        let drop_of = |entry| self.drops.get(&entry).cloned().unwrap_or_default();
        let (objects, all) = (self.table.objects, self.numbers.get(&Slice::All));
        let new = |slices| Metrics::new(turn.sequence, &turn.drop, objects, slices, drop_of);
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

    fn turn(place: u64) -> Told {
        Told::Change(Turn {
            sequence: place,
            drop: String::new(),
            place,
            added: Vec::new(),
        })
    }

    /// A file of changes is of use only to whoever has the file before it.
    #[test]
    fn a_file_holds_changes_only_where_the_file_before_it_is_known() {
        let mut board = Board::default();
        let mut is_complete = |told: Vec<Told>| {
            let scored = board.take(told).expect("a change is told of");
            scored.metrics.map(|metrics| metrics.complete)
        };
        let failed = || {
            Told::Failed(Failed {
                entry: 3,
                reason: "cannot be read".to_owned(),
            })
        };
        assert_eq!(is_complete(vec![turn(1)]), Ok(true));
        assert_eq!(is_complete(vec![turn(2)]), Ok(false));
        // Its file could not be written: nobody knows that it will be.
        assert_eq!(is_complete(vec![turn(2)]), Ok(true));
        let unread = is_complete(vec![turn(3), failed()]);
        assert_eq!(unread, Err("cannot be read".to_owned()));
        assert_eq!(is_complete(vec![turn(3)]), Ok(true));
        // Another run has committed the fourth, and writes its file.
        assert_eq!(is_complete(vec![turn(5)]), Ok(true));
        assert_eq!(is_complete(vec![turn(6)]), Ok(false));
        for place in 7..=128 {
            let expected = place % COMPLETE_EVERY == 0;
            assert_eq!(is_complete(vec![turn(place)]), Ok(expected), "{place}");
        }
    }
}
