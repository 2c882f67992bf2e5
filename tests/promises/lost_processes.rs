//! A process that hangs or dies: the other processes name it and end, and `--local` starts the cluster again.
use std::path::Path;

use testkit::{
    galaxy_rows::{galaxies_with_ids, int64, parquet_bytes},
    gate::{HoldPoint, Verdict, start_gate},
    hosts::HostsFile,
    outputs::{committed, drops, ledger, staged_files},
    processes::{children, signal, wait_until},
    program::Program,
    running::Running,
    s3::S3,
    survey::{model, run_catalog, survey},
    tree::{assert_same, copy_tree, folder, text, write_file},
};

/// Starts a cluster of two processes that has committed a drop and watches for more.
fn idle_cluster(catalog: &Path, out: &Path) -> [Running; 2] {
    let cluster = HostsFile::new();
    let start = |process| {
        let watch = Program::on("watch", &text(catalog), &text(out), model());
        watch.args(cluster.flags(process)).start()
    };
    let processes = [start(0), start(1)];
    write_file(
        catalog.join("a/1.parquet"),
        parquet_bytes(&galaxies_with_ids(int64(0..4)), 100),
    );
    write_file(catalog.join("a/_SUCCESS"), "");
    wait_until("the drop is committed", || drops(out).len() == 1);
    processes
}

#[test]
fn a_process_that_hangs_is_named_and_the_cluster_ends() {
    for hanging in [0, 1] {
        let (catalog, out) = (folder(), folder());
        let mut processes = Vec::from(idle_cluster(catalog.path(), out.path()));
        let hangs = processes.remove(hanging);
        hangs.signal("STOP");
        let survivor = processes.remove(0);
        survivor.ends(75).says(&[
            &format!("process {hanging} at 127.0.0.1:"),
            "has not been heard of",
            "what is committed stays",
        ]);
        // The process that hung continues, and finds that its peer is gone.
        hangs.signal("CONT");
        hangs.ends(75).says(&[&format!("process {}", 1 - hanging)]);
        assert_eq!(drops(out.path()), ["a"]);
    }
}

#[test]
fn a_process_that_dies_is_named_and_the_cluster_ends() {
    let (catalog, out) = (folder(), folder());
    let [leader, second] = idle_cluster(catalog.path(), out.path());
    second.signal("KILL");
    leader.ends(75).says(&["process 1 at 127.0.0.1:"]);
}

#[test]
fn a_short_pause_does_not_lose_a_process() {
    let (catalog, out) = (folder(), folder());
    let [leader, second] = idle_cluster(catalog.path(), out.path());
    second.signal("STOP");
    second.signal("CONT");
    write_file(
        catalog.path().join("b/1.parquet"),
        parquet_bytes(&galaxies_with_ids(int64(10..14)), 100),
    );
    write_file(catalog.path().join("b/_SUCCESS"), "");
    wait_until("the drop is committed", || drops(out.path()).len() == 2);
    leader.signal("TERM");
    leader.ends(0);
    second.ends(0);
}

#[test]
fn a_cluster_that_hangs_is_started_again() {
    let (s3, undisturbed) = (S3::start(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    run_catalog(survey(), &undisturbed).ends(0);
    for hanging in [0, 1] {
        let (endpoint, hold_point) = (s3.endpoint(), HoldPoint::default());
        let held = hold_point.clone();
        // The rows of the second drop are held until the cluster is started again.
        let gate = start_gate(move |head| {
            if head.method() == "GET" && head.target().contains("drop-0002/part") {
                held.hold();
            }
            Verdict::Pass(endpoint.clone())
        });
        let out = format!("s3://sky/out-{hanging}");
        let run = run_catalog("s3://sky/survey", &out).with("--local 2 --threads 1 --json");
        let run = run.on_s3(&s3).env("AWS_ENDPOINT_URL", &gate).start();
        hold_point.wait_until_reached();
        let out = s3.bucket().join(format!("out-{hanging}"));
        wait_until("the first drop is committed", || drops(&out).len() == 1);
        signal(children(run.id())[hanging], "STOP");
        run.wait_for_message("starting the cluster again (1 of 3)");
        hold_point.release();
        let ended = run.ends(0);
        ended.says(&[&format!("process {hanging} at 127.0.0.1:")]);
        // The summary counts the drops of both starts.
        let (told, entries) = (ended.json(), ledger(&out));
        let read = entries.iter().map(|entry| entry["rows"]["read"].as_u64());
        assert_eq!(told["rows_read"].as_u64(), read.sum());
        assert_eq!(told["drops_committed"], drops(&out).len());
        assert_same(&committed(undisturbed.path()), &committed(&out));
        assert!(staged_files(&out).is_empty());
    }
}
