//! Keep the metrics: score what is committed against the spec-z that are known, change by change.
//!
//! ```text
//! settled ── in turn ── changes ─┬─► scan ══ admit ══ scan ══ hold ── as it stands ── add up ══ numbers
//!                                └ the committed files of the entries that stand since       ══ exchanged
//! ```
//! One commit at a time goes through. Each worker reads its share of the committed files; rows are exchanged by object;
//! a differential collection holds, for every object with a spec-z, the rows that stand, and reduces them to the object
//! as it stands. What leaves that collection leaves the sums, to the last digit, so the metrics depend on what is
//! committed and on nothing else.
pub mod change;
mod row;
mod sample;
mod scan;
mod tabulate;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use connectors::{Ledger, Output, ledger::EntryKind};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    Scope,
    channels::pact::Pipeline,
    operators::{Concat, Inspect, Probe, ToStream, vec::Broadcast, vec::Map},
};
use tokio::{runtime::Handle, sync::Mutex};

use crate::{DropId, Flow, Settled, gather::gather, metrics::Metrics};
use change::{Change, Unread, changes, in_turn};
use sample::{SharedSample, admit, hold};
use scan::{Failed, Found, Scan, Wanted, scan};

pub use row::{Key, Names, Redshift, Row, Says, as_it_stands, keys};
pub use tabulate::{Scored, Table};

/// What scoring needs.
#[derive(Clone, Debug)]
pub struct Scorer {
    /// Where the committed files are.
    pub output: Output,
    /// The ledger, as far as it is known; the first worker's alone is looked at.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The entries, in order, that are scored before any drop is: they were committed before this run.
    pub first: Vec<u64>,
    /// Where requests run.
    pub runtime: Handle,
}

/// Scores what is committed.
/// ```
/// # use std::sync::Arc;
/// # use connectors::{Ledger, Location, Output};
/// use hubbleflow_operators::{Flow, Score, Scorer, Settled};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let place = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
/// # let mut ledger = runtime.block_on(Ledger::open(&place)).unwrap();
/// # let entry = serde_json::json!({"format": 1, "sequence": 1, "kind": "drop", "attempt": "a", "drop": "night-1", "engine": "0"});
/// # runtime.block_on(ledger.append(serde_json::from_value(entry).unwrap(), 1)).unwrap();
/// # let (output, ledger, runtime) = (Output::new(place), Arc::new(tokio::sync::Mutex::new(ledger)), runtime.handle().clone());
///
/// // What is committed is an empty drop, and nothing more is.
/// let scorer = Scorer { output, ledger, first: vec![1], runtime };
/// timely::execute_directly(move |worker| {
///     worker.dataflow(|scope| {
///         let settled: Flow<Settled> = None::<Settled>.to_stream(scope).container::<Vec<_>>();
///         settled.score(&scorer).inspect(|scored| {
///             let metrics = scored.metrics.as_ref().unwrap();
///             assert_eq!((metrics.drop.as_str(), metrics.all.n), ("night-1", 0));
///         });
///     });
///     while worker.has_dataflows() {
///         worker.step_or_park(None);
///     }
/// });
/// ```
pub trait Score<'s> {
    /// After each drop that is committed, by this run or by another, the metrics of all that is; at the first worker.
    fn score(self, scorer: &Scorer) -> Flow<'s, Scored>;
}

impl<'s> Score<'s> for Flow<'s, Settled> {
    fn score(self, scorer: &Scorer) -> Flow<'s, Scored> {
        let done = timely::dataflow::ProbeHandle::new();
        let Objects {
            objects,
            changes,
            failures,
            unread,
        } = stand(self, scorer, &done);
        tabulate::tabulate(objects, changes, failures, unread).probe_with(&done)
    }
}

/// The entry that scoring begins with, where drops are committed: the newest of them.
pub fn newest(ledger: &Ledger) -> Option<u64> {
    let drops = ledger.entries().iter().rev();
    let mut drops = drops.filter(|entry| entry.kind == EntryKind::Drop);
    drops.next().map(|entry| entry.sequence)
}

/// The metrics of what was committed up to an entry, from the committed files. Blocks until all are read.
///
/// # Errors
/// Where a file cannot be read: its entry may have been superseded since.
pub fn score_up_to(
    output: &Output,
    ledger: Ledger,
    sequence: u64,
    runtime: &Handle,
) -> Result<Metrics, String> {
    let last = Arc::new(Lock::new(None));
    let told = last.clone();
    score_each(output, ledger, vec![sequence], runtime, move |scored| {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(scored);
    });
    let scored = last.lock().unwrap_or_else(PoisonError::into_inner).take();
    let scored = scored.ok_or("nothing is committed there")?;
    scored.metrics.map(|metrics| *metrics)
}

/// Tells the metrics of what was committed up to each of these entries, which are in order, as their files are to hold
/// them: each costs what has changed since the one before.
pub fn score_each(
    output: &Output,
    ledger: Ledger,
    sequences: Vec<u64>,
    runtime: &Handle,
    tell: impl FnMut(Scored) + Send + 'static,
) {
    let tell = Lock::new(Some(tell));
    alone::<()>(
        output,
        ledger,
        sequences,
        runtime,
        move |settled, scorer, _told| {
            let mut tell = tell.into_inner().unwrap_or_else(PoisonError::into_inner);
            settled.score(scorer).inspect(move |scored| {
                if let Some(tell) = &mut tell {
                    tell(scored.clone());
                }
            });
        },
    );
}

/// Sums over the objects as they stand after an entry, one after another, in any order; blocks until all are read.
///
/// # Errors
/// As [`score_up_to`].
pub fn fold_up_to<A: Clone + Default + Send + 'static>(
    output: &Output,
    ledger: Ledger,
    sequence: u64,
    runtime: &Handle,
    add: impl Fn(&mut A, &Row) + Send + Sync + 'static,
) -> Result<A, String> {
    let summed = alone(
        output,
        ledger,
        vec![sequence],
        runtime,
        |settled, scorer, told| {
            let done = timely::dataflow::ProbeHandle::new();
            let Objects {
                objects, failures, ..
            } = stand(settled, scorer, &done);
            let (sum, failed) = (told.clone(), told);
            objects.inspect(move |((_key, row), _time, _times)| {
                let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(sum) = sum.get_or_insert_with(|| Ok(A::default())) {
                    add(sum, row);
                }
            });
            failures.probe_with(&done).inspect(move |failure| {
                let mut sum = failed.lock().unwrap_or_else(PoisonError::into_inner);
                *sum = Some(Err(failure.reason.clone()));
            });
        },
    );
    summed.unwrap_or_else(|| Ok(A::default()))
}

/// Runs a dataflow of one worker on what was committed up to some entries; what it told.
fn alone<T: Send + 'static>(
    output: &Output,
    ledger: Ledger,
    sequences: Vec<u64>,
    runtime: &Handle,
    build: impl FnOnce(Flow<'_, Settled>, &Scorer, Arc<Lock<Option<T>>>) + Send + Sync + 'static,
) -> Option<T> {
    let told = Arc::new(Lock::new(None));
    let scorer = Scorer {
        output: output.clone(),
        ledger: Arc::new(Mutex::new(ledger)),
        first: sequences,
        runtime: runtime.clone(),
    };
    let tell = told.clone();
    timely::execute_directly(move |worker| {
        worker.dataflow(|scope: Scope<'_, DropId>| {
            let settled = None::<Settled>.to_stream(scope).container::<Vec<_>>();
            build(settled, &scorer, tell);
        });
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
    });
    told.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The objects with a spec-z as they stand, what has changed, and what could not be read.
struct Objects<'s> {
    objects: VecCollection<'s, DropId, (Key, Row)>,
    changes: Flow<'s, Change>,
    failures: Flow<'s, Failed>,
    /// To be set after each change.
    unread: Unread,
}

/// Follows what is committed with the collection of the objects that have a spec-z.
fn stand<'s>(
    settled: Flow<'s, Settled>,
    scorer: &Scorer,
    done: &timely::dataflow::ProbeHandle<DropId>,
) -> Objects<'s> {
    let Scorer {
        output,
        ledger,
        first,
        runtime,
    } = scorer;
    let (sample, names) = (SharedSample::default(), Names::default());
    let in_turn = in_turn(settled, first, done.clone());
    let unread = Unread::default();
    let changes = changes(in_turn, ledger.clone(), &unread, runtime.clone());
    let everywhere = changes.clone().broadcast();

    let added = everywhere.clone().map(|change| Scan {
        entries: change.added,
        superseded: change.superseded,
        wanted: match change.from_nothing {
            true => Wanted::WithSpecZ,
            false => Wanted::All,
        },
    });
    let (rows, failed) = split(scan(added, output, runtime));
    let wanted = admit(rows, everywhere.clone(), sample.clone(), names.clone());
    let again = scan(look_again(wanted, everywhere.clone()), output, runtime);
    let (found, not_found) = split(again);
    let rows = hold(found, everywhere, sample);

    let objects = rows.reduce_named("AsItStands", move |_key, rows, stands| {
        let names = names.borrow();
        let rows: Vec<Row> = rows.iter().map(|(row, _)| **row).collect();
        let row = as_it_stands(&rows, |entry| &names[&entry]);
        stands.extend(row.map(|row| (row, 1_isize)));
    });
    Objects {
        objects,
        changes,
        failures: failed.concat(not_found),
        unread,
    }
}

fn split<'s>(found: Flow<'s, Found>) -> (Flow<'s, (Key, Row)>, Flow<'s, Failed>) {
    let rows = found.clone().flat_map(|found| match found {
        Found::Rows(rows) => rows,
        Found::Failed(_) => Vec::new(),
    });
    let failed = found.flat_map(|found| match found {
        Found::Rows(_) => None,
        Found::Failed(failed) => Some(failed),
    });
    (rows, failed)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Told {
    Change(Change),
    Wanted(Vec<Key>),
}

/// Where to look again for rows that were let go, and of which objects.
fn look_again<'s>(wanted: Flow<'s, Vec<Key>>, changes: Flow<'s, Change>) -> Flow<'s, Scan> {
    let wanted = wanted.broadcast().map(Told::Wanted);
    let told = changes.map(Told::Change).concat(wanted);
    gather(told, Pipeline, "LookAgain", |_| (), |_| 0, u64::MAX).map(|told| {
        let (mut keys, mut entries, mut superseded) = (HashSet::new(), Vec::new(), Vec::new());
        for told in told.items {
            match told {
                Told::Change(change) => {
                    (entries, superseded) = (change.rescan, change.superseded);
                }
                Told::Wanted(more) => keys.extend(more),
            }
        }
        // Where no object is wanted, there may be files left that could not be read before.
        if keys.is_empty() {
            entries.clear();
        }
        Scan {
            entries,
            superseded,
            wanted: Wanted::Of(Arc::new(keys)),
        }
    })
}
