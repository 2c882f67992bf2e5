use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use connectors::{
    DropPlan,
    ledger::FileRecord,
    part::{Folder, Piece},
    split::{Source, Splits},
};
use hubbleflow_operators::{Checkpoint, Content, Parcel, Staged, Tally, Write};
use timely::dataflow::operators::{Capture, ToStream};

use crate::survey::{Row, Survey, inference, items, photoz, tenth};

/// A drop of several objects whose rows go to three parts.
fn survey() -> (Survey, DropPlan) {
    let survey = Survey::new();
    for object in 0..8_i64 {
        let rows = (0..50).map(|row| {
            // Some ids come twice, and some rows are unfit.
            let mut galaxy = Row::with_mag_r(1_000 * (object % 7) + row, 10.0 + object as f32);
            galaxy.ra = Some((object * 40 + row) as f64 % 370.0);
            galaxy
        });
        survey.put(&format!("drop/{object}.parquet"), &rows.collect::<Vec<_>>());
    }
    let mut plan = survey.plan().remove(0);
    plan.parts = 3;
    plan.splits = Splits::new(Source {
        parts: 3,
        ..plan.splits.source().clone()
    });
    (survey, plan)
}

/// Stages a drop whose results may take `held_bytes` in memory.
fn stage(survey: &Survey, plan: &DropPlan, held_bytes: u64) -> Vec<Staged> {
    let (reader, writer, inference) = (
        survey.reader(),
        survey.writer(held_bytes),
        inference(2, 8, tenth),
    );
    let checkpointer = survey.checkpointer(held_bytes);
    let splits: Vec<_> = plan.splits.clone().collect();
    let staged = timely::execute_directly(move |worker| {
        worker.dataflow(|scope| {
            photoz(scope, splits, &reader, &inference)
                .checkpoint(&checkpointer)
                .write(&writer)
                .capture()
        })
    });
    items(staged)
        .into_iter()
        .map(|(_time, staged)| staged)
        .collect()
}

fn records(staged: &[Staged]) -> Vec<FileRecord> {
    let mut records: Vec<_> = staged
        .iter()
        .flat_map(|staged| staged.files.clone())
        .collect();
    records.sort_by(|a, b| a.path.cmp(&b.path));
    records
}

#[test]
fn parts_that_waited_in_checkpoints_are_the_same_files() {
    let ((in_memory, plan), (storing, same_plan)) = (survey(), survey());
    let whole = stage(&in_memory, &plan, u64::MAX);
    let stored = stage(&storing, &same_plan, 4_000);
    assert!(
        whole
            .iter()
            .chain(&stored)
            .all(|staged| staged.failures.is_empty())
    );

    let count = |survey: &Survey| survey.written("_hubbleflow/checkpoints").len();
    assert_eq!(count(&in_memory), 0);
    assert!(
        count(&storing) > 1,
        "nothing was stored, so nothing is tested"
    );

    assert_eq!(records(&whole), records(&stored));
    let files = |survey: &Survey| survey.written("_hubbleflow/staging");
    assert!(files(&in_memory) == files(&storing), "the bytes differ");
    assert!(
        files(&in_memory).len() > 3,
        "three parts of photoz/ at least, and rejects"
    );
}

#[test]
fn rows_of_all_parts_are_all_rows() {
    let (survey, plan) = survey();
    let staged = stage(&survey, &plan, u64::MAX);
    assert_eq!(staged.len(), 3, "one for each part");
    let mut rows = connectors::ledger::RowCounts::default();
    staged.iter().for_each(|staged| rows += staged.rows);
    assert!(rows.balance() && rows.read == 400, "{rows:?}");
    // The eighth object has the ids of the first; of the other rows, ten have an r.a. beyond 360.
    assert!(rows.rejected >= 50 && rows.written > 300, "{rows:?}");
    assert_eq!(
        records(&staged)
            .iter()
            .map(|record| record.rows)
            .sum::<u64>(),
        400
    );
}

#[test]
fn a_panic_while_a_part_is_encoded_fails_its_drop() {
    // It ended the run, and all of its drops.
    let survey = Survey::new();
    let writer = survey.writer(u64::MAX);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let piece = Piece {
        part: 0,
        folder: Folder::Photoz,
        object: "drop/a.parquet".to_owned(),
        object_index: 0,
        // What makes a part of these rows looks for columns that are not there.
        rows: RecordBatch::try_from_iter([("object_id", ids)]).unwrap(),
    };
    let parcel = Parcel {
        drop: "drop".to_owned(),
        attempt: "attempt".to_owned(),
        part: 0,
        content: Content::Rows(piece),
        tally: Tally::default(),
    };
    let staged = timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let parcels = [parcel].to_stream(scope).container::<Vec<_>>();
            parcels.write(&writer).capture()
        })
    });
    let failures: Vec<String> = items(staged)
        .into_iter()
        .flat_map(|(_time, staged)| staged.failures)
        .collect();
    let said = "memory:/out/photoz/drop, part 0: its rows cannot be written: panicked: pieces carry the column";
    assert!(
        failures.len() == 1 && failures[0].starts_with(said),
        "{failures:?}"
    );
}
