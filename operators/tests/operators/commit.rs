use std::sync::{Arc, Barrier, Mutex};

use connectors::{
    DropPlan, Ledger,
    ledger::RowCounts,
    split::{Source, Splits},
};
use hubbleflow_operators::{
    Checkpoint, Commit, Committer, Infer, Inference, Outcome, Read, Settled, Shutdown, Unfinished,
    Validate, Write,
    feed::{feed, feeder},
};
use models::Error;
use timely::dataflow::operators::{Capture, vec::Map};

use crate::survey::{CLOCK, RULES, Row, Survey, inference, items, tenth};

/// Takes drops through the whole dataflow; answers them as they were settled, with their times.
fn settle(survey: &Survey, plans: Vec<DropPlan>, inference: Inference) -> Vec<(u64, Settled)> {
    settle_by(survey, plans, inference, committer(survey))
}

fn committer(survey: &Survey) -> Committer {
    let ledger = survey
        .runtime
        .block_on(Ledger::open(survey.output.location()))
        .unwrap();
    Committer {
        output: survey.output.clone(),
        ledger: Arc::new(tokio::sync::Mutex::new(ledger)),
        model_id: "0123456789abcdef".to_owned(),
        engine: "0.0.0".to_owned(),
        settings: serde_json::json!({"batch": 8}),
        unfinished: Unfinished::default(),
        shutdown: Shutdown::default(),
        runtime: survey.runtime.handle().clone(),
    }
}

fn settle_by(
    survey: &Survey,
    plans: Vec<DropPlan>,
    inference: Inference,
    committer: Committer,
) -> Vec<(u64, Settled)> {
    let (reader, writer) = (survey.reader(), survey.writer(u64::MAX));
    let checkpointer = survey.checkpointer(u64::MAX);
    let (feeder, drops) = feeder();
    plans.into_iter().for_each(|plan| assert!(feeder.put(plan)));
    drop(feeder);
    let drops = Mutex::new(drops);
    let settled = timely::execute_directly(move |worker| {
        worker.dataflow(|scope| {
            let drops = feed(scope, drops.into_inner().ok());
            let splits = drops.clone().flat_map(|drop| drop.plan.splits);
            let photoz = splits
                .read(&reader)
                .validate(RULES.clone(), CLOCK)
                .infer(&inference);
            photoz
                .checkpoint(&checkpointer)
                .write(&writer)
                .commit(drops, &committer)
                .capture()
        })
    });
    items(settled)
}

/// A drop of an object with a row of each of these r magnitudes.
fn put(survey: &Survey, drop: &str, mags: &[f32]) {
    let rows: Vec<Row> = mags
        .iter()
        .zip(0..)
        .map(|(mag, id)| Row::with_mag_r(id, *mag))
        .collect();
    survey.put(&format!("{drop}/0.parquet"), &rows);
}

fn entries(survey: &Survey) -> Vec<(u64, String, RowCounts)> {
    let ledger = survey
        .runtime
        .block_on(Ledger::open(survey.output.location()))
        .unwrap();
    ledger
        .entries()
        .iter()
        .map(|entry| (entry.sequence, entry.drop.clone(), entry.rows))
        .collect()
}

fn outcomes(settled: &[(u64, Settled)]) -> Vec<(u64, &str, &Outcome)> {
    settled
        .iter()
        .map(|(time, settled)| (*time, settled.drop.as_str(), &settled.outcome))
        .collect()
}

fn predicted(rows: u64) -> RowCounts {
    RowCounts {
        read: rows,
        written: rows,
        learned: 0,
        rejected: 0,
    }
}

#[test]
fn drops_commit_in_order_though_a_later_one_is_done_first() {
    let survey = Survey::new();
    for (drop, mag) in [("a", 10.0), ("b", 20.0), ("c", 30.0)] {
        put(&survey, drop, &[mag, mag]);
    }
    // The first drop's rows are held up until those of the last are predicted.
    let meet = Arc::new(Barrier::new(2));
    let first_waits_for_last = move |mags: &[f32]| {
        if mags[0] != 20.0 {
            meet.wait();
        }
        tenth(mags)
    };
    let settled = settle(
        &survey,
        survey.plan(),
        inference(2, 8, first_waits_for_last),
    );
    let committed = [1, 2, 3].map(Outcome::Committed);
    assert_eq!(
        outcomes(&settled),
        [
            (0, "a", &committed[0]),
            (1, "b", &committed[1]),
            (2, "c", &committed[2])
        ]
    );
    let entry = |sequence, drop: &str| (sequence, drop.to_owned(), predicted(2));
    assert_eq!(
        entries(&survey),
        [entry(1, "a"), entry(2, "b"), entry(3, "c")]
    );
    assert_eq!(survey.written("photoz").len(), 3);
    assert_eq!(
        survey.written("_hubbleflow/staging"),
        [],
        "what is committed needs no stage"
    );
}

#[test]
fn a_failure_fails_its_drop_and_no_other() {
    let survey = Survey::new();
    for drop in ["a", "b", "c", "d"] {
        put(&survey, drop, &[if drop == "b" { 20.0 } else { 10.0 }]);
    }
    // Another object of the failing drop is good: what it staged goes too.
    survey.put("b/1.parquet", &[Row::with_mag_r(77, 10.0)]);
    let mut plans = survey.plan();
    plans[2].failure = Some("no galaxies here".to_owned());
    plans[2].splits = Splits::default();
    let fails_at_20 = |mags: &[f32]| {
        if mags[0] == 20.0 {
            Err(Error::Inputs("dark".to_owned()))
        } else {
            tenth(mags)
        }
    };
    let settled = settle(&survey, plans, inference(2, 8, fails_at_20));
    let drops: Vec<_> = outcomes(&settled);
    assert_eq!(
        (drops[0], drops[3]),
        (
            (0, "a", &Outcome::Committed(1)),
            (3, "d", &Outcome::Committed(2))
        )
    );
    for (drop, reason) in [(1, "dark"), (2, "no galaxies here")] {
        let Outcome::Failed(reasons) = drops[drop].2 else {
            panic!("{:?}", drops[drop])
        };
        assert!(
            reasons.len() == 1 && reasons[0].contains(reason),
            "{reasons:?}"
        );
    }
    assert_eq!(
        entries(&survey),
        [
            (1, "a".to_owned(), predicted(1)),
            (2, "d".to_owned(), predicted(1))
        ]
    );
    let published = survey.written("photoz");
    assert!(
        published.iter().all(|(path, _)| !path.contains("/b/")),
        "a failed drop was published"
    );
    assert_eq!(
        survey.written("_hubbleflow/staging"),
        [],
        "a failed drop leaves nothing staged"
    );
}

#[test]
fn counts_that_do_not_match_the_plan_fail_the_drop() {
    let survey = Survey::new();
    put(&survey, "a", &[10.0, 11.0]);
    let mut plans = survey.plan();
    plans[0].rows += 1;
    let settled = settle(&survey, plans, inference(1, 8, tenth));
    let Outcome::Failed(reasons) = &settled[0].1.outcome else {
        panic!("{settled:?}")
    };
    assert_eq!(
        *reasons,
        ["3 rows were promised by the footers, and 2 came through"]
    );
    assert_eq!(entries(&survey), []);
}

#[test]
fn a_drop_that_another_run_committed_is_overtaken() {
    let survey = Survey::new();
    put(&survey, "a", &[10.0]);
    let mut plans = survey.plan();
    let ours = settle(&survey, plans.clone(), inference(1, 8, tenth));
    // Another run began when nothing was committed yet, and comes second.
    plans[0].attempt = "another".to_owned();
    plans[0].splits = Splits::new(Source {
        attempt: "another".to_owned(),
        ..plans[0].splits.source().clone()
    });
    let theirs = settle(&survey, plans, inference(1, 8, tenth));
    assert_eq!(
        (&ours[0].1.outcome, &theirs[0].1.outcome),
        (&Outcome::Committed(1), &Outcome::Overtaken(1))
    );
    assert_eq!(entries(&survey).len(), 1);
    assert_eq!(survey.written("_hubbleflow/staging"), []);
}

#[test]
fn an_object_that_was_replaced_fails_its_drop() {
    let survey = Survey::new();
    put(&survey, "a", &[10.0]);
    put(&survey, "b", &[10.0]);
    let plans = survey.plan();
    put(&survey, "a", &[10.0, 12.0]);
    let settled = settle(&survey, plans, inference(1, 8, tenth));
    // The footer is kept since planning; the rows are not read from another object.
    let Outcome::Failed(reasons) = &settled[0].1.outcome else {
        panic!("{settled:?}")
    };
    assert!(
        reasons[0].contains("changed since its drop was listed"),
        "{reasons:?}"
    );
    assert_eq!(settled[1].1.outcome, Outcome::Committed(1));
}

/// Of a drop that failed while the ledger could not be read, only the latter was told.
#[test]
fn the_reasons_of_a_failure_are_told_though_the_ledger_cannot_be_read() {
    let survey = Survey::new();
    put(&survey, "a", &[10.0]);
    let mut plans = survey.plan();
    plans[0].failure = Some("no galaxies here".to_owned());
    plans[0].splits = Default::default();
    let committer = committer(&survey);
    let place = survey.output.location();
    let entry = "_hubbleflow/ledger/00000000000000000001.json";
    let created = survey.runtime.block_on(place.create(entry, "no entry"));
    assert!(created.unwrap());
    let settled = settle_by(&survey, plans, inference(1, 8, tenth), committer);
    let Outcome::Failed(reasons) = &settled[0].1.outcome else {
        panic!("{settled:?}")
    };
    assert_eq!(reasons[0], "no galaxies here");
    assert!(reasons[1].contains("is no ledger entry"), "{reasons:?}");
}
