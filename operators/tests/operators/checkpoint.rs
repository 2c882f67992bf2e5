//! What is stored of a drop is adopted by its next try, and changes nothing.
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use connectors::{
    checkpoint::{Checkpoints, PlannedDrop, Work},
    ledger::FileRecord,
};
use hubbleflow_operators::{
    Adopt, Checkpoint, Checkpointer, Infer, Inference, Read, Tally, Validate, Write,
};
use object_store::{ObjectStoreExt, path::Path};
use timely::dataflow::operators::{Capture, Concat, ToStream};

use crate::survey::{CLOCK, RULES, Row, Survey, inference, items, noting};

/// Objects of a drop, each a split.
const OBJECTS: i64 = 8;
/// Rows of an object.
const ROWS: i64 = 50;
/// Less than the results of two splits.
const FEW_BYTES: u64 = 4_000;

/// The rows of an object. Its model sees the r magnitude `mag_r`.
fn rows(object: i64, mag_r: f32) -> Vec<Row> {
    let ids = (0..ROWS).map(|row| ROWS * object + row);
    ids.map(|id| Row::with_mag_r(id, mag_r)).collect()
}

fn survey() -> Survey {
    let survey = Survey::new();
    for object in 0..OBJECTS {
        let name = format!("drop/{object}.parquet");
        survey.put(&name, &rows(object, 10.0 + object as f32));
    }
    survey
}

/// A plan of another attempt, which adopts what is stored.
fn plan(survey: &Survey) -> PlannedDrop {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    let attempt = format!("attempt-{}", ATTEMPTS.fetch_add(1, Ordering::Relaxed));
    let planned = async {
        let drop = survey.catalog.drops().await.unwrap().remove(0);
        let planned = survey.catalog.plan(&drop, &attempt, 1, 1 << 30, 128);
        planned.await.unwrap()
    };
    let plan = survey.runtime.block_on(planned);
    let checkpointer = survey.checkpointer(FEW_BYTES);
    let found = checkpointer.checkpoints.find(&plan.name);
    let found = survey.runtime.block_on(found).unwrap();
    PlannedDrop::adopting(plan, found)
}

/// Stages a drop. Returns its files, what it cost, and the r magnitudes of the objects that the model saw.
fn stage(survey: &Survey, plan: PlannedDrop) -> (Vec<FileRecord>, Tally, Vec<f32>) {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let model = inference(2, 128, noting(&batches));
    let checkpointer = survey.checkpointer(FEW_BYTES);
    let (mut files, mut tally) = (Vec::new(), Tally::default());
    for staged in stage_by(survey, plan.work(), model, checkpointer) {
        assert_eq!(staged.failures, Vec::<String>::new());
        files.extend(staged.files);
        tally += staged.tally;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut seen: Vec<f32> = batches
        .lock()
        .unwrap()
        .iter()
        .map(|batch| batch[0])
        .collect();
    seen.sort_by(f32::total_cmp);
    (files, tally, seen)
}

fn stage_by(
    survey: &Survey,
    work: Work,
    model: Inference,
    checkpointer: Checkpointer,
) -> Vec<hubbleflow_operators::Staged> {
    let (reader, writer) = (survey.reader(), survey.writer(u64::MAX));
    let tasks: Vec<_> = work.collect();
    let staged = timely::execute_directly(move |worker| {
        worker.dataflow(|scope| {
            let tasks = tasks.to_stream(scope).container::<Vec<_>>();
            let (adopted, splits) = tasks.adopt(&checkpointer);
            let judged = splits.read(&reader).validate(RULES.clone(), CLOCK);
            let photoz = judged.infer(&model).concat(adopted);
            photoz.checkpoint(&checkpointer).write(&writer).capture()
        })
    });
    let staged = items(staged).into_iter();
    staged.map(|(_time, staged)| staged).collect()
}

fn checkpoints(survey: &Survey) -> Vec<(String, Vec<u8>)> {
    survey.written("_hubbleflow/checkpoints/drop")
}

#[test]
fn stored_results_are_not_predicted_again() {
    let survey = survey();
    let (files, tally, seen) = stage(&survey, plan(&survey));
    assert_eq!(seen.len() as i64, OBJECTS);
    assert!(
        tally.checkpoints > 1 && tally.adopted_rows == 0,
        "{tally:?}"
    );
    let stored = checkpoints(&survey);
    assert_eq!(stored.len() as u64, tally.checkpoints);

    let next = plan(&survey);
    let rows = next.adopted.rows();
    let (same_files, tally, seen) = stage(&survey, next);
    assert_eq!(same_files, files);
    assert_eq!(tally.adopted_rows, rows);
    assert_eq!(seen.len() as i64, OBJECTS - rows as i64 / ROWS);
    assert!(seen.len() < 3, "{seen:?} were predicted again");
}

#[test]
fn an_object_with_other_content_is_predicted_again() {
    let survey = survey();
    stage(&survey, plan(&survey));
    survey.put("drop/1.parquet", &rows(1, 30.0));
    let (files, _, seen) = stage(&survey, plan(&survey));
    assert!(seen.contains(&30.0) && seen.len() < 4, "{seen:?}");

    let fresh = self::survey();
    fresh.put("drop/1.parquet", &rows(1, 30.0));
    assert_eq!(files, stage(&fresh, plan(&fresh)).0);
}

#[test]
fn objects_that_come_earlier_than_before_leave_the_others_as_they_are() {
    let survey = survey();
    stage(&survey, plan(&survey));
    // Its ids are those of object 0, which now come twice: the earlier object wins.
    survey.put("drop/-.parquet", &rows(0, 30.0));
    let (files, tally, seen) = stage(&survey, plan(&survey));
    assert!(tally.adopted_rows > 0 && seen.contains(&30.0), "{seen:?}");

    let fresh = self::survey();
    fresh.put("drop/-.parquet", &rows(0, 30.0));
    assert_eq!(files, stage(&fresh, plan(&fresh)).0);
}

#[test]
fn a_damaged_checkpoint_is_predicted_again() {
    let survey = survey();
    let (files, ..) = stage(&survey, plan(&survey));
    let stored = checkpoints(&survey);
    // One loses its end, one has a flipped bit in its head, all others one in their rows.
    for (number, (path, bytes)) in stored.iter().enumerate() {
        let mut bytes = bytes.clone();
        let place = if number == 1 { 30 } else { bytes.len() - 9 };
        match number {
            0 => bytes.truncate(place),
            _ => bytes[place] ^= 4,
        }
        let path = Path::from(path.as_str());
        let put = survey.store.put(&path, bytes.into());
        survey.runtime.block_on(put).unwrap();
    }
    let (same_files, tally, seen) = stage(&survey, plan(&survey));
    assert_eq!(tally.adopted_rows, 0);
    assert_eq!(seen.len() as i64, OBJECTS);
    assert_eq!(same_files, files);
}

#[test]
fn a_checkpoint_that_vanishes_before_it_is_read_is_predicted_again() {
    let survey = survey();
    let (files, ..) = stage(&survey, plan(&survey));
    let next = plan(&survey);
    for (path, _) in checkpoints(&survey) {
        let path = Path::from(path);
        let deleted = survey.store.delete(&path);
        survey.runtime.block_on(deleted).unwrap();
    }
    let (same_files, _, seen) = stage(&survey, next);
    assert_eq!(seen.len() as i64, OBJECTS);
    assert_eq!(same_files, files);
}

#[test]
fn another_model_adopts_nothing() {
    let survey = survey();
    stage(&survey, plan(&survey));
    let digest = "fedcba9876543210".to_owned();
    let others = Checkpoints::new(survey.output.clone(), "another", digest);
    let found = survey.runtime.block_on(others.find("drop")).unwrap();
    assert!(found.adoptable.is_empty() && found.has_any);
}

#[test]
fn a_process_that_leaves_reads_nothing_new() {
    let survey = survey();
    let mut checkpointer = survey.checkpointer(u64::MAX);
    let reader = survey.reader();
    checkpointer.shutdown = reader.shutdown.clone();
    let splits: Vec<_> = survey.plan().remove(0).splits.collect();
    let shutdown = reader.shutdown.clone();
    let batches = Arc::new(Mutex::new(Vec::new()));
    let model = inference(1, 128, noting(&batches));
    shutdown.ask();
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let splits = splits.to_stream(scope).container::<Vec<_>>();
            let judged = splits.read(&reader).validate(RULES.clone(), CLOCK);
            judged.infer(&model).checkpoint(&checkpointer);
        });
        (0..100).for_each(|_| {
            worker.step();
        });
        assert!(shutdown.is_idle());
        for unfinished in worker.installed_dataflows() {
            worker.drop_dataflow(unfinished);
        }
    });
    assert!(batches.lock().unwrap().is_empty());
}
