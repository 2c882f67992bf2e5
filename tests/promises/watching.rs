//! `watch` reads each drop as it arrives and is whole. It reports later changes and does not read them.
use std::path::Path;

use testkit::{
    gate::{HoldPoint, Verdict, start_gate},
    outputs::{committed, drops, ledger, staged_files},
    program::Program,
    s3::S3,
    survey::{model, run_catalog},
    tree::{assert_same, folder, text, write_file},
    watch::{four_galaxies, stop_watch, wait_until_committed, wait_until_published, watch_catalog},
};

/// Delivers twenty drops during a watch, and then a drop whose name sorts before theirs.
fn arrive(put: impl Fn(&str, Vec<u8>), watch: Program, catalog: &Path, out: &Path) {
    let (watch, undisturbed) = (watch.start(), folder());
    let names: Vec<String> = (1..=20).map(|drop| format!("drop-{drop:04}")).collect();
    let deliver = |drop: &str, first_id| {
        put(&format!("{drop}/a.parquet"), four_galaxies(first_id));
        put(&format!("{drop}/_SUCCESS"), Vec::new());
    };
    for (place, drop) in names.iter().enumerate() {
        deliver(drop, 100 * place as i64);
    }
    wait_until_committed(out, 20);
    assert_eq!(drops(out), names);
    deliver("drop-0000", 9000);
    wait_until_committed(out, 21);
    assert_eq!(stop_watch(watch), 21);
    assert_eq!(drops(out)[20], "drop-0000");
    assert!(staged_files(out).is_empty());
    run_catalog(catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(out));
    Program::new(["verify", &text(out)]).ends(0);
}

#[test]
fn drops_are_read_as_they_arrive_in_a_folder() {
    let (catalog, out) = (folder(), folder());
    let deliver = |name: &str, bytes| write_file(catalog.path().join(name), bytes);
    let watch = watch_catalog(&catalog, &out).with("--settle 1h");
    arrive(deliver, watch, catalog.path(), out.path());
}

#[test]
fn drops_are_read_as_they_arrive_in_a_bucket() {
    let s3 = S3::start();
    let deliver = |name: &str, bytes| s3.put(&format!("survey/{name}"), bytes);
    let watch = watch_catalog("s3://sky/survey", "s3://sky/out").with("--settle 1h");
    let (catalog, out) = (s3.bucket().join("survey"), s3.bucket().join("out"));
    arrive(deliver, watch.on_s3(&s3), &catalog, &out);
}

#[test]
fn a_cluster_watches_and_ends_as_one() {
    let (catalog, out) = (folder(), folder());
    let watch = watch_catalog(&catalog, &out)
        .with("--local 2 --settle 1h")
        .start();
    for drop in 1..=3 {
        write_file(
            catalog.path().join(format!("{drop}/a.parquet")),
            four_galaxies(drop),
        );
        write_file(catalog.path().join(format!("{drop}/_SUCCESS")), "");
        wait_until_committed(out.path(), drop as usize);
    }
    assert_eq!(stop_watch(watch), 3);
    assert_eq!(drops(out.path()), ["1", "2", "3"]);
}

#[test]
fn a_drop_is_read_when_it_is_whole() {
    let (catalog, out) = (folder(), folder());
    let place = |name: &str| catalog.path().join(name);
    let patient = watch_catalog(&catalog, &out).with("--settle 1h").start();
    write_file(place("a/x.parquet"), four_galaxies(100));
    write_file(place("b.parquet"), four_galaxies(200));
    write_file(place("c/x.parquet"), four_galaxies(300));
    write_file(place("c/_SUCCESS"), "");
    wait_until_committed(out.path(), 1);
    // By now the watch has looked at all three drops.
    assert_eq!(drops(out.path()), ["c"]);
    write_file(place("a/y.parquet"), four_galaxies(110));
    write_file(place("a/_SUCCESS"), "");
    wait_until_committed(out.path(), 2);
    assert_eq!(stop_watch(patient), 2);
    assert_eq!(drops(out.path()), ["c", "a"]);
    assert_eq!(ledger(out.path())[1]["rows"]["read"], 8);

    let hasty = watch_catalog(&catalog, &out).with("--settle 100ms").start();
    write_file(place("d/x.parquet"), four_galaxies(400));
    wait_until_committed(out.path(), 4);
    assert_eq!(stop_watch(hasty), 2);
    assert_eq!(drops(out.path())[2..], ["b.parquet", "d"]);
}

#[test]
fn a_failed_drop_is_retried_when_it_changes() {
    let (catalog, out) = (folder(), folder());
    let place = |name: &str| catalog.path().join(name);
    let watch = watch_catalog(&catalog, &out).start();
    write_file(place("bad/a.parquet"), "no galaxies");
    write_file(place("bad/_SUCCESS"), "");
    watch.wait_for_message("bad: FAILED");
    for drop in 1..=3 {
        write_file(place(&format!("{drop}/a.parquet")), four_galaxies(drop));
        write_file(place(&format!("{drop}/_SUCCESS")), "");
        wait_until_committed(out.path(), drop as usize);
    }
    write_file(place("bad/a.parquet"), four_galaxies(100));
    wait_until_committed(out.path(), 4);
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
        write_file(place(name), four_galaxies(100));
    }
    let watch = watch_catalog(&catalog, &out).with("--settle 100ms").start();
    wait_until_published(out.path(), 2);
    let before = committed(out.path());
    write_file(place("a/1.parquet"), four_galaxies(500));
    let words = "drop a changed after it was committed as 1 (a/1.parquet was replaced)";
    watch.wait_for_message(words);
    write_file(place("b/2.parquet"), four_galaxies(600));
    watch.wait_for_message("drop b changed after it was committed as 2 (b/2.parquet was added)");
    write_file(place("c/1.parquet"), four_galaxies(700));
    wait_until_committed(out.path(), 3);
    watch.signal("TERM");
    let ended = watch.ends(0);
    assert_eq!(ended.stderr.matches("drop a changed").count(), 1);
    ended.says(&["run --drop a --again takes it in again"]);

    std::fs::remove_file(place("a/2.parquet")).unwrap();
    let words = [
        "drop a changed after it was committed as 1 (a/1.parquet was replaced; a/2.parquet was removed)",
        "drop b changed",
    ];
    run_catalog(&catalog, &out).ends(0).says(&words);
    let plan = Program::on("plan", &text(catalog.path()), &text(out.path()), model())
        .ends(0)
        .stdout;
    assert!(words.iter().all(|words| plan.contains(words)), "{plan}");
    let now = committed(out.path());
    assert!(before.iter().all(|(name, bytes)| now[name] == *bytes));

    run_catalog(&catalog, &out).with("--drop a --again").ends(0);
    let ended = run_catalog(&catalog, &out).ends(0);
    ended.says(&["drop b changed"]);
    assert!(!ended.stderr.contains("drop a changed"), "{}", ended.stderr);
}

/// Starts a gate that holds all writes of the ledger.
fn held_at_the_entry(s3: &S3) -> (HoldPoint, String) {
    let (hold_point, endpoint) = (HoldPoint::default(), s3.endpoint());
    let held = hold_point.clone();
    let gate = start_gate(move |head| {
        if head.method() == "PUT" && head.target().contains("_hubbleflow/ledger/") {
            held.hold();
        }
        Verdict::Pass(endpoint.clone())
    });
    (hold_point, gate)
}

#[test]
fn a_watch_settles_its_drop_before_it_ends() {
    let (s3, catalog) = (S3::start(), folder());
    let (hold_point, gate) = held_at_the_entry(&s3);
    write_file(catalog.path().join("a/1.parquet"), four_galaxies(100));
    write_file(catalog.path().join("a/_SUCCESS"), "");
    let watch = watch_catalog(&catalog, "s3://sky/out").on_s3(&s3);
    let watch = watch.env("AWS_ENDPOINT_URL", &gate).start();
    hold_point.wait_until_reached();
    watch.signal("TERM");
    watch.wait_for_message("SIGTERM: ending");
    hold_point.release();
    assert_eq!(watch.ends(0).json()["drops_committed"], 1);
    assert_eq!(drops(&s3.bucket().join("out")), ["a"]);
}

#[test]
fn a_second_signal_ends_a_watch_at_once_and_loses_nothing() {
    let (s3, catalog, undisturbed) = (S3::start(), folder(), folder());
    let (hold_point, gate) = held_at_the_entry(&s3);
    for drop in ["a", "b"] {
        write_file(
            catalog.path().join(drop).join("1.parquet"),
            four_galaxies(100),
        );
        write_file(catalog.path().join(drop).join("_SUCCESS"), "");
    }
    let watching = watch_catalog(&catalog, "s3://sky/out").on_s3(&s3);
    let watching = watching.env("AWS_ENDPOINT_URL", &gate).start();
    hold_point.wait_until_reached();
    watching.signal("INT");
    watching.wait_for_message("SIGINT: ending");
    watching.signal("TERM");
    watching.ends(128 + 15).says(&["SIGTERM again"]);
    hold_point.release();
    let out = s3.bucket().join("out");
    run_catalog(&catalog, "s3://sky/out").on_s3(&s3).ends(0);
    run_catalog(&catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(&out));
    let ended = Program::new(["verify", "s3://sky/out"]).on_s3(&s3);
    ended.ends(0);
}
