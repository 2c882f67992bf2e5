//! Same answer: the same files to the byte, and the same metrics, whatever the cluster's shape, its memory and its store.
use std::{io::Write, net::TcpListener, path::Path, process::Child, sync::OnceLock};

use tempfile::NamedTempFile;

use crate::survey::{
    Program, S3, Tree, answer, assert_same, committed, copy, end, floats, folder, model,
    other_model, rows, survey, text,
};

/// Fourteen rows a split: what the workers do is interleaved in another way each time.
const SPLITS: &str = "--split-bytes 300kB";

/// What one worker with one thread makes of the survey.
fn reference() -> &'static Tree {
    static REFERENCE: OnceLock<Tree> = OnceLock::new();
    REFERENCE.get_or_init(|| from_files("--workers 1 --threads 1"))
}

fn from_files(args: &str) -> Tree {
    let out = folder();
    Program::run(survey(), &out).with(SPLITS).with(args).ends(0);
    answer(out.path())
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
        "too few splits to be dealt out: {splits:?}"
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
    Program::run(survey(), &out).with(SPLITS).ends(0);
    let mut z: Vec<u32> = floats(&rows(out.path().join("photoz")), "z_phot")
        .into_iter()
        .flatten()
        .map(f32::to_bits)
        .collect();
    z.sort_unstable();
    z.dedup();
    assert!(
        z.len() > 100,
        "only {} different predictions could be told apart",
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
    // The first leaves a worker 18 kB for predictions: some of them wait in the stage.
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
    copy(survey(), &s3.bucket().join("survey"));
    Program::run("s3://sky/survey", &out)
        .at(&s3)
        .with(SPLITS)
        .ends(0);
    assert_same(reference(), &answer(out.path()));
    Program::run("s3://sky/survey", "s3://sky/out")
        .at(&s3)
        .with(SPLITS)
        .with("--workers 2")
        .ends(0);
    assert_same(reference(), &answer(&s3.bucket().join("out")));
}

#[test]
fn processes_started_by_hand_change_nothing() {
    let (s3, cluster, out) = (S3::start(), Hosts::new(), "s3://sky/out");
    copy(survey(), &s3.bucket().join("survey"));
    let start = |process| {
        let run = Program::run("s3://sky/survey", out)
            .at(&s3)
            .with(SPLITS)
            .with("--workers 2 --threads 1 --json");
        run.args(cluster.flags(process)).start()
    };
    let (second, first) = (start(1), start(0));
    let said = end(first, 0, "process 0");
    end(second, 0, "process 1");
    assert_eq!(said.json()["drops_committed"], 3);
    assert_same(reference(), &answer(&s3.bucket().join("out")));
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
    // The last bits of a prediction depend on them.
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

/// Starts two processes that cannot work together; what they say as they end.
fn disagree(args: [&str; 2], models: [&Path; 2]) -> [String; 2] {
    let (cluster, out) = (Hosts::new(), folder());
    let start = |process: usize| -> Child {
        let run = Program::on("run", &text(survey()), &text(out.path()), models[process]);
        run.with(args[process]).args(cluster.flags(process)).start()
    };
    let children = [start(0), start(1)];
    let said = children.map(|child| end(child, 1, "a process that disagrees").stderr);
    assert!(
        committed(out.path()).is_empty(),
        "something was committed all the same"
    );
    said
}

/// A hosts file with two addresses of this machine.
pub struct Hosts(NamedTempFile);

impl Hosts {
    pub fn new() -> Self {
        let mut file = NamedTempFile::new().unwrap();
        // Held until both are known, so that they differ.
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        for listener in &listeners {
            writeln!(file, "{}", listener.local_addr().unwrap()).unwrap();
        }
        Self(file)
    }

    pub fn flags(&self, process: usize) -> Vec<String> {
        let hosts = text(self.0.path());
        [
            "--processes",
            "2",
            "--process",
            &process.to_string(),
            "--hosts",
            &hosts,
        ]
        .map(str::to_owned)
        .into()
    }
}
