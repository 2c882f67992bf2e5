//! Nothing silent: a store that refuses, lies or cannot be reached is reported, and no committed file is lost.
use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
};

use testkit::{
    galaxy_rows::write_good_drop,
    gate::{DENIED, Verdict, start_gate},
    outputs::{committed, staged_files},
    program::Program,
    protected::ProtectedOutput,
    s3::S3,
    survey::{run_catalog, survey},
    tree::{assert_same, copy_tree, folder},
};

#[test]
fn wrong_credentials_are_named() {
    let (s3, out) = (S3::start(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    let run = || run_catalog("s3://sky/survey", &out).on_s3(&s3);
    for wrong in [
        ("AWS_SECRET_ACCESS_KEY", "guess"),
        ("AWS_ACCESS_KEY_ID", "guess"),
    ] {
        let ended = run().env(wrong.0, wrong.1).ends(1);
        ended.says(&["s3://sky/survey", "access denied", "check the credentials"]);
    }
    run().ends(0);
}

#[test]
fn an_unreachable_store_ends_the_run() {
    // The listener is closed again, so nothing listens on its port.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let out = folder();
    let run = run_catalog("s3://sky/survey", &out).on_s3(&S3::start());
    run.env("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"))
        .ends(1)
        .says(&["s3://sky/survey", "the store failed"]);
}

#[test]
fn a_store_without_conditional_puts_is_refused() {
    let protected = ProtectedOutput::new();
    let run =
        run_catalog(&protected.catalog, "s3://sky/out").env("AWS_ENDPOINT_URL", &careless_store());
    let ended = run
        .env("AWS_SKIP_SIGNATURE", "true")
        .env("AWS_REGION", "us-east-1")
        .ends(1);
    ended.says(&[
        "s3://sky/out",
        "does not enforce create-if-absent",
        "use a store with conditional writes",
    ]);
}

/// An S3 server that ignores the condition of a put and accepts every put. Returns its endpoint.
fn careless_store() -> String {
    start_gate(|head| match head.method() {
        // The answer is as long as the object that the run has put, so it looks right.
        "HEAD" => Verdict::Answer("200 OK", "0123456789abcdef"),
        "PUT" => Verdict::Answer("200 OK", ""),
        "POST" => Verdict::Answer(
            "200 OK",
            "<DeleteResult><Deleted><Key>it</Key></Deleted></DeleteResult>",
        ),
        _ => Verdict::Answer("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
    })
}

#[test]
fn a_store_that_turns_read_only_loses_nothing() {
    let (catalog, s3, undisturbed) = (folder(), S3::start(), folder());
    let out = s3.bucket().join("out");
    let run = || run_catalog(&catalog, "s3://sky/out").on_s3(&s3);
    // A run makes seven writing requests: two creations and a deletion to check the store, then for its drop the stage,
    // the entry, the publishing and the clearing. Each run may make one request more than the run before, and the last
    // run may make all. The metrics are written concurrently, so they are always allowed.
    for (allowed, code) in [1, 1, 1, 3, 3, 3, 3, 0].into_iter().enumerate() {
        write_good_drop(
            catalog.path(),
            &format!("drop-{allowed}"),
            100 * allowed as i64,
        );
        let before = committed(&out);
        let (endpoint, writes) = (s3.endpoint(), AtomicUsize::new(0));
        let read_only = start_gate(move |head| {
            let counts = head.writes() && !head.target().contains("/metrics/");
            if counts && writes.fetch_add(1, Ordering::SeqCst) >= allowed {
                return DENIED;
            }
            Verdict::Pass(endpoint.clone())
        });
        let ended = run().env("AWS_ENDPOINT_URL", &read_only).ends(code);
        if code != 0 {
            ended.says(&[
                "s3://sky/out",
                "access denied",
                "what they may read and write",
            ]);
        }
        if allowed > 4 && code != 0 {
            ended.says(&["it is in the ledger as", "the next run publishes the rest"]);
        }
        let now = committed(&out);
        let lost = before
            .iter()
            .find(|(name, bytes)| now.get(*name) != Some(bytes))
            .map(|(name, _)| name);
        assert_eq!(lost, None, "after {allowed} writes");
        run().ends(0);
        assert!(staged_files(&out).is_empty());
    }
    run_catalog(&catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(&out));
}

#[test]
fn an_endpoint_that_is_not_a_url_is_refused() {
    let out = folder();
    for endpoint in ["minio:9000", "127.0.0.1:9000", "http://"] {
        let run = run_catalog("s3://sky/survey", &out).on_s3(&S3::start());
        run.env("AWS_ENDPOINT_URL", endpoint)
            .ends(2)
            .says(&["AWS_ENDPOINT_URL is", "must be like http://"]);
    }
}

#[test]
fn a_bad_variable_of_a_store_is_named() {
    let out = folder();
    for (catalog, name, value) in [
        ("s3://sky/x", "AWS_ENDPOINT_URL", "localhost:9000"),
        ("s3://sky/x", "AWS_ENDPOINT_URL_S3", "localhost:9000"),
        (
            "s3://sky/x",
            "AWS_ENDPOINT_URL",
            "http://user:secret@localhost:9000",
        ),
        ("gs://sky/x", "GOOGLE_BASE_URL", "localhost:9000"),
        ("s3://sky/x", "AWS_PROFILE", "no-such-profile"),
    ] {
        let run = run_catalog(catalog, &out).env(name, value).ends(2);
        run.says(&[name]);
        assert!(!run.stderr.contains("secret"), "{}", run.stderr);
    }
}

#[test]
fn a_sample_that_the_store_refuses_is_reported() {
    let s3 = S3::start();
    Program::new(["sample", "s3://sky/survey", "--galaxies", "10"])
        .on_s3(&s3)
        .env("AWS_SECRET_ACCESS_KEY", "guess")
        .ends(1)
        .says(&["s3://sky/survey", "access denied"]);
}
