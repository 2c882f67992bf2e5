//! Processes without addresses and numbers find each other through a store.
use std::{collections::BTreeMap, path::Path, time::Duration};

use hubbleflow::clock::clock;
use testkit::{
    outputs::committed_with_metrics,
    processes::wait_until,
    program::Program,
    running::Running,
    s3::S3,
    survey::{run_catalog, survey},
    tree::{assert_same, copy_tree, folder, text, write_file},
};

/// Where processes meet below an output.
const PLACE: &str = "_hubbleflow/rendezvous";

fn invitations(out: &Path) -> usize {
    let place = out.join(PLACE).read_dir();
    place.map_or(0, |files| files.count())
}

/// Starts processes that do the same.
fn start(count: usize, process: impl Fn() -> Program) -> Vec<Running> {
    (0..count).map(|_| process().start()).collect()
}

#[test]
fn processes_meet_below_the_output_and_one_of_them_leads() {
    let (out, alone) = (folder(), folder());
    run_catalog(survey(), &alone).ends(0);
    let processes = start(3, || {
        run_catalog(survey(), &out).with("--processes 3 --threads 1 --json")
    });
    let ended: Vec<_> = processes
        .into_iter()
        .map(|process| process.ends(0))
        .collect();
    let told = ended
        .iter()
        .filter(|ended| ended.stdout.contains("drops_committed"));
    assert_eq!(told.count(), 1, "the leader alone tells what was done");
    assert_same(
        &committed_with_metrics(alone.path()),
        &committed_with_metrics(out.path()),
    );
    assert_eq!(
        invitations(out.path()),
        0,
        "nothing of a cluster that is over is left"
    );
}

#[test]
fn processes_meet_on_a_store_with_a_key() {
    let (s3, key, alone) = (S3::start(), folder(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    run_catalog(survey(), &alone).ends(0);
    let key = key.path().join("key");
    Program::new(["cluster-key", &text(&key)]).ends(0);
    let began = clock();
    let processes = start(4, || {
        run_catalog("s3://sky/survey", "s3://sky/out")
            .with("--processes 4 --threads 1 --rendezvous s3://sky/meet --cluster-key")
            .args([text(&key)])
            .on_s3(&s3)
    });
    processes[0].wait_for_message("of a cluster of 4");
    let waited = clock() - began;
    assert!(waited < Duration::from_secs(30), "{waited:?}");
    for process in processes {
        process.ends(0);
    }
    assert_same(
        &committed_with_metrics(alone.path()),
        &committed_with_metrics(&s3.bucket().join("out")),
    );
}

#[test]
fn what_a_dead_cluster_has_left_is_in_nobodys_way() {
    let out = folder();
    // A leader that is gone, one that was killed while it wrote, and a process that waits for others and is killed.
    let place = out.path().join(PLACE);
    write_file(
        place.join("00000000000000000001.json"),
        r#"{"generation":7,"addresses":["127.0.0.1:1"]}"#,
    );
    write_file(place.join("00000000000000000002.json"), "");
    let first = || run_catalog(survey(), &out).with("--processes 2 --threads 1");
    let mut killed = first().start();
    wait_until("it waits for another", || {
        place.join("00000000000000000003.json").exists()
    });
    killed.kill();
    for process in start(2, first) {
        process.ends(0);
    }
    assert_eq!(invitations(out.path()), 0);
}

#[test]
fn processes_that_disagree_do_not_start_together() {
    let out = folder();
    let process = |batch| {
        let run =
            run_catalog(survey(), &out).with("--processes 2 --threads 1 --gather 20s --batch");
        run.args([batch]).start()
    };
    let first = process("64");
    wait_until("it waits for another", || invitations(out.path()) == 1);
    process("32")
        .ends(1)
        .says(&["disagree", "batch is 32 here and 64 there"]);
    first.ends(75).says(&[
        "a process that wanted to join was refused",
        "1 of 2 processes",
    ]);
}

#[test]
fn arguments_of_a_cluster_that_contradict_each_other_are_usage_errors() {
    let hosts = folder();
    let hosts = hosts.path().join("hosts");
    write_file(&hosts, "10.1.2.3:7001\n10.1.2.4:7001\n");
    let said = BTreeMap::from([
        ("--processes 2 --advertise 10.1.2.3", "--cluster-key"),
        ("--processes 2 --process 0 --hosts HOSTS", "--insecure"),
        ("--processes 2 --hosts HOSTS", "--process"),
        ("--processes 2 --process 0", "--hosts"),
        (
            "--processes 2 --process 0 --hosts HOSTS --rendezvous /x",
            "--rendezvous",
        ),
        ("--processes 2..3 --process 0 --hosts HOSTS", "range"),
        ("--processes 3..2", "--processes"),
        ("--processes 2 --rendezvous CATALOG/meet", "--rendezvous"),
        ("--local 2 --processes 2", "--local"),
        ("--processes 2 --cluster-key HOSTS", "no key of 32 bytes"),
        ("--processes 2 --cluster-key /no/such/key", "/no/such/key"),
    ]);
    for (arguments, words) in said {
        let out = folder();
        let arguments = arguments.replace("HOSTS", &text(&hosts));
        let arguments = arguments.replace("CATALOG", &text(survey()));
        run_catalog(survey(), &out)
            .with(&arguments)
            .ends(2)
            .says(&[words]);
        assert_eq!(out.path().read_dir().unwrap().count(), 0, "{arguments}");
    }
}
