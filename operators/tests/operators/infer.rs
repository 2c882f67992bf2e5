use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use arrow::{
    array::AsArray,
    datatypes::{Float32Type, Int64Type},
};
use connectors::part::{Folder, Piece};
use hubbleflow_operators::{ChunkResult, Inference, Predictions};
use models::Error;
use timely::dataflow::operators::Capture;

use crate::survey::{Row, Survey, inference, items, noting, photoz, tenth};

/// The results of all splits of a survey.
fn predicted(survey: &Survey, inference: Inference) -> Vec<ChunkResult> {
    let splits: Vec<_> = survey
        .plan()
        .into_iter()
        .flat_map(|plan| plan.splits)
        .collect();
    let reader = survey.reader();
    let predictions = timely::execute_directly(move |worker| {
        worker.dataflow(|scope| photoz(scope, splits, &reader, &inference).capture())
    });
    let chunks = items(predictions).into_iter();
    chunks
        .map(|(_time, predictions)| match predictions {
            Predictions::Chunk(chunk) => chunk,
            Predictions::Adopted(_) => panic!("nothing is there to adopt"),
        })
        .collect()
}

fn pieces(chunks: &[ChunkResult]) -> impl Iterator<Item = &Piece> {
    let pieces = chunks.iter().filter_map(|chunk| chunk.pieces.as_ref().ok());
    pieces.flatten()
}

/// Ids and redshifts of the predicted rows.
fn redshifts(chunks: &[ChunkResult]) -> Vec<(i64, f32)> {
    let mut redshifts = Vec::new();
    for piece in pieces(chunks) {
        if piece.folder == Folder::Photoz {
            let ids = piece.rows["object_id"]
                .as_primitive::<Int64Type>()
                .values()
                .iter()
                .copied();
            redshifts.extend(
                ids.zip(
                    piece.rows["z_phot"]
                        .as_primitive::<Float32Type>()
                        .values()
                        .iter()
                        .copied(),
                ),
            );
        }
    }
    redshifts.sort_by_key(|(id, _)| *id);
    redshifts
}

#[test]
fn batches_are_filled_and_never_cross_a_split() {
    let survey = Survey::new();
    for object in 0..3_i64 {
        let rows: Vec<Row> = (0..10)
            .map(|row| Row::with_mag_r(10 * object + row, (10 + object) as f32))
            .collect();
        survey.put(&format!("drop/{object}.parquet"), &rows);
    }
    let batches = Arc::new(Mutex::new(Vec::new()));
    let chunks = predicted(&survey, inference(2, 4, noting(&batches)));
    let mut batches = batches.lock().unwrap().clone();
    batches.sort_by(|a, b| a[0].total_cmp(&b[0]).then(b.len().cmp(&a.len())));
    let split = |mag: f32| [vec![mag; 4], vec![mag; 4], vec![mag; 2]];
    assert_eq!(batches, [split(10.0), split(11.0), split(12.0)].concat());
    assert_eq!(
        redshifts(&chunks),
        Vec::from_iter((0..30).map(|id| (id, (10 + id / 10) as f32 / 10.0)))
    );
}

#[test]
fn threads_share_the_batches_of_a_split() {
    let survey = Survey::new();
    let rows: Vec<Row> = (0..8).map(|row| Row::with_mag_r(row, 10.0)).collect();
    survey.put("drop/0.parquet", &rows);
    let (arrived, both) = (Mutex::new(0), Condvar::new());
    // Answers when two batches are asked about at once.
    let together = move |mags: &[f32]| {
        let mut arrived = arrived.lock().unwrap();
        *arrived += 1;
        both.notify_all();
        let (minute, alone) = (Duration::from_secs(60), |arrived: &mut i32| *arrived < 2);
        let waited = both.wait_timeout_while(arrived, minute, alone).unwrap().1;
        match waited.timed_out() {
            true => Err(Error::Inputs("nobody else came".to_owned())),
            false => tenth(mags),
        }
    };
    let chunks = predicted(&survey, inference(2, 4, together));
    assert_eq!(
        redshifts(&chunks),
        Vec::from_iter((0..8).map(|id| (id, 1.0)))
    );
}

#[test]
fn rows_that_are_rejected_or_withdrawn_are_not_shown_to_the_model() {
    let survey = Survey::new();
    let mut rows: Vec<Row> = (0..6)
        .map(|row| Row::with_mag_r(row, 10.0 + row as f32))
        .collect();
    rows[1].mags[0] = None;
    rows[4].deleted = true;
    survey.put("drop/0.parquet", &rows);
    let batches = Arc::new(Mutex::new(Vec::new()));
    predicted(&survey, inference(1, 3, noting(&batches)));
    assert_eq!(
        *batches.lock().unwrap(),
        [vec![10.0, 12.0, 13.0], vec![15.0]]
    );
}

#[test]
fn what_is_no_number_is_rejected() {
    let survey = Survey::new();
    survey.put(
        "drop/0.parquet",
        &[
            Row::with_mag_r(0, 10.0),
            Row::with_mag_r(1, 20.0),
            Row::with_mag_r(2, 30.0),
        ],
    );
    let no_number = |mag: f32| {
        if mag == 10.0 {
            1.0
        } else {
            f32::NAN / (mag - 30.0)
        }
    };
    let chunks = predicted(
        &survey,
        inference(1, 8, move |mags| {
            Ok(mags.iter().map(|mag| no_number(*mag)).collect())
        }),
    );
    assert_eq!(redshifts(&chunks), [(0, 1.0)]);
    let rejects: Vec<_> = pieces(&chunks)
        .filter(|piece| piece.folder == Folder::Rejects)
        .collect();
    assert_eq!(rejects.len(), 1);
    let reasons: Vec<_> = rejects[0].rows["reason"]
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect();
    assert_eq!(
        reasons,
        ["the model predicts NaN", "the model predicts NaN"]
    );
}

#[test]
fn an_error_of_the_model_fails_its_split_and_no_other() {
    let survey = Survey::new();
    for object in 0..3_i64 {
        survey.put(
            &format!("drop/{object}.parquet"),
            &[Row::with_mag_r(object, 10.0 * (object + 1) as f32)],
        );
    }
    let fails_at_20 = |mags: &[f32]| {
        if mags[0] == 20.0 {
            Err(Error::Inputs("dark".to_owned()))
        } else {
            tenth(mags)
        }
    };
    let chunks = predicted(&survey, inference(2, 8, fails_at_20));
    assert_eq!(redshifts(&chunks), [(0, 1.0), (2, 3.0)]);
    let failures: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk.pieces.as_ref().err())
        .collect();
    assert_eq!(failures.len(), 1);
    assert!(
        failures[0].contains("drop/1.parquet") && failures[0].contains("dark"),
        "{}",
        failures[0]
    );
}

#[test]
fn a_model_that_answers_for_too_few_rows_fails_its_split() {
    let survey = Survey::new();
    survey.put("drop/0.parquet", &[Row::galaxy(0), Row::galaxy(1)]);
    let chunks = predicted(&survey, inference(1, 8, |mags| Ok(mags[1..].to_vec())));
    assert!(chunks.len() == 1 && chunks[0].pieces.is_err(), "{chunks:?}");
}

/// The message of a worker that stops because of what a model does with magnitude 20, in the second of three files.
fn stopped_at_20(at_20: fn() -> Result<Vec<f32>, Error>) -> String {
    let survey = Survey::new();
    for object in 0..3_i64 {
        survey.put(
            &format!("drop/{object}.parquet"),
            &[Row::with_mag_r(object, 10.0 * (object + 1) as f32)],
        );
    }
    let answer = move |mags: &[f32]| match mags[0] == 20.0 {
        true => at_20(),
        false => tenth(mags),
    };
    let run = catch_unwind(AssertUnwindSafe(|| {
        predicted(&survey, inference(2, 8, answer))
    }));
    *run.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn a_model_that_panics_stops_the_worker_and_is_named() {
    let message = stopped_at_20(|| panic!("no galaxy is that faint"));
    let words = [
        "model panicked",
        "drop/1.parquet",
        "no galaxy is that faint",
    ];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}

#[test]
fn a_device_that_has_failed_stops_the_worker() {
    let message = stopped_at_20(|| Err(Error::Device("cuda:0 has failed".to_owned())));
    let words = ["drop/1.parquet", "cuda:0 has failed"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
}
