//! `watch` retries what a store refuses for a while: listings, publishing, commits and metrics.
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use testkit::{
    galaxy_rows::{parquet_bytes, some_galaxies},
    gate::{DENIED, RequestHead, Verdict, start_gate},
    outputs::{drops, metrics_files, staged_files},
    program::Program,
    s3::S3,
    tree::{folder, tree},
    watch::{four_galaxies, stop_watch, wait_until_committed, watch_catalog},
};

/// A watch behind a gate that refuses the first `times` requests for which `refused` holds.
fn refused_at_first(
    s3: &S3,
    times: usize,
    refused: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
) -> Program {
    let (endpoint, count) = (s3.endpoint(), AtomicUsize::new(0));
    let gate = start_gate(move |head| {
        match refused(head) && count.fetch_add(1, Ordering::SeqCst) < times {
            true => DENIED,
            false => Verdict::Pass(endpoint.clone()),
        }
    });
    s3.put("survey/a/1.parquet", parquet_bytes(&some_galaxies(4), 100));
    s3.put("survey/a/_SUCCESS", Vec::new());
    let watch = watch_catalog("s3://sky/survey", "s3://sky/out").on_s3(s3);
    watch.env("AWS_ENDPOINT_URL", &gate)
}

#[test]
fn a_failed_listing_is_retried() {
    let (s3, out) = (S3::start(), folder());
    let (fails, endpoint) = (Arc::new(AtomicBool::new(false)), s3.endpoint());
    let failing = fails.clone();
    let gate = start_gate(move |head| match head.target().contains("list-type") {
        true if failing.load(Ordering::SeqCst) => DENIED,
        _ => Verdict::Pass(endpoint.clone()),
    });
    let deliver = |drop: &str| {
        s3.put(&format!("survey/{drop}/a.parquet"), four_galaxies(100));
        s3.put(&format!("survey/{drop}/_SUCCESS"), Vec::new());
    };
    deliver("a");
    let watch = watch_catalog("s3://sky/survey", &out).on_s3(&s3);
    let watch = watch.env("AWS_ENDPOINT_URL", &gate).start();
    wait_until_committed(out.path(), 1);
    fails.store(true, Ordering::SeqCst);
    watch.wait_for_message("access denied");
    deliver("b");
    fails.store(false, Ordering::SeqCst);
    wait_until_committed(out.path(), 2);
    // It has been said before the second drop was taken, but may not have been read from the pipe yet.
    watch.wait_for_message("the store answers again");
    assert_eq!(stop_watch(watch), 2);
}

/// Regression: the drop was in the ledger, so it was not pending, and it stayed unpublished until a restart.
#[test]
fn failed_publishing_is_retried() {
    let s3 = S3::start();
    let copies =
        |head: &RequestHead| head.method() == "PUT" && head.target().contains("out/photoz");
    let watch = refused_at_first(&s3, 2, copies).start();
    watch.wait_for_message("a: FAILED: it is in the ledger as 1");
    watch.wait_for_message("publishing is tried again in 1s");
    watch.wait_for_message("a: committed as 1: 4 rows read");
    watch.wait_for_message("a: metrics up to 1: n ");
    let out = s3.bucket().join("out");
    assert_eq!(tree(&out.join("photoz")).len(), 1);
    assert!(staged_files(&out).is_empty());
    watch.signal("TERM");
    let summary = watch.ends(0).json();
    assert_eq!(
        (&summary["drops_committed"], &summary["drops_failed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(summary["rows_read"], 4);
    assert_eq!(drops(&out), ["a"]);
}

/// Regression: the run did not know whether its entry existed, and did not publish the drop until a restart.
#[test]
fn an_unconfirmed_commit_is_published() {
    let s3 = S3::start();
    let reads = |head: &RequestHead| {
        head.method() == "GET"
            && head
                .target()
                .ends_with("_hubbleflow/ledger/00000000000000000001.json")
    };
    // The first request opens the ledger, and must succeed.
    let seen = AtomicUsize::new(0);
    let watch = refused_at_first(&s3, 2, move |head| {
        reads(head) && seen.fetch_add(1, Ordering::SeqCst) > 0
    })
    .start();
    watch.wait_for_message("a: FAILED");
    watch.wait_for_message("a: committed as 1: 4 rows read");
    watch.signal("TERM");
    watch.ends(0);
    assert_eq!(drops(&s3.bucket().join("out")), ["a"]);
}

/// Regression: after one failure the process wrote no metrics any more.
#[test]
fn failed_metrics_are_retried() {
    let reads =
        |head: &RequestHead| head.method() == "GET" && head.target().contains("out/photoz/");
    let writes = |head: &RequestHead| {
        head.method() == "PUT" && head.target().contains("_hubbleflow/metrics/")
    };
    let cases: [fn(&RequestHead) -> bool; 2] = [reads, writes];
    for refused in cases {
        let s3 = S3::start();
        let watch = refused_at_first(&s3, 2, refused).start();
        watch.wait_for_message("a: NO METRICS up to 1");
        watch.wait_for_message("a: metrics up to 1: n ");
        s3.put("survey/b/1.parquet", four_galaxies(900));
        s3.put("survey/b/_SUCCESS", Vec::new());
        watch.wait_for_message("b: metrics up to 2: n ");
        assert_eq!(stop_watch(watch), 2);
        let out = s3.bucket().join("out");
        assert_eq!(metrics_files(&out).len(), 2);
        Program::new(["verify", "s3://sky/out"]).on_s3(&s3).ends(0);
    }
}
