//! Two runs at once on one output: each drop is committed once, in any order and with any pause.
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use testkit::{
    gate::{HoldPoint, RequestHead, Verdict, start_gate},
    outputs::{committed, committed_drops, ledger, staged_files},
    program::Program,
    running::Running,
    s3::S3,
    survey::{SURVEY_DROPS, model, other_model, run_catalog, survey},
    tree::{assert_same, copy_tree, folder},
};

/// Asserts that no harm is done if one run sleeps before a request while a second run goes from start to end.
fn assert_harmless_sleep(
    before: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
    is_abandoned: bool,
) {
    let undisturbed = folder();
    run_catalog(survey(), &undisturbed).ends(0);
    let (s3, sleeper) = while_asleep(before, "", model(), "");
    sleeper.ends(0);

    let out = s3.bucket().join("out");
    assert_same(&committed(undisturbed.path()), &committed(&out));
    assert_eq!(
        committed_drops(&out),
        SURVEY_DROPS,
        "a drop is missing or committed twice"
    );
    let is_void = |entry: &Value| entry["kind"] == "abandoned";
    assert!(!is_abandoned || ledger(&out).iter().any(is_void));
    assert!(staged_files(&out).is_empty());
    Program::new(["verify", "s3://sky/out"]).on_s3(&s3).ends(0);
}

/// Stops a run before a request, runs a second run from start to end, and lets the first run continue.
fn while_asleep(
    before: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
    own_flags: &str,
    model_of_another: &Path,
    flags: &str,
) -> (S3, Running) {
    let (s3, hold_point) = (S3::start(), HoldPoint::default());
    copy_tree(survey(), &s3.bucket().join("survey"));
    let (held, endpoint) = (hold_point.clone(), s3.endpoint());
    let gate = start_gate(move |head| {
        if before(head) {
            held.hold();
        }
        Verdict::Pass(endpoint.clone())
    });
    let run = |model| Program::on("run", "s3://sky/survey", "s3://sky/out", model).on_s3(&s3);
    let sleeper = run(model())
        .with(own_flags)
        .env("AWS_ENDPOINT_URL", &gate)
        .start();
    hold_point.wait_until_reached();
    sleeper.signal("STOP");
    run(model_of_another).with(flags).ends(0);
    sleeper.signal("CONT");
    hold_point.release();
    (s3, sleeper)
}

fn writes(head: &RequestHead, what: &str) -> bool {
    head.method() == "PUT" && head.target().contains(what)
}

#[test]
fn a_run_may_sleep_before_it_stages() {
    assert_harmless_sleep(|head| writes(head, "_hubbleflow/staging/"), false);
}

#[test]
fn a_run_may_sleep_before_it_commits() {
    assert_harmless_sleep(|head| writes(head, "_hubbleflow/ledger/"), true);
}

#[test]
fn a_run_may_sleep_before_it_publishes() {
    assert_harmless_sleep(|head| writes(head, "out/photoz/"), false);
}

#[test]
fn a_run_may_sleep_before_its_second_commit() {
    let commits = Arc::new(AtomicUsize::new(0));
    let second = move |head: &RequestHead| {
        writes(head, "_hubbleflow/ledger/") && commits.fetch_add(1, Ordering::SeqCst) > 0
    };
    assert_harmless_sleep(second, false);
}

/// Regression: the rows of the abandoned attempt counted against the limit. The run committed nothing and ended with 0.
#[test]
fn a_limited_run_whose_attempt_is_abandoned_tries_again() {
    let before = |head: &RequestHead| writes(head, "_hubbleflow/ledger/");
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
fn a_run_may_sleep_while_another_model_predicts() {
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
        // A spec-z drop has no predictions, so it is committed with any model.
        assert_eq!(committed_drops(&out), ["drop-0001", "drop-0003-specz"]);
        assert!(staged_files(&out).is_empty());
        Program::new(["verify", "s3://sky/out"]).on_s3(&s3).ends(0);
    }
}

/// Regression: a spec-z drop that was planned after another model's commit failed, although it has no predictions.
#[test]
fn spec_z_is_committed_whichever_model_has_predicted_meanwhile() {
    let footer = HoldPoint::default();
    let held = footer.clone();
    let before = move |head: &RequestHead| {
        if head.method() == "GET" && head.target().contains("/drop-0003-specz/") {
            held.hold();
        }
        writes(head, "_hubbleflow/ledger/")
    };
    let (s3, sleeper) = while_asleep(before, "", other_model(), "--drop drop-0001");
    // It failed, or the other run has abandoned its attempt: then it is planned again, behind the drop that is held.
    sleeper.wait_for_message("drop-0002: ");
    footer.release();
    sleeper.ends(3);
    let out = s3.bucket().join("out");
    assert_eq!(committed_drops(&out), ["drop-0001", "drop-0003-specz"]);
}

#[test]
fn two_runs_at_once_share_the_work() {
    let (out, undisturbed) = (folder(), folder());
    run_catalog(survey(), &undisturbed).ends(0);
    let runs = [(); 3].map(|()| run_catalog(survey(), &out).with("--threads 1").start());
    for run in runs {
        run.ends(0);
    }
    assert_same(&committed(undisturbed.path()), &committed(out.path()));
    assert_eq!(committed_drops(out.path()), SURVEY_DROPS);
    assert!(staged_files(out.path()).is_empty());
}
