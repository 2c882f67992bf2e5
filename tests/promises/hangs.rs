//! A process that hangs or dies: the others say which, and end; what supervises them starts them again.
use std::path::Path;

use crate::{
    gate::{Moment, Verdict, gate},
    same_answer::Hosts,
    survey::{
        Program, Running, S3, assert_same, children, committed, copy, drops, folder, galaxies,
        int64, ledger, model, parquet, put, signal, survey, text, tree, until,
    },
};

/// A cluster of two processes that has committed a drop and watches for more.
fn idle_cluster(catalog: &Path, out: &Path) -> [Running; 2] {
    let cluster = Hosts::new();
    let start = |process| {
        let watch = Program::on("watch", &text(catalog), &text(out), model());
        watch.args(cluster.flags(process)).runs()
    };
    let processes = [start(0), start(1)];
    put(
        catalog.join("a/1.parquet"),
        parquet(&galaxies(int64(0..4)), 100),
    );
    put(catalog.join("a/_SUCCESS"), "");
    until("the drop is committed", || drops(out).len() == 1);
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
        survivor.ends(1).says(&[
            &format!("process {hanging} at 127.0.0.1:"),
            "has not been heard of",
            "what is committed stays",
        ]);
        // Woken, it finds that it is alone.
        hangs.signal("CONT");
        hangs.ends(1).says(&[&format!("process {}", 1 - hanging)]);
        assert_eq!(drops(out.path()), ["a"]);
    }
}

#[test]
fn a_process_that_dies_is_named_and_the_cluster_ends() {
    let (catalog, out) = (folder(), folder());
    let [leader, second] = idle_cluster(catalog.path(), out.path());
    second.signal("KILL");
    leader.ends(1).says(&["process 1 at 127.0.0.1:"]);
}

#[test]
fn a_process_that_is_stopped_for_a_moment_is_not_lost() {
    let (catalog, out) = (folder(), folder());
    let [leader, second] = idle_cluster(catalog.path(), out.path());
    second.signal("STOP");
    second.signal("CONT");
    put(
        catalog.path().join("b/1.parquet"),
        parquet(&galaxies(int64(10..14)), 100),
    );
    put(catalog.path().join("b/_SUCCESS"), "");
    until("the drop is committed", || drops(out.path()).len() == 2);
    leader.signal("TERM");
    leader.ends(0);
    second.ends(0);
}

#[test]
fn a_cluster_that_hangs_is_started_again() {
    let (s3, undisturbed) = (S3::start(), folder());
    copy(survey(), &s3.bucket().join("survey"));
    Program::run(survey(), &undisturbed).ends(0);
    for hanging in [0, 1] {
        let (endpoint, moment) = (s3.endpoint(), Moment::default());
        let held = moment.clone();
        // The rows of the second drop are not read before the cluster is started again.
        let gate = gate(move |head| {
            if head.method() == "GET" && head.target().contains("drop-0002/part") {
                held.hold();
            }
            Verdict::Pass(endpoint.clone())
        });
        let out = format!("s3://sky/out-{hanging}");
        let run = Program::run("s3://sky/survey", &out).with("--local 2 --threads 1 --json");
        let run = run.at(&s3).env("AWS_ENDPOINT_URL", &gate).runs();
        moment.wait();
        let out = s3.bucket().join(format!("out-{hanging}"));
        until("the first drop is committed", || drops(&out).len() == 1);
        signal(children(run.id())[hanging], "STOP");
        run.until_it_says("starting the cluster again (1 of 3)");
        moment.end();
        let ended = run.ends(0);
        ended.says(&[&format!("process {hanging} at 127.0.0.1:")]);
        // Both starts are one command.
        let (told, entries) = (ended.json(), ledger(&out));
        let read = entries.iter().map(|entry| entry["rows"]["read"].as_u64());
        assert_eq!(told["rows_read"].as_u64(), read.sum());
        assert_eq!(told["drops_committed"], drops(&out).len());
        assert_same(&committed(undisturbed.path()), &committed(&out));
        assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    }
}
