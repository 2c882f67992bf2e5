//! Watching: each drop is taken as it arrives, once it is whole, and what has changed since is said and not read again.
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use crate::{
    gate::{DENIED, Head, Moment, Verdict, gate},
    survey::{
        Program, Running, S3, assert_same, committed, drops, folder, galaxies, int64, ledger,
        metrics_files, model, parquet, put, some_galaxies, text, tree, until,
    },
};

/// A drop of four galaxies.
fn four(first_id: i64) -> Vec<u8> {
    parquet(&galaxies(int64(first_id..first_id + 4)), 100)
}

/// A watch over a catalog that looks often.
fn watch(catalog: impl AsRef<Path>, out: impl AsRef<Path>) -> Program {
    let (catalog, out) = (text(catalog.as_ref()), text(out.as_ref()));
    Program::on("watch", &catalog, &out, model()).with("--poll 50ms --threads 1 --json")
}

fn until_committed(out: &Path, count: usize) {
    until("the drops are committed", || drops(out).len() >= count);
}

/// Asks a watch to end, which it does without a fault: how many drops it has committed.
fn stop(watch: Running) -> u64 {
    watch.signal("TERM");
    let ended = watch.ends(0);
    ended.says(&["SIGTERM: ending"]);
    ended.json()["drops_committed"].as_u64().unwrap()
}

/// Twenty drops arrive through `put` while a watch is on, and one more, whose name is earlier than theirs.
fn arrive(put: impl Fn(&str, Vec<u8>), watch: Program, catalog: &Path, out: &Path) {
    let (watch, undisturbed) = (watch.runs(), folder());
    let names: Vec<String> = (1..=20).map(|drop| format!("drop-{drop:04}")).collect();
    let deliver = |drop: &str, first_id| {
        put(&format!("{drop}/a.parquet"), four(first_id));
        put(&format!("{drop}/_SUCCESS"), Vec::new());
    };
    for (place, drop) in names.iter().enumerate() {
        deliver(drop, 100 * place as i64);
    }
    until_committed(out, 20);
    assert_eq!(drops(out), names);
    deliver("drop-0000", 9000);
    until_committed(out, 21);
    assert_eq!(stop(watch), 21);
    assert_eq!(drops(out)[20], "drop-0000");
    assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    Program::run(catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(out));
    Program::new(["verify", &text(out)]).ends(0);
}

#[test]
fn drops_are_taken_as_they_arrive_in_a_folder() {
    let (catalog, out) = (folder(), folder());
    let deliver = |name: &str, bytes| put(catalog.path().join(name), bytes);
    let watch = watch(&catalog, &out).with("--settle 1h");
    arrive(deliver, watch, catalog.path(), out.path());
}

#[test]
fn drops_are_taken_as_they_arrive_in_a_bucket() {
    let s3 = S3::start();
    let deliver = |name: &str, bytes| s3.put(&format!("survey/{name}"), bytes);
    let watch = watch("s3://sky/survey", "s3://sky/out").with("--settle 1h");
    let (catalog, out) = (s3.bucket().join("survey"), s3.bucket().join("out"));
    arrive(deliver, watch.at(&s3), &catalog, &out);
}

#[test]
fn a_cluster_watches_and_ends_as_one() {
    let (catalog, out) = (folder(), folder());
    let watch = watch(&catalog, &out).with("--local 2 --settle 1h").runs();
    for drop in 1..=3 {
        put(catalog.path().join(format!("{drop}/a.parquet")), four(drop));
        put(catalog.path().join(format!("{drop}/_SUCCESS")), "");
        until_committed(out.path(), drop as usize);
    }
    assert_eq!(stop(watch), 3);
    assert_eq!(drops(out.path()), ["1", "2", "3"]);
}

#[test]
fn a_drop_is_taken_when_it_is_whole() {
    let (catalog, out) = (folder(), folder());
    let place = |name: &str| catalog.path().join(name);
    let patient = watch(&catalog, &out).with("--settle 1h").runs();
    put(place("a/x.parquet"), four(100));
    put(place("b.parquet"), four(200));
    put(place("c/x.parquet"), four(300));
    put(place("c/_SUCCESS"), "");
    until_committed(out.path(), 1);
    // It has looked at all three by now.
    assert_eq!(drops(out.path()), ["c"]);
    put(place("a/y.parquet"), four(110));
    put(place("a/_SUCCESS"), "");
    until_committed(out.path(), 2);
    assert_eq!(stop(patient), 2);
    assert_eq!(drops(out.path()), ["c", "a"]);
    assert_eq!(ledger(out.path())[1]["rows"]["read"], 8);

    let hasty = watch(&catalog, &out).with("--settle 100ms").runs();
    put(place("d/x.parquet"), four(400));
    until_committed(out.path(), 4);
    assert_eq!(stop(hasty), 2);
    assert_eq!(drops(out.path())[2..], ["b.parquet", "d"]);
}

#[test]
fn a_failed_drop_is_tried_again_when_it_changes() {
    let (catalog, out) = (folder(), folder());
    let place = |name: &str| catalog.path().join(name);
    let watch = watch(&catalog, &out).runs();
    put(place("bad/a.parquet"), "no galaxies");
    put(place("bad/_SUCCESS"), "");
    watch.until_it_says("bad: FAILED");
    for drop in 1..=3 {
        put(place(&format!("{drop}/a.parquet")), four(drop));
        put(place(&format!("{drop}/_SUCCESS")), "");
        until_committed(out.path(), drop as usize);
    }
    put(place("bad/a.parquet"), four(100));
    until_committed(out.path(), 4);
    watch.signal("TERM");
    let ended = watch.ends(0);
    assert_eq!(
        ended.stderr.matches("FAILED").count(),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(ended.json()["drops_failed"], 0);
    assert_eq!(drops(out.path()), ["1", "2", "3", "bad"]);
}

#[test]
fn a_drop_that_changes_after_its_commit_is_reported_and_not_read_again() {
    let (catalog, out) = (folder(), folder());
    let place = |name: &str| catalog.path().join(name);
    for name in ["a/1.parquet", "a/2.parquet", "b/1.parquet"] {
        put(place(name), four(100));
    }
    let watch = watch(&catalog, &out).with("--settle 100ms").runs();
    until_committed(out.path(), 2);
    let before = committed(out.path());
    put(place("a/1.parquet"), four(500));
    let words = "drop a changed after it was committed as 1 (a/1.parquet was replaced)";
    watch.until_it_says(words);
    put(place("b/2.parquet"), four(600));
    watch.until_it_says("drop b changed after it was committed as 2 (b/2.parquet was added)");
    put(place("c/1.parquet"), four(700));
    until_committed(out.path(), 3);
    watch.signal("TERM");
    let ended = watch.ends(0);
    assert_eq!(ended.stderr.matches("drop a changed").count(), 1);
    ended.says(&["run --drop a --again takes it in again"]);

    std::fs::remove_file(place("a/2.parquet")).unwrap();
    let words = [
        "drop a changed after it was committed as 1 (a/1.parquet was replaced; a/2.parquet was removed)",
        "drop b changed",
    ];
    Program::run(&catalog, &out).ends(0).says(&words);
    let plan = Program::on("plan", &text(catalog.path()), &text(out.path()), model())
        .ends(0)
        .stdout;
    assert!(words.iter().all(|words| plan.contains(words)), "{plan}");
    let now = committed(out.path());
    assert!(before.iter().all(|(name, bytes)| now[name] == *bytes));

    Program::run(&catalog, &out)
        .with("--drop a --again")
        .ends(0);
    let ended = Program::run(&catalog, &out).ends(0);
    ended.says(&["drop b changed"]);
    assert!(!ended.stderr.contains("drop a changed"), "{}", ended.stderr);
}

/// An S3 server behind a gate that holds what writes the first entry of the ledger.
fn held_at_the_entry(s3: &S3) -> (Moment, String) {
    let (moment, endpoint) = (Moment::default(), s3.endpoint());
    let held = moment.clone();
    let gate = gate(move |head| {
        if head.method() == "PUT" && head.target().contains("_hubbleflow/ledger/") {
            held.hold();
        }
        Verdict::Pass(endpoint.clone())
    });
    (moment, gate)
}

#[test]
fn what_is_in_flight_is_settled_before_a_watch_ends() {
    let (s3, catalog) = (S3::start(), folder());
    let (moment, gate) = held_at_the_entry(&s3);
    put(catalog.path().join("a/1.parquet"), four(100));
    put(catalog.path().join("a/_SUCCESS"), "");
    let watch = watch(&catalog, "s3://sky/out").at(&s3);
    let watch = watch.env("AWS_ENDPOINT_URL", &gate).runs();
    moment.wait();
    watch.signal("TERM");
    watch.until_it_says("SIGTERM: ending");
    moment.end();
    assert_eq!(watch.ends(0).json()["drops_committed"], 1);
    assert_eq!(drops(&s3.bucket().join("out")), ["a"]);
}

#[test]
fn a_second_signal_ends_a_watch_at_once_and_loses_nothing() {
    let (s3, catalog, undisturbed) = (S3::start(), folder(), folder());
    let (moment, gate) = held_at_the_entry(&s3);
    for drop in ["a", "b"] {
        put(catalog.path().join(drop).join("1.parquet"), four(100));
        put(catalog.path().join(drop).join("_SUCCESS"), "");
    }
    let watching = watch(&catalog, "s3://sky/out").at(&s3);
    let watching = watching.env("AWS_ENDPOINT_URL", &gate).runs();
    moment.wait();
    watching.signal("INT");
    watching.until_it_says("SIGINT: ending");
    watching.signal("TERM");
    watching.ends(128 + 15).says(&["SIGTERM again"]);
    moment.end();
    let out = s3.bucket().join("out");
    Program::run(&catalog, "s3://sky/out").at(&s3).ends(0);
    Program::run(&catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(&out));
    let ended = Program::new(["verify", "s3://sky/out"]).at(&s3);
    ended.ends(0);
}

#[test]
fn a_store_that_fails_for_a_while_is_asked_again() {
    let (s3, out) = (S3::start(), folder());
    let (fails, endpoint) = (Arc::new(AtomicBool::new(false)), s3.endpoint());
    let failing = fails.clone();
    let gate = gate(move |head| match head.target().contains("list-type") {
        true if failing.load(Ordering::SeqCst) => DENIED,
        _ => Verdict::Pass(endpoint.clone()),
    });
    let deliver = |drop: &str| {
        s3.put(&format!("survey/{drop}/a.parquet"), four(100));
        s3.put(&format!("survey/{drop}/_SUCCESS"), Vec::new());
    };
    deliver("a");
    let watch = watch("s3://sky/survey", &out).at(&s3);
    let watch = watch.env("AWS_ENDPOINT_URL", &gate).runs();
    until_committed(out.path(), 1);
    fails.store(true, Ordering::SeqCst);
    watch.until_it_says("access denied");
    deliver("b");
    fails.store(false, Ordering::SeqCst);
    until_committed(out.path(), 2);
    assert!(watch.has_said("the store answers again"));
    assert_eq!(stop(watch), 2);
}

/// A watch behind a gate that refuses some requests for a while.
fn refused_at_first(
    s3: &S3,
    times: usize,
    refused: impl Fn(&Head) -> bool + Send + Sync + 'static,
) -> Program {
    let (endpoint, count) = (s3.endpoint(), AtomicUsize::new(0));
    let gate =
        gate(
            move |head| match refused(head) && count.fetch_add(1, Ordering::SeqCst) < times {
                true => DENIED,
                false => Verdict::Pass(endpoint.clone()),
            },
        );
    s3.put("survey/a/1.parquet", parquet(&some_galaxies(4), 100));
    s3.put("survey/a/_SUCCESS", Vec::new());
    let watch = watch("s3://sky/survey", "s3://sky/out").at(s3);
    watch.env("AWS_ENDPOINT_URL", &gate)
}

/// The drop was in the ledger and so not pending, and stayed unpublished until a restart.
#[test]
fn publishing_that_fails_is_tried_again() {
    let s3 = S3::start();
    let copies = |head: &Head| head.method() == "PUT" && head.target().contains("out/photoz");
    let watch = refused_at_first(&s3, 2, copies).runs();
    watch.until_it_says("a: FAILED: it is in the ledger as 1");
    watch.until_it_says("publishing is tried again in 1s");
    watch.until_it_says("a: committed as 1: 4 rows read");
    watch.until_it_says("a: metrics up to 1: n ");
    let out = s3.bucket().join("out");
    assert_eq!(tree(&out.join("photoz")).len(), 1);
    assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    watch.signal("TERM");
    let summary = watch.ends(0).json();
    assert_eq!(
        (&summary["drops_committed"], &summary["drops_failed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(summary["rows_read"], 4);
    assert_eq!(drops(&out), ["a"]);
}

/// Whether an entry was made was not known, and the drop was neither committed nor published until a restart.
#[test]
fn a_commit_that_nobody_has_seen_is_published() {
    let s3 = S3::start();
    let reads = |head: &Head| {
        head.method() == "GET"
            && head
                .target()
                .ends_with("_hubbleflow/ledger/00000000000000000001.json")
    };
    // The first is of opening the ledger.
    let seen = AtomicUsize::new(0);
    let watch = refused_at_first(&s3, 2, move |head| {
        reads(head) && seen.fetch_add(1, Ordering::SeqCst) > 0
    })
    .runs();
    watch.until_it_says("a: FAILED");
    watch.until_it_says("a: committed as 1: 4 rows read");
    watch.signal("TERM");
    watch.ends(0);
    assert_eq!(drops(&s3.bucket().join("out")), ["a"]);
}

/// There were no metrics for the rest of the process.
#[test]
fn metrics_that_fail_are_tried_again() {
    let reads = |head: &Head| head.method() == "GET" && head.target().contains("out/photoz/");
    let writes =
        |head: &Head| head.method() == "PUT" && head.target().contains("_hubbleflow/metrics/");
    let cases: [fn(&Head) -> bool; 2] = [reads, writes];
    for refused in cases {
        let s3 = S3::start();
        let watch = refused_at_first(&s3, 2, refused).runs();
        watch.until_it_says("a: NO METRICS up to 1");
        watch.until_it_says("a: metrics up to 1: n ");
        s3.put("survey/b/1.parquet", four(900));
        s3.put("survey/b/_SUCCESS", Vec::new());
        watch.until_it_says("b: metrics up to 2: n ");
        assert_eq!(stop(watch), 2);
        let out = s3.bucket().join("out");
        assert_eq!(metrics_files(&out).len(), 2);
        Program::new(["verify", "s3://sky/out"]).at(&s3).ends(0);
    }
}
