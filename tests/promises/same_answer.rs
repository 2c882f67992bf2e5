//! Same answer: the same files to the byte, and the same metrics, for any cluster, memory and store.
use std::{path::Path, process::Child, sync::OnceLock};

use testkit::{
    finished::wait_for_exit,
    hosts::HostsFile,
    outputs::{committed, committed_with_metrics},
    program::Program,
    rows::{floats, rows},
    s3::S3,
    survey::{model, other_model, run_catalog, survey},
    tree::{Tree, assert_same, copy_tree, folder, text},
};

/// Fourteen rows a split, so that workers take splits in a different order in each run.
const SPLITS: &str = "--split-bytes 300kB";

/// The output of one worker with one thread.
fn reference() -> &'static Tree {
    static REFERENCE: OnceLock<Tree> = OnceLock::new();
    REFERENCE.get_or_init(|| from_files("--workers 1 --threads 1"))
}

fn from_files(args: &str) -> Tree {
    let out = folder();
    run_catalog(survey(), &out).with(SPLITS).with(args).ends(0);
    committed_with_metrics(out.path())
}

#[test]
fn the_survey_has_many_splits_and_many_predictions() {
    let out = folder();
    let plan = Program::on("plan", &text(survey()), &text(out.path()), model())
        .with("--split-bytes 300kB --json")
        .ends(0)
        .json();
    let splits: Vec<u64> = plan["drops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drop| drop["splits"].as_u64().unwrap())
        .collect();
    assert!(
        splits[0] > 8 && splits[1] > 8,
        "too few splits for several workers: {splits:?}"
    );
    let folders = |tree: &Tree| {
        tree.keys()
            .map(|name| name.split('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        folders(reference()),
        [
            "_hubbleflow",
            "_hubbleflow",
            "_hubbleflow",
            "photoz",
            "photoz",
            "rejects",
            "rejects",
            "specz"
        ]
    );
    run_catalog(survey(), &out).with(SPLITS).ends(0);
    let mut z: Vec<u32> = floats(&rows(out.path().join("photoz")), "z_phot")
        .into_iter()
        .flatten()
        .map(f32::to_bits)
        .collect();
    z.sort_unstable();
    z.dedup();
    assert!(
        z.len() > 100,
        "there are only {} different predictions",
        z.len()
    );
}

#[test]
fn workers_and_threads_change_nothing() {
    for shape in [
        "--workers 4 --threads 2",
        "--workers 1 --threads 3",
        "--workers 3 --threads 1",
    ] {
        assert_same(reference(), &from_files(shape));
    }
}

#[test]
fn memory_changes_nothing() {
    // The first setting leaves each worker 18 kB for predictions, so that some are kept by checkpoints alone.
    for memory in [
        "--memory 1200kB --workers 16",
        "--memory 4MB",
        "--memory 1GB",
    ] {
        assert_same(reference(), &from_files(memory));
    }
}

#[test]
fn local_processes_change_nothing() {
    assert_same(
        reference(),
        &from_files("--local 2 --workers 2 --threads 1"),
    );
}

#[test]
fn the_store_changes_nothing() {
    let (s3, out) = (S3::start(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    run_catalog("s3://sky/survey", &out)
        .on_s3(&s3)
        .with(SPLITS)
        .ends(0);
    assert_same(reference(), &committed_with_metrics(out.path()));
    run_catalog("s3://sky/survey", "s3://sky/out")
        .on_s3(&s3)
        .with(SPLITS)
        .with("--workers 2")
        .ends(0);
    assert_same(
        reference(),
        &committed_with_metrics(&s3.bucket().join("out")),
    );
}

#[test]
fn processes_started_by_hand_change_nothing() {
    let (s3, cluster, out) = (S3::start(), HostsFile::new(), "s3://sky/out");
    copy_tree(survey(), &s3.bucket().join("survey"));
    let start = |process| {
        let run = run_catalog("s3://sky/survey", out)
            .on_s3(&s3)
            .with(SPLITS)
            .with("--workers 2 --threads 1 --json");
        run.args(cluster.flags(process)).spawn()
    };
    let (second, first) = (start(1), start(0));
    let said = wait_for_exit(first, 0, "process 0");
    wait_for_exit(second, 0, "process 1");
    assert_eq!(said.json()["drops_committed"], 3);
    assert_same(
        reference(),
        &committed_with_metrics(&s3.bucket().join("out")),
    );
}

#[test]
fn processes_that_disagree_do_not_start() {
    let batch = disagree(["--batch 64", "--batch 128"], [model(), model()]);
    assert!(
        batch
            .iter()
            .any(|said| said.contains("disagree: batch is 64 here and 128 there")),
        "{batch:?}"
    );
    let models = disagree(["", ""], [model(), other_model()]);
    assert!(
        models
            .iter()
            .any(|said| said.contains("disagree: model is")),
        "{models:?}"
    );
    // The last bits of a prediction depend on the processor's instructions.
    let instructions = disagree(
        ["--precision fp32 --instructions any", "--precision fp32"],
        [model(), model()],
    );
    assert!(
        instructions
            .iter()
            .any(|said| said.contains("disagree: instructions is")),
        "{instructions:?}"
    );
}

/// Starts two processes whose settings differ. Returns the messages of both.
fn disagree(args: [&str; 2], models: [&Path; 2]) -> [String; 2] {
    let (cluster, out) = (HostsFile::new(), folder());
    let start = |process: usize| -> Child {
        let run = Program::on("run", &text(survey()), &text(out.path()), models[process]);
        run.with(args[process]).args(cluster.flags(process)).spawn()
    };
    let children = [start(0), start(1)];
    let said = children.map(|child| wait_for_exit(child, 1, "a process that disagrees").stderr);
    assert!(
        committed(out.path()).is_empty(),
        "processes that disagree committed something"
    );
    said
}
