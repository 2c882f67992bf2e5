//! The oracle: after every step of a random history, the metrics are those of a plain computation over what is committed.
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch};
use connectors::{
    Ledger, Location, Output,
    committed::{self, replaced_since},
    ledger::{Entry, FORMAT, FileRecord, Kind, Rows},
};
use object_store::{memory::InMemory, path::Path};
use operators::{
    Metrics, Outcome, Score, Scored, Scorer, Settled, Tally, publish,
    score::{newest, score_each, score_up_to},
};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use proptest::{collection::vec, option, prelude::*};
use timely::dataflow::operators::{Capture, Input, capture::Event};
use tokio::{runtime::Runtime, sync::Mutex};

use crate::plain::{self, Object};

/// Drops have these names, in this order; histories commit them in any.
const DROPS: [&str; 4] = ["a", "b", "c", "d"];

/// What a committed row says.
#[derive(Clone, Debug)]
enum Says {
    Predicted {
        z_phot: f32,
        z_spec: Option<f32>,
        mag_r: Option<f32>,
        cell: i64,
    },
    Withdrawn,
}

/// A commit: the rows of a drop by object. Rejected rows are those that are not there.
#[derive(Clone, Debug)]
struct Step {
    drop: usize,
    rows: Content,
    told: Told,
}

#[derive(Clone, Debug)]
enum Content {
    Photoz(BTreeMap<i64, Says>),
    SpecZ(BTreeMap<i64, f32>),
}

/// How the run learns of a commit.
#[derive(Clone, Copy, Debug)]
enum Told {
    Ours,
    Overtaken,
    /// Another run's: not before the next of ours.
    Later,
}

fn z() -> impl Strategy<Value = f32> {
    (-0.01_f32..0.7).prop_map(|z| z)
}

fn says() -> impl Strategy<Value = Says> {
    let cell = 0_i64..12 * 4_i64.pow(29);
    let predicted = (
        z(),
        option::weighted(0.5, z()),
        option::weighted(0.9, 14.0_f32..18.0),
        cell,
    );
    let predicted = predicted.prop_map(|(z_phot, z_spec, mag_r, cell)| Says::Predicted {
        z_phot,
        z_spec,
        mag_r,
        cell,
    });
    prop_oneof![5 => predicted, 1 => Just(Says::Withdrawn)]
}

fn step() -> impl Strategy<Value = Step> {
    let object = 0_i64..6;
    let photoz = proptest::collection::btree_map(object.clone(), says(), 0..6);
    let specz = proptest::collection::btree_map(object, z(), 0..4);
    let rows = prop_oneof![
        3 => photoz.prop_map(Content::Photoz),
        1 => specz.prop_map(Content::SpecZ)
    ];
    let told =
        prop_oneof![4 => Just(Told::Ours), 1 => Just(Told::Overtaken), 1 => Just(Told::Later)];
    (0..DROPS.len(), rows, told).prop_map(|(drop, rows, told)| Step { drop, rows, told })
}

/// The objects as they stand, by the rule: of rows and of spec-z, that of the later name counts; withdrawn means gone.
fn stand(committed: &BTreeMap<usize, Content>) -> (Vec<Object>, i64) {
    let (mut rows, mut spectra) = (BTreeMap::new(), BTreeMap::new());
    for (&drop, content) in committed {
        match content {
            Content::SpecZ(taught) => spectra.extend(taught.clone()),
            Content::Photoz(photoz) => {
                for (object, says) in photoz {
                    rows.insert(*object, (drop, says));
                    if let Says::Predicted {
                        z_spec: Some(z), ..
                    } = says
                    {
                        spectra.insert(*object, *z);
                    }
                }
            }
        }
    }
    let mut with_spec_z = 0;
    let mut objects = Vec::new();
    for (object, z_spec) in spectra {
        match rows.get(&object) {
            Some((_, Says::Withdrawn)) => continue,
            Some((
                drop,
                Says::Predicted {
                    z_phot,
                    mag_r,
                    cell,
                    ..
                },
            )) => objects.push(Object {
                z_phot: *z_phot,
                z_spec,
                drop: DROPS[*drop].to_owned(),
                mag_r: *mag_r,
                cell: *cell,
            }),
            None => {}
        }
        with_spec_z += 1;
    }
    (objects, with_spec_z)
}

/// An output in memory, and its ledger.
struct Committed {
    runtime: Runtime,
    output: Output,
    ledger: Arc<Mutex<Ledger>>,
}

impl Committed {
    fn new() -> Self {
        let location = Location {
            store: Arc::new(InMemory::new()),
            prefix: Path::from("out"),
            url: "memory:/out".to_owned(),
            folder: None,
            pages: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let ledger = runtime.block_on(Ledger::open(&location)).unwrap();
        Self {
            runtime,
            output: Output::new(location),
            ledger: Arc::new(Mutex::new(ledger)),
        }
    }

    /// Commits a drop as the engine does: staged, entered, published; files of an earlier entry are gone after.
    fn commit(&self, attempt: usize, drop: &str, content: &Content) -> u64 {
        let (attempt, mut files) = (format!("attempt-{attempt}"), Vec::new());
        for (part, rows) in content.parts().into_iter().enumerate() {
            let bytes = parquet(&rows);
            let path = format!(
                "{}/{drop}/part-{part:04}-{attempt}.parquet",
                content.folder()
            );
            let record = FileRecord {
                path: path.clone(),
                rows: rows.num_rows() as u64,
                bytes: bytes.len() as u64,
                sha256: String::new(),
            };
            files.push(record);
            let staged = self.output.stage(&attempt, &path, bytes);
            self.runtime.block_on(staged).unwrap();
        }
        let entry = Entry {
            kind: Kind::Drop,
            drop: drop.to_owned(),
            files,
            rows: Rows::default(),
            format: FORMAT,
            ..Entry::abandoned(&attempt, "0.0.0")
        };
        self.runtime.block_on(async {
            let mut ledger = self.ledger.lock().await;
            let began = ledger.next();
            self.output.commit(&mut ledger, entry, began).await.unwrap();
            newest(&ledger).unwrap()
        })
    }

    /// The metrics of all that is committed, made from nothing.
    fn rebuilt(&self) -> Metrics {
        let ledger = self
            .runtime
            .block_on(async { self.ledger.lock().await.clone() });
        let last = newest(&ledger).unwrap();
        score_up_to(&self.output, ledger, last, self.runtime.handle()).unwrap()
    }

    fn scorer(&self, first: Vec<u64>) -> Scorer {
        Scorer {
            output: self.output.clone(),
            ledger: self.ledger.clone(),
            first,
            runtime: self.runtime.handle().clone(),
        }
    }
}

impl Content {
    fn folder(&self) -> &str {
        match self {
            Self::Photoz(_) => "photoz",
            Self::SpecZ(_) => "specz",
        }
    }

    /// Odd objects in one file, even ones in another; a file without rows is not written.
    fn parts(&self) -> Vec<RecordBatch> {
        let parts = [0, 1].map(|part| match self {
            Self::Photoz(rows) => {
                let rows: Vec<_> = rows.iter().filter(|(id, _)| *id % 2 == part).collect();
                photoz(&rows)
            }
            Self::SpecZ(rows) => {
                let rows = rows.iter().filter(|(id, _)| *id % 2 == part);
                let (ids, z): (Vec<i64>, Vec<f32>) = rows.unzip();
                batch(vec![
                    ("object_id", Arc::new(Int64Array::from(ids))),
                    ("z_spec", Arc::new(Float32Array::from(z))),
                ])
            }
        });
        parts
            .into_iter()
            .filter(|part| part.num_rows() > 0)
            .collect()
    }
}

fn photoz(rows: &[(&i64, &Says)]) -> RecordBatch {
    let floats = |of: &dyn Fn(&Says) -> Option<f32>| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|(_, says)| of(says))
                .collect::<Float32Array>(),
        )
    };
    let cells = rows.iter().map(|(_, says)| match says {
        Says::Predicted { cell, .. } => Some(*cell),
        Says::Withdrawn => None,
    });
    let flags = rows
        .iter()
        .map(|(_, says)| i32::from(matches!(says, Says::Withdrawn)));
    batch(vec![
        (
            "object_id",
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|(id, _)| **id),
            )),
        ),
        ("_healpix_29", Arc::new(cells.collect::<Int64Array>())),
        (
            "z_phot",
            floats(&|says| match says {
                Says::Predicted { z_phot, .. } => Some(*z_phot),
                Says::Withdrawn => None,
            }),
        ),
        (
            "z_spec",
            floats(&|says| match says {
                Says::Predicted { z_spec, .. } => *z_spec,
                Says::Withdrawn => None,
            }),
        ),
        (
            "mag_r",
            floats(&|says| match says {
                Says::Predicted { mag_r, .. } => *mag_r,
                Says::Withdrawn => None,
            }),
        ),
        ("z_flags", Arc::new(Int32Array::from_iter_values(flags))),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, of)| (name, of, true)))
        .unwrap()
}

fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(2))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

fn settled(drop: &str, outcome: Outcome) -> Settled {
    Settled {
        drop: drop.to_owned(),
        outcome,
        rows: Rows::default(),
        files: 0,
        tally: Tally::default(),
    }
}

/// The next that was scored: one answer comes for each drop that is settled.
fn next(worker: &mut timely::worker::Worker, events: &Receiver<Event<u64, Vec<Scored>>>) -> Scored {
    loop {
        worker.step_or_park(Some(Duration::from_millis(1)));
        for event in events.try_iter() {
            if let Event::Messages(_, mut scored) = event {
                assert_eq!(scored.len(), 1);
                return scored.remove(0);
            }
        }
    }
}

/// Takes a history through one run, the first steps of which are committed before, and checks the metrics wherever
/// they are made. Answers what is committed, and the metrics at the end.
fn run(history: Vec<Step>, known: usize) -> (Arc<Committed>, Option<Metrics>) {
    let place = Arc::new(Committed::new());
    let kept = place.clone();
    let last = timely::execute_directly(move |worker| {
        let mut committed: BTreeMap<usize, Content> = BTreeMap::new();
        let mut commit = |at: usize| {
            let Step { drop, rows, .. } = &history[at];
            committed.insert(*drop, rows.clone());
            let sequence = place.commit(at, DROPS[*drop], rows);
            (sequence, stand(&committed))
        };
        let known = known.min(history.len());
        // Of what was committed before, the last is scored, and whatever has no metrics and can have them.
        let mut before: Vec<_> = (0..known).map(&mut commit).collect();
        let ledger = place.runtime.block_on(place.ledger.lock()).clone();
        let unreplaced = before.iter().map(|(sequence, _)| *sequence);
        let unreplaced = unreplaced.filter(|&sequence| replaced_since(&ledger, sequence).is_none());
        assert_eq!(committed::kept(&ledger), unreplaced.collect::<Vec<_>>());
        before.retain(|(sequence, _)| {
            let at = *sequence as usize - 1;
            let has_some = at + 1 < known && matches!(history[at].told, Told::Later);
            !has_some && replaced_since(&ledger, *sequence).is_none()
        });
        let scorer = place.scorer(before.iter().map(|(sequence, _)| *sequence).collect());
        let (mut input, events) = worker.dataflow(|scope| {
            let (input, settled) = scope.new_input::<Vec<Settled>>();
            (input, settled.score(&scorer).capture())
        });
        let mut last = None;
        for (sequence, expected) in before {
            last = Some(check(last, &next(worker, &events), sequence, &expected));
        }
        for (at, step) in history.iter().enumerate().skip(known) {
            let (sequence, expected) = commit(at);
            let outcome = match step.told {
                Told::Ours => Outcome::Committed(sequence),
                Told::Overtaken => Outcome::Overtaken(sequence),
                Told::Later => continue,
            };
            input.send(settled(DROPS[step.drop], outcome));
            input.advance_to(at as u64 + 1);
            last = Some(check(last, &next(worker, &events), sequence, &expected));
        }
        last
    });
    (kept, last)
}

/// Takes in what was scored, as a reader of the files does, and checks the metrics that come of it.
#[track_caller]
fn check(
    before: Option<Metrics>,
    scored: &Scored,
    sequence: u64,
    (objects, with_spec_z): &(Vec<Object>, i64),
) -> Metrics {
    let file = scored.metrics.as_ref().unwrap();
    let mut metrics = before.unwrap_or_else(|| {
        assert!(file.complete, "there is nothing that it can be a change of");
        file.as_ref().clone()
    });
    metrics.update(file.as_ref().clone());
    assert_eq!(
        (metrics.sequence, metrics.objects),
        (sequence, *with_spec_z)
    );
    plain::assert_metrics(&metrics, objects);
    metrics
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_step_the_metrics_are_those_of_a_plain_computation(
        history in vec(step(), 1..10),
        known in 0_usize..4,
    ) {
        let (place, last) = run(history, known);
        // Made from nothing they are the same to the byte.
        if let Some(last) = last {
            let rebuilt = place.rebuilt();
            if rebuilt.sequence == last.sequence {
                prop_assert_eq!(rebuilt.to_json(), last.to_json());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_commits_changes_nothing(
        contents in vec(step(), DROPS.len()),
        order in Just([0, 1, 2, 3]).prop_shuffle(),
    ) {
        let history = |order: [usize; 4]| -> Vec<Step> {
            let step = |drop: usize| Step { drop, told: Told::Ours, ..contents[drop].clone() };
            order.map(step).into()
        };
        let [forth, other] = [[0, 1, 2, 3], order].map(|order| {
            let (_, last) = run(history(order), 0);
            Metrics { drop: String::new(), ..last.unwrap() }
        });
        prop_assert_eq!(forth.to_json(), other.to_json());
    }
}

fn predicted(z_phot: f32, z_spec: Option<f32>) -> Says {
    Says::Predicted {
        z_phot,
        z_spec,
        mag_r: Some(17.0),
        cell: 0,
    }
}

fn ours(drop: usize, rows: Content) -> Step {
    Step {
        drop,
        rows,
        told: Told::Ours,
    }
}

#[test]
fn a_row_that_is_gone_from_a_drop_run_again_gives_way_to_the_one_before() {
    let photoz = |rows: &[(i64, Says)]| Content::Photoz(rows.iter().cloned().collect());
    let history = vec![
        ours(0, photoz(&[(1, predicted(0.3, None))])),
        ours(1, photoz(&[(1, predicted(0.2, Some(0.2)))])),
        ours(2, Content::SpecZ(BTreeMap::from([(1, 0.25)]))),
        ours(1, photoz(&[])),
    ];
    let (_, last) = run(history, 0);
    let metrics = last.unwrap();
    assert_eq!(metrics.by_drop.keys().collect::<Vec<_>>(), ["a"]);
    assert!((metrics.all.bias.unwrap() - 0.05 / 1.25).abs() < 1e-7);
}

#[test]
fn spec_z_alone_take_no_predictions_place() {
    let photoz = |z_spec| Content::Photoz(BTreeMap::from([(1, predicted(0.3, z_spec))]));
    let history = vec![
        ours(0, photoz(None)),
        ours(3, photoz(Some(0.2))),
        // The same drop, delivered again without cutouts: the first one's prediction stands.
        ours(3, Content::SpecZ(BTreeMap::from([(1, 0.2)]))),
    ];
    let (_, last) = run(history, 0);
    assert_eq!(last.unwrap().by_drop.keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn what_cannot_be_read_is_told_until_its_drop_is_committed_again() {
    let place = Committed::new();
    let rows = Content::Photoz(BTreeMap::from([(1, predicted(0.3, Some(0.2)))]));
    let first = place.commit(0, "a", &rows);
    let file = Path::from("out/photoz/a/part-0000-attempt-0.parquet");
    let store = place.output.location().store.clone();
    place
        .runtime
        .block_on(object_store::ObjectStoreExt::delete(&store, &file))
        .unwrap();
    let scorer = place.scorer(vec![first]);
    timely::execute_directly(move |worker| {
        let (mut input, events) = worker.dataflow(|scope| {
            let (input, settled) = scope.new_input::<Vec<Settled>>();
            (input, settled.score(&scorer).capture())
        });
        let reason = next(worker, &events).metrics.unwrap_err();
        assert!(
            reason.contains("photoz/a/part-0000-attempt-0.parquet"),
            "{reason}"
        );
        let again = place.commit(1, "a", &rows);
        input.send(settled("a", Outcome::Committed(again)));
        input.advance_to(1);
        let metrics = next(worker, &events).metrics.unwrap();
        assert_eq!(metrics.all.n, 1);
    });
}

/// Each file held all slices: 2,000 drops of three rows left 700 MB of metrics.
#[test]
fn the_metrics_of_many_small_drops_cost_what_they_change() {
    const MANY: u64 = 2_000;
    let place = Committed::new();
    for drop in 0..MANY {
        // Every third object is a correction of one before.
        let row = |at: u64| {
            let id = (3 * drop + at) / if at == 2 { 2 } else { 1 };
            let (z_spec, error) = (0.001 * (id % 400) as f32, 0.0001 * (drop % 700) as f32);
            // Tiles of 14,000 square degrees.
            let cell = (id as i64 * 7_919 % 4_170) << 48;
            let predicted = Says::Predicted {
                z_phot: z_spec + error,
                z_spec: Some(z_spec),
                mag_r: Some(14.0 + (id % 40) as f32 / 10.0),
                cell,
            };
            (id as i64, predicted)
        };
        let rows = Content::Photoz((0..3).map(row).collect());
        place.commit(drop as usize, &format!("night-{drop:04}"), &rows);
    }
    let ledger = place.runtime.block_on(place.ledger.lock()).clone();
    let (tell, told) = std::sync::mpsc::channel();
    let sequences = (1..=MANY).collect();
    let handle = place.runtime.handle();
    score_each(
        &place.output,
        ledger.clone(),
        sequences,
        handle,
        move |scored| {
            tell.send(scored.metrics.unwrap()).unwrap();
        },
    );
    let (mut all_bytes, mut largest_change) = (0, 0);
    for metrics in told {
        let bytes = metrics.to_json().len();
        all_bytes += bytes;
        let is_whole = metrics.sequence == 1 || metrics.sequence.is_multiple_of(64);
        assert_eq!(metrics.complete, is_whole, "{}", metrics.sequence);
        if !is_whole {
            largest_change = largest_change.max(bytes);
        }
        let written = publish::write(&place.output, &metrics);
        place.runtime.block_on(written).unwrap();
    }
    println!("{MANY} drops: {all_bytes} bytes, {largest_change} for a drop");
    assert!(all_bytes < 40_000_000 && largest_change < 20_000);
    // Put together, the files are what is made from nothing.
    for sequence in [1, 63, 64, 65, 129, MANY] {
        let together = publish::read_whole(&place.output, &ledger, sequence);
        let together = place.runtime.block_on(together).unwrap().unwrap();
        let made = score_up_to(&place.output, ledger.clone(), sequence, handle).unwrap();
        let made: Metrics = serde_json::from_slice(&made.to_json()).unwrap();
        assert_eq!(together, made);
    }
}
