//! A full disk: the message says so, no committed file is lost, and a later run with free space completes.
use testkit::{
    gate::{Verdict, start_gate},
    outputs::{committed, staged_files},
    program::Program,
    s3::S3,
    survey::{run_catalog, survey},
    tree::{assert_same, copy_tree, folder, text},
};

const WORDS: [&str; 2] = ["there is no room left to write it", "run again"];

#[test]
fn a_full_disk_fails_the_drop_and_a_later_run_completes() {
    let (out, undisturbed) = (folder(), folder());
    run_catalog(survey(), &undisturbed).ends(0);
    run_catalog(survey(), &out)
        .with("--drop drop-0003-specz")
        .ends(0);
    let before = committed(out.path());
    // The ledger's entries fit into 4 KiB, the predictions do not.
    let ended = run_catalog(survey(), &out)
        .with_file_size_limit_kib(4)
        .ends(3);
    ended.says(&["drop-0001: FAILED", "drop-0002: FAILED", "File too large"]);
    ended.says(&WORDS);
    let object = format!("{}/_hubbleflow/staging/", text(out.path()));
    ended.says(&[&object]);
    assert_same(&before, &committed(out.path()));
    run_catalog(survey(), &out).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(out.path()));
    assert!(staged_files(out.path()).is_empty());
    Program::new(["verify", &text(out.path())]).ends(0);
}

#[test]
fn a_full_disk_on_which_nothing_can_be_written_ends_the_run() {
    let out = folder();
    run_catalog(survey(), &out)
        .with_file_size_limit_kib(0)
        .ends(1)
        .says(&WORDS);
    run_catalog(survey(), &out).ends(0);
}

#[test]
fn a_full_bucket_fails_the_drop_and_a_later_run_completes() {
    let (s3, undisturbed) = (S3::start(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    run_catalog(survey(), &undisturbed).ends(0);
    let endpoint = s3.endpoint();
    let full = start_gate(move |head| {
        if head.method() == "PUT" && head.target().contains("/staging/") {
            return Verdict::Answer(
                "507 Insufficient Storage",
                "<Error><Code>XMinioStorageFull</Code></Error>",
            );
        }
        Verdict::Pass(endpoint.clone())
    });
    let run = || run_catalog("s3://sky/survey", "s3://sky/out").on_s3(&s3);
    let ended = run().env("AWS_ENDPOINT_URL", &full).ends(3);
    ended.says(&[
        "s3://sky/out/_hubbleflow/staging/",
        "507 Insufficient Storage",
    ]);
    ended.says(&WORDS);
    run().ends(0);
    let out = s3.bucket().join("out");
    assert_same(&committed(undisturbed.path()), &committed(&out));
    assert!(staged_files(&out).is_empty());
}
