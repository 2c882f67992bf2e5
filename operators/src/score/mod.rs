//! Scores committed predictions against known spec-z, and updates the metrics after each commit.
//!
//! ```text
//! settled ── in turn ── changes ─┬─► scan ══ admit ══ scan ══ hold ── current state ── add up ══ numbers
//!                                └ the committed files of the current entries          ══ exchanged
//! ```
//! One commit at a time goes through. Each worker reads a share of the committed files, and rows are exchanged by object.
//! A differential collection holds the current rows of every object with a spec-z, and reduces them to the current state
//! of the object. A row that is removed from the collection is subtracted from the sums exactly. So the metrics depend
//! only on what is committed.
pub mod change;
mod held;
mod quantiles;
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

use crate::{
    DropId, Flow, Settled,
    gather::gather,
    metrics::{Distribution, Metrics},
};
use change::{Change, Unread, changes, in_turn};
use sample::{SharedSample, admit, hold};
use scan::{RowFilter, Scan, ScanOutput, ScannedRows, UnreadEntry, scan};

pub use row::{CommittedRow, DropNames, ObjectKey, Redshift, RowKind, current_state, keys};
pub use tabulate::{Scored, Table};

/// The settings of scoring.
#[derive(Clone, Debug)]
pub struct Scorer {
    /// The output with the committed files.
    pub output: Output,
    /// The ledger, as far as it is known. Only the ledger of the first worker is used.
    pub ledger: Arc<Mutex<Ledger>>,
    /// Entries that were committed before this run. They are scored first, in this order.
    pub first: Vec<u64>,
    /// The runtime on which requests run.
    pub runtime: Handle,
}

/// Scores committed predictions.
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
/// // One empty drop is committed.
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
    /// Emits the metrics of all committed drops after each commit, by this run or by another run. They come out at the first
    /// worker.
    fn score(self, scorer: &Scorer) -> Flow<'s, Scored>;
}

impl<'s> Score<'s> for Flow<'s, Settled> {
    fn score(self, scorer: &Scorer) -> Flow<'s, Scored> {
        let done = timely::dataflow::ProbeHandle::new();
        let Objects {
            objects,
            sample,
            changes,
            failures,
            unread,
        } = current_objects(self, scorer, &done);
        tabulate::tabulate(objects, sample, changes, failures, unread).probe_with(&done)
    }
}

/// The number of the newest entry that commits a drop, or `None` if no drop is committed. Scoring begins with this entry.
pub fn newest(ledger: &Ledger) -> Option<u64> {
    let drops = ledger.entries().iter().rev();
    let mut drops = drops.filter(|entry| entry.kind == EntryKind::Drop);
    drops.next().map(|entry| entry.sequence)
}

/// Computes the metrics up to an entry from the committed files. Blocks until all files are read.
///
/// # Errors
/// If a file cannot be read. A newer entry of its drop may have removed the file.
pub fn score_up_to(
    output: &Output,
    ledger: Ledger,
    sequence: u64,
    runtime: &Handle,
) -> Result<Metrics, String> {
    let last = Arc::new(Lock::new(None));
    let newest = last.clone();
    score_each(output, ledger, vec![sequence], runtime, move |scored| {
        *newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(scored);
    });
    let scored = last.lock().unwrap_or_else(PoisonError::into_inner).take();
    let scored = scored.ok_or("nothing is committed there")?;
    scored.metrics.map(|metrics| *metrics)
}

/// Computes the metrics up to each of these entries, which are in ascending order, and passes them to `tell` as their files
/// hold them. Each entry costs only what changed since the entry before it.
pub fn score_each(
    output: &Output,
    ledger: Ledger,
    sequences: Vec<u64>,
    runtime: &Handle,
    tell: impl FnMut(Scored) + Send + 'static,
) {
    let tell = Lock::new(Some(tell));
    run_one_worker::<()>(
        output,
        ledger,
        sequences,
        runtime,
        move |settled, scorer, _result| {
            let mut tell = tell.into_inner().unwrap_or_else(PoisonError::into_inner);
            settled.score(scorer).inspect(move |scored| {
                if let Some(tell) = &mut tell {
                    tell(scored.clone());
                }
            });
        },
    );
}

/// Folds `add` over the current state of each object after an entry, with its distribution if its row has quantiles, in any
/// order. Blocks until all files are read.
///
/// # Errors
/// The errors of [`score_up_to`].
pub fn fold_up_to<A: Clone + Default + Send + 'static>(
    output: &Output,
    ledger: Ledger,
    sequence: u64,
    runtime: &Handle,
    add: impl Fn(&mut A, &CommittedRow, Option<Distribution<'_>>) + Send + Sync + 'static,
) -> Result<A, String> {
    let summed = run_one_worker(
        output,
        ledger,
        vec![sequence],
        runtime,
        |settled, scorer, result| {
            let done = timely::dataflow::ProbeHandle::new();
            let Objects {
                objects,
                sample,
                failures,
                ..
            } = current_objects(settled, scorer, &done);
            let (sum, failed) = (result.clone(), result);
            objects.inspect(move |((key, row), _time, _times)| {
                let sample = sample.borrow();
                let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(sum) = sum.get_or_insert_with(|| Ok(A::default())) {
                    add(sum, row, sample.distribution(*key, row));
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

/// Scores some entries in a dataflow of one worker. Returns the value that `build` has put into its third argument.
fn run_one_worker<T: Send + 'static>(
    output: &Output,
    ledger: Ledger,
    sequences: Vec<u64>,
    runtime: &Handle,
    build: impl FnOnce(Flow<'_, Settled>, &Scorer, Arc<Lock<Option<T>>>) + Send + Sync + 'static,
) -> Option<T> {
    let result = Arc::new(Lock::new(None));
    let scorer = Scorer {
        output: output.clone(),
        ledger: Arc::new(Mutex::new(ledger)),
        first: sequences,
        runtime: runtime.clone(),
    };
    let result_in = result.clone();
    timely::execute_directly(move |worker| {
        worker.dataflow(|scope: Scope<'_, DropId>| {
            let settled = None::<Settled>.to_stream(scope).container::<Vec<_>>();
            build(settled, &scorer, result_in);
        });
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
    });
    result.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The current state of the objects with a spec-z, the changes, and the entries that could not be read.
struct Objects<'s> {
    objects: VecCollection<'s, DropId, (ObjectKey, CommittedRow)>,
    sample: SharedSample,
    changes: Flow<'s, Change>,
    failures: Flow<'s, UnreadEntry>,
    /// Must be set after each change.
    unread: Unread,
}

/// Keeps a collection of the objects with a spec-z, and updates the collection after each commit.
fn current_objects<'s>(
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
    let (sample, names) = (SharedSample::default(), DropNames::default());
    let in_turn = in_turn(settled, first, done.clone());
    let unread = Unread::default();
    let changes = changes(in_turn, ledger.clone(), &unread, runtime.clone());
    let everywhere = changes.clone().broadcast();

    let added = everywhere.clone().map(|change| Scan {
        entries: change.added,
        superseded: change.superseded,
        wanted: match change.from_nothing {
            true => RowFilter::WithSpecZ,
            false => RowFilter::All,
        },
    });
    let (rows, failed) = split(scan(added, output, runtime));
    let wanted = admit(rows, everywhere.clone(), sample.clone(), names.clone());
    let again = scan(look_again(wanted, everywhere.clone()), output, runtime);
    let (found, not_found) = split(again);
    let rows = hold(found, everywhere, sample.clone());

    let objects = rows.reduce_named("AsItStands", move |_key, rows, stands| {
        let names = names.borrow();
        let rows: Vec<CommittedRow> = rows.iter().map(|(row, _)| **row).collect();
        let row = current_state(&rows, |entry| &names[&entry]);
        stands.extend(row.map(|row| (row, 1_isize)));
    });
    Objects {
        objects,
        sample,
        changes,
        failures: failed.concat(not_found),
        unread,
    }
}

fn split<'s>(found: Flow<'s, ScanOutput>) -> (Flow<'s, ScannedRows>, Flow<'s, UnreadEntry>) {
    let rows = found.clone().flat_map(|found| match found {
        ScanOutput::Rows(rows) => Some(rows),
        ScanOutput::Unread(_) => None,
    });
    let failed = found.flat_map(|found| match found {
        ScanOutput::Rows(_) => None,
        ScanOutput::Unread(failed) => Some(failed),
    });
    (rows, failed)
}

/// A request to read rows again: a change, or objects whose rows are wanted.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum ScanRequest {
    Change(Change),
    Objects(Vec<ObjectKey>),
}

/// Collects the files to read again, and the objects whose rows were not kept when the files were read first.
fn look_again<'s>(wanted: Flow<'s, Vec<ObjectKey>>, changes: Flow<'s, Change>) -> Flow<'s, Scan> {
    let wanted = wanted.broadcast().map(ScanRequest::Objects);
    let requests = changes.map(ScanRequest::Change).concat(wanted);
    gather(requests, Pipeline, "LookAgain", |_| ()).map(|requests| {
        let (mut keys, mut entries, mut superseded) = (HashSet::new(), Vec::new(), Vec::new());
        for request in requests.items {
            match request {
                ScanRequest::Change(change) => {
                    (entries, superseded) = (change.rescan, change.superseded);
                }
                ScanRequest::Objects(more) => keys.extend(more),
            }
        }
        // If no object is wanted, the scan only reads files that could not be read before.
        if keys.is_empty() {
            entries.clear();
        }
        Scan {
            entries,
            superseded,
            wanted: RowFilter::Of(Arc::new(keys)),
        }
    })
}
