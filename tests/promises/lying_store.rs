//! An S3 that answers 200 to a request that failed: the run notices, and publishes only what has arrived.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use testkit::{
    gate::{RequestHead, Verdict, start_gate},
    outputs::{committed, drops, staged_files},
    program::Program,
    s3::S3,
    survey::{CPU_FLOAT32, run_catalog, survey, undisturbed_run},
    tree::{assert_same, copy_tree},
};

/// The answer that S3 may give to a copy that failed.
const ERROR_WITH_STATUS_200: Verdict = Verdict::Answer(
    "200 OK",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>ServiceUnavailable</Code></Error>",
);

fn copies(head: &RequestHead) -> bool {
    head.method() == "PUT"
        && ["photoz", "rejects"]
            .iter()
            .any(|folder| head.target().contains(&format!("out/{folder}")))
}

/// Regression: the copy failed, the stage was cleared, and the run reported the drop as committed.
#[test]
fn an_error_inside_a_200_answer_is_retried() {
    let (s3, expected) = (S3::start(), undisturbed_run(survey(), CPU_FLOAT32));
    let lies = AtomicUsize::new(0);
    let [run, _] = behind_a_gate(&s3, move |head| {
        let lie = copies(head) && lies.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        lie.then_some(ERROR_WITH_STATUS_200)
    });
    run.start().ends(0);
    let out = s3.bucket().join("out");
    assert_same(&expected, &committed(&out));
    assert!(staged_files(&out).is_empty());
    Program::new(["verify", "s3://sky/out"]).on_s3(&s3).ends(0);
}

#[test]
fn a_copy_that_did_not_arrive_is_not_published() {
    for answer in [("200 OK", ""), ("200 OK", "<CopyObjectResult/>")] {
        let (s3, expected) = (S3::start(), undisturbed_run(survey(), CPU_FLOAT32));
        let [run, again] = behind_a_gate(&s3, move |head| {
            copies(head).then_some(Verdict::Answer(answer.0, answer.1))
        });
        let ended = run.start().ends(3);
        ended.says(&[
            "drop-0001: FAILED",
            "the store reported success",
            "the next run publishes the rest",
        ]);
        let out = s3.bucket().join("out");
        assert!(!staged_files(&out).is_empty());
        again.start().ends(0);
        assert_same(&expected, &committed(&out));
        assert!(staged_files(&out).is_empty());
    }
}

/// Regression: a listing with an error inside was read as a catalog without drops.
#[test]
fn a_failed_listing_is_not_an_empty_catalog() {
    let s3 = S3::start();
    let first = AtomicBool::new(true);
    let [run, _] = behind_a_gate(&s3, move |head| {
        let lists = head.target().contains("list-type=2") && head.target().contains("survey");
        (lists && first.swap(false, Ordering::SeqCst)).then_some(ERROR_WITH_STATUS_200)
    });
    run.start().ends(0);
    assert_eq!(drops(&s3.bucket().join("out")).len(), 3);
}

/// Copies the survey into a bucket. Returns a run behind a gate, and the same run without the gate.
fn behind_a_gate(
    s3: &S3,
    judge: impl Fn(&RequestHead) -> Option<Verdict> + Send + Sync + 'static,
) -> [Program; 2] {
    copy_tree(survey(), &s3.bucket().join("survey"));
    let endpoint = s3.endpoint();
    let gate =
        start_gate(move |head| judge(head).unwrap_or_else(|| Verdict::Pass(endpoint.clone())));
    let run = || {
        run_catalog("s3://sky/survey", "s3://sky/out")
            .with(CPU_FLOAT32)
            .on_s3(s3)
    };
    [run().env("AWS_ENDPOINT_URL", &gate), run()]
}
