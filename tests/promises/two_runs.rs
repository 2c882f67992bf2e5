//! Two runs at once on one output: each drop is committed once, whoever is faster, and whoever sleeps in between.
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;

use crate::{
    gate::{Head, Moment, Verdict, gate},
    survey::{
        Program, Running, S3, assert_same, committed, copy, drops, folder, ledger, model,
        other_model, survey, tree,
    },
};

const DROPS: [&str; 3] = ["drop-0001", "drop-0002", "drop-0003-specz"];

/// One run falls asleep when it is about to make a request, another runs from start to end, and the first wakes up.
fn sleeps(before: impl Fn(&Head) -> bool + Send + Sync + 'static, is_abandoned: bool) {
    let undisturbed = folder();
    Program::run(survey(), &undisturbed).ends(0);
    let (s3, sleeper) = while_asleep(before, "", model(), "");
    sleeper.ends(0);

    let out = s3.bucket().join("out");
    assert_same(&committed(undisturbed.path()), &committed(&out));
    assert_eq!(names(&out), DROPS, "each drop is committed once");
    let is_void = |entry: &Value| entry["kind"] == "abandoned";
    assert!(!is_abandoned || ledger(&out).iter().any(is_void));
    assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    Program::new(["verify", "s3://sky/out"]).at(&s3).ends(0);
}

/// A run that has slept before a request while another ran from start to end; it is awake now.
fn while_asleep(
    before: impl Fn(&Head) -> bool + Send + Sync + 'static,
    own_flags: &str,
    model_of_another: &Path,
    flags: &str,
) -> (S3, Running) {
    let (s3, moment) = (S3::start(), Moment::default());
    copy(survey(), &s3.bucket().join("survey"));
    let (held, endpoint) = (moment.clone(), s3.endpoint());
    let gate = gate(move |head| {
        if before(head) {
            held.hold();
        }
        Verdict::Pass(endpoint.clone())
    });
    let run = |model| Program::on("run", "s3://sky/survey", "s3://sky/out", model).at(&s3);
    let sleeper = run(model())
        .with(own_flags)
        .env("AWS_ENDPOINT_URL", &gate)
        .runs();
    moment.wait();
    sleeper.signal("STOP");
    run(model_of_another).with(flags).ends(0);
    sleeper.signal("CONT");
    moment.end();
    (s3, sleeper)
}

/// The drops that were committed, in the order of their names.
fn names(out: &Path) -> Vec<String> {
    let mut names = drops(out);
    names.retain(|name| !name.is_empty());
    names.sort();
    names
}

fn writes(head: &Head, what: &str) -> bool {
    head.method() == "PUT" && head.target().contains(what)
}

#[test]
fn a_run_sleeps_before_it_stages() {
    sleeps(|head| writes(head, "_hubbleflow/staging/"), false);
}

#[test]
fn a_run_sleeps_before_it_commits() {
    sleeps(|head| writes(head, "_hubbleflow/ledger/"), true);
}

#[test]
fn a_run_sleeps_before_it_publishes() {
    sleeps(|head| writes(head, "out/photoz/"), false);
}

#[test]
fn a_run_sleeps_before_its_second_commit() {
    let commits = Arc::new(AtomicUsize::new(0));
    let second = move |head: &Head| {
        writes(head, "_hubbleflow/ledger/") && commits.fetch_add(1, Ordering::SeqCst) > 0
    };
    sleeps(second, false);
}

/// Its rows were counted as taken: nothing was tried again, nothing was committed, and the exit code was 0.
#[test]
fn a_limited_run_whose_attempt_is_abandoned_tries_again() {
    let before = |head: &Head| writes(head, "_hubbleflow/ledger/");
    let (s3, sleeper) = while_asleep(before, "--limit 5", model(), "--drop drop-0002");
    let ended = sleeper.ends(0);
    ended.says(&[
        "drop-0001: another run has abandoned this attempt",
        "drop-0001: committed as",
    ]);
    let committed = ledger(&s3.bucket().join("out"));
    let rows: Vec<_> = committed
        .iter()
        .filter(|entry| entry["drop"] == "drop-0001")
        .map(|entry| entry["rows"]["read"].clone())
        .collect();
    assert_eq!(rows, [5]);
}

#[test]
fn a_run_sleeps_while_another_model_predicts() {
    for place in ["_hubbleflow/staging/", "_hubbleflow/ledger/"] {
        let (s3, sleeper) = while_asleep(
            move |head| writes(head, place),
            "",
            other_model(),
            "--drop drop-0001",
        );
        let told = sleeper.ends(3);
        told.says(&[
            "drop-0002: FAILED",
            "model",
            "drop drop-0001",
            "--model-change",
        ]);
        let out = s3.bucket().join("out");
        // What a model has not predicted it cannot mix.
        assert_eq!(names(&out), ["drop-0001", "drop-0003-specz"]);
        assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
        Program::new(["verify", "s3://sky/out"]).at(&s3).ends(0);
    }
}

#[test]
fn two_runs_at_once_share_the_work() {
    let (out, undisturbed) = (folder(), folder());
    Program::run(survey(), &undisturbed).ends(0);
    let runs = [(); 3].map(|()| Program::run(survey(), &out).with("--threads 1").runs());
    for run in runs {
        run.ends(0);
    }
    assert_same(&committed(undisturbed.path()), &committed(out.path()));
    assert_eq!(names(out.path()), DROPS);
    assert!(tree(&out.path().join("_hubbleflow/staging")).is_empty());
}
