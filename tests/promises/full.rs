//! A full disk: it is called so, nothing that is committed is lost, and when there is room again a run completes.
use crate::{
    gate::{Verdict, gate},
    survey::{Program, S3, assert_same, committed, copy, folder, survey, text, tree},
};

const WORDS: [&str; 2] = ["there is no room left to write it", "run again"];

#[test]
fn a_full_disk_fails_the_drop_and_a_later_run_completes() {
    let (out, undisturbed) = (folder(), folder());
    Program::run(survey(), &undisturbed).ends(0);
    Program::run(survey(), &out)
        .with("--drop drop-0003-specz")
        .ends(0);
    let before = committed(out.path());
    // Files may have 4 kB and no more: the ledger's entries do, predictions do not.
    let ended = Program::run(survey(), &out)
        .with_files_of_at_most(4)
        .ends(3);
    ended.says(&["drop-0001: FAILED", "drop-0002: FAILED", "File too large"]);
    ended.says(&WORDS);
    let object = format!("{}/_hubbleflow/staging/", text(out.path()));
    ended.says(&[&object]);
    assert_same(&before, &committed(out.path()));
    Program::run(survey(), &out).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(out.path()));
    assert!(tree(&out.path().join("_hubbleflow/staging")).is_empty());
    Program::new(["verify", &text(out.path())]).ends(0);
}

#[test]
fn a_full_disk_on_which_nothing_can_be_written_ends_the_run() {
    let out = folder();
    Program::run(survey(), &out)
        .with_files_of_at_most(0)
        .ends(1)
        .says(&WORDS);
    Program::run(survey(), &out).ends(0);
}

#[test]
fn a_full_bucket_fails_the_drop_and_a_later_run_completes() {
    let (s3, undisturbed) = (S3::start(), folder());
    copy(survey(), &s3.bucket().join("survey"));
    Program::run(survey(), &undisturbed).ends(0);
    let endpoint = s3.endpoint();
    let full = gate(move |head| {
        if head.method() == "PUT" && head.target().contains("/staging/") {
            return Verdict::Answer(
                "507 Insufficient Storage",
                "<Error><Code>XMinioStorageFull</Code></Error>",
            );
        }
        Verdict::Pass(endpoint.clone())
    });
    let run = || Program::run("s3://sky/survey", "s3://sky/out").at(&s3);
    let ended = run().env("AWS_ENDPOINT_URL", &full).ends(3);
    ended.says(&[
        "s3://sky/out/_hubbleflow/staging/",
        "507 Insufficient Storage",
    ]);
    ended.says(&WORDS);
    run().ends(0);
    let out = s3.bucket().join("out");
    assert_same(&committed(undisturbed.path()), &committed(&out));
    assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
}
