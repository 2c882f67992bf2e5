//! A run that ends before its drop is committed has stored most of what it did: the next run goes on from there.
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use testkit::{
    gate::{Verdict, start_gate},
    outputs::{checkpoints, committed, ledger, staged_files},
    processes::{children, signal, wait_until},
    program::Program,
    running::Running,
    s3::S3,
    survey::{STORED_OFTEN, long_survey, other_model, run_catalog, undisturbed_run},
    tree::{Tree, assert_same, folder, text, write_file},
};

/// Many splits.
const FLAGS: &str = "--split-bytes 500kB --memory 64MB --threads 1 --json";
/// Stores results as soon as may be.
const OFTEN: &str = "--checkpoint 100ms";
/// Stores nothing before the process is told to end.
const NEVER: &str = "--checkpoint 1h";
/// How long a process that is told to end may take.
const PATIENCE: Duration = Duration::from_secs(10);
const ROWS: u64 = 6000;

fn undisturbed() -> Tree {
    undisturbed_run(long_survey(), FLAGS)
}

fn run(out: &Path) -> Program {
    run_catalog(long_survey(), out).with(FLAGS).with(OFTEN)
}

/// Waits until a run has stored something new.
fn wait_for_checkpoint(out: &Path, before: &BTreeSet<String>) {
    wait_until("results are stored", || {
        checkpoints(out).iter().any(|name| !before.contains(name))
    });
}

/// Asserts that the output is that of an undisturbed run, and that nothing is left behind.
fn check(out: &Path) {
    assert_same(&undisturbed(), &committed(out));
    assert!(checkpoints(out).is_empty(), "{:?}", checkpoints(out));
    assert!(staged_files(out).is_empty());
    Program::new(["verify", &text(out)]).ends(0);
}

#[test]
fn a_killed_run_goes_on_from_its_checkpoints() {
    let out = folder();
    let mut adopted = 0;
    for _ in 0..3 {
        let before = checkpoints(out.path());
        let mut running = run(out.path()).start();
        wait_for_checkpoint(out.path(), &before);
        running.kill();
        let ended = running.wait();
        assert_eq!(ended.code, -9, "the drop took too little time");
        // Each try adopts what the tries before it have stored.
        let rows = rows_adopted(&ended.stderr);
        assert!(rows >= adopted, "{rows} of {adopted}");
        adopted = rows;
    }
    let ended = run(out.path()).ends(0);
    assert!(rows_adopted(&ended.stderr) > adopted);
    assert_eq!(ended.json()["rows_adopted"], rows_adopted(&ended.stderr));
    check(out.path());
}

/// The number of adopted rows, as a run says when it begins.
fn rows_adopted(stderr: &str) -> u64 {
    let line = stderr
        .lines()
        .find(|line| line.contains("rows come from checkpoints"));
    let rows = line.and_then(|line| line.split_whitespace().nth(1));
    rows.map_or(0, |rows| rows.parse().unwrap())
}

#[test]
fn a_cluster_whose_process_is_killed_goes_on_from_its_checkpoints() {
    let out = folder();
    let running = run(out.path()).with("--local 2").start();
    wait_for_checkpoint(out.path(), &BTreeSet::new());
    signal(children(running.id())[1], "KILL");
    let ended = running.ends(0);
    ended.says(&["starting the cluster again", "come from checkpoints"]);
    check(out.path());
}

/// A bucket with a survey of one drop, which a slow store takes at least ten seconds to hand out.
struct SlowBucket {
    s3: S3,
    gate: String,
    reads: Arc<AtomicUsize>,
}

impl SlowBucket {
    fn start() -> Self {
        let (s3, reads) = (S3::start(), Arc::new(AtomicUsize::new(0)));
        // Few bytes, since the server reads a whole file for each range of it.
        let sample = "sample s3://sky/survey --px 32 --galaxies 500 --drops 1";
        Program::new(sample.split(' ')).on_s3(&s3).ends(0);
        let (counted, endpoint) = (reads.clone(), s3.endpoint());
        let gate = start_gate(move |head| {
            if head.method() == "GET" && head.target().contains("survey/drop-0001/") {
                counted.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(200));
            }
            Verdict::Pass(endpoint.clone())
        });
        Self { s3, gate, reads }
    }

    /// A run that stores nothing before it is told to end.
    fn run(&self) -> Program {
        let run = run_catalog("s3://sky/survey", "s3://sky/out").on_s3(&self.s3);
        run.with("--split-bytes 60kB --memory 1MB --threads 1 --json")
            .with(NEVER)
    }

    /// Tells a run on the slow store to end, when some rows are predicted. The next run goes on from there.
    fn ends_and_goes_on(&self, flags: &str) {
        let run = self.run().with(flags).env("AWS_ENDPOINT_URL", &self.gate);
        let mut running = run.start();
        wait_until("rows are read", || self.reads.load(Ordering::SeqCst) >= 20);
        running.signal("TERM");
        assert!(running.has_ended_within(PATIENCE));
        let ended = running.wait();
        assert_eq!(ended.code, 128 + 15, "{}", ended.stderr);
        let out = self.s3.bucket().join("out");
        assert!(ledger(&out).is_empty() && !checkpoints(&out).is_empty());
        let ended = self.run().ends(0);
        assert!(rows_adopted(&ended.stderr) > 0);
        let whole = folder();
        let catalog = self.s3.bucket().join("survey");
        let flags = "--split-bytes 60kB --memory 1MB";
        run_catalog(&catalog, &whole).with(flags).ends(0);
        assert_same(&committed(whole.path()), &committed(&out));
        assert!(checkpoints(&out).is_empty());
    }
}

#[test]
fn a_run_that_is_told_to_end_stores_what_is_done() {
    SlowBucket::start().ends_and_goes_on("");
}

#[test]
fn a_cluster_that_is_told_to_end_stores_what_is_done() {
    SlowBucket::start().ends_and_goes_on("--local 2");
}

#[test]
fn no_split_that_is_stored_is_read_again_from_a_bucket() {
    let s3 = S3::start();
    // Few bytes, since the server reads a whole file for each range of it.
    let sample = "sample s3://sky/survey --px 32 --galaxies 500 --drops 1";
    Program::new(sample.split(' ')).on_s3(&s3).ends(0);
    let (reads, endpoint) = (Arc::new(AtomicUsize::new(0)), s3.endpoint());
    let counted = reads.clone();
    let gate = start_gate(move |head| {
        let is_row = head.method() == "GET" && head.target().contains("survey/drop-0001/");
        counted.fetch_add(usize::from(is_row), Ordering::SeqCst);
        Verdict::Pass(endpoint.clone())
    });
    let run = |out: &str| {
        let run = run_catalog("s3://sky/survey", out).with(STORED_OFTEN);
        run.on_s3(&s3).env("AWS_ENDPOINT_URL", &gate)
    };
    run("s3://sky/whole").ends(0);
    let of_one_run = reads.swap(0, Ordering::SeqCst);
    let out = s3.bucket().join("out");
    let tries = 3;
    for _ in 0..tries {
        let before = checkpoints(&out);
        let mut running = run("s3://sky/out").start();
        wait_for_checkpoint(&out, &before);
        running.kill();
        running.wait();
    }
    run("s3://sky/out").ends(0);
    // Each try may lose what it has in hand and what it has not stored yet, and reads the footers again.
    let lost = reads.load(Ordering::SeqCst) - of_one_run;
    assert!(
        lost * 10 < of_one_run * 6,
        "{lost} of {of_one_run} reads were in vain"
    );
    assert_same(&committed(&s3.bucket().join("whole")), &committed(&out));
    assert!(checkpoints(&out).is_empty());
}

/// An output with checkpoints of an uncommitted drop.
fn interrupted() -> tempfile::TempDir {
    let out = folder();
    let mut running = run(out.path()).start();
    wait_for_checkpoint(out.path(), &BTreeSet::new());
    running.kill();
    running.wait();
    out
}

#[test]
fn results_of_another_model_or_of_other_settings_are_not_adopted() {
    let out = interrupted();
    let ended = run(out.path()).with("--batch 64").ends(0);
    assert_eq!(ended.json()["rows_adopted"], 0);
    assert!(checkpoints(out.path()).is_empty());

    let out = interrupted();
    let other = Program::on(
        "run",
        &text(long_survey()),
        &text(out.path()),
        other_model(),
    );
    let ended = other.with(FLAGS).ends(0);
    assert_eq!(ended.json()["rows_adopted"], 0);
    assert!(checkpoints(out.path()).is_empty());
}

#[test]
fn a_drop_that_is_taken_again_adopts_nothing() {
    let out = interrupted();
    let ended = run(out.path()).with("--again").ends(0);
    assert_eq!(ended.json()["rows_adopted"], 0);
    check(out.path());
}

#[test]
fn without_checkpoints_nothing_is_stored() {
    let out = folder();
    let watched = out.path().to_owned();
    let running = run_catalog(long_survey(), &out).with(FLAGS);
    let mut running = running.with("--checkpoint 0").start();
    while !running.has_ended() {
        assert!(checkpoints(&watched).is_empty());
        std::thread::sleep(Duration::from_millis(20));
    }
    running.ends(0);
    check(out.path());
}

#[test]
fn plan_and_status_say_what_is_stored() {
    let out = interrupted();
    let plan = Program::on(
        "plan",
        &text(long_survey()),
        &text(out.path()),
        testkit::survey::model(),
    );
    let plan = plan.with("--split-bytes 500kB --json").ends(0).json();
    let stored = plan["drops"][0]["rows_stored"].as_u64().unwrap();
    assert!(0 < stored && stored < ROWS, "{stored}");
    let ended = run(out.path()).ends(0);
    assert_eq!(ended.json()["rows_adopted"], stored);
}

#[test]
fn useless_checkpoints_are_removed_at_the_next_start() {
    let out = interrupted();
    let name = checkpoints(out.path()).first().unwrap().clone();
    let stored = fs::read(out.path().join(&name)).unwrap();
    run(out.path()).ends(0);
    // A run that was slow has stored it after the commit.
    let folder = "_hubbleflow/checkpoints/a-drop-that-is-gone";
    let gone = name.replace("_hubbleflow/checkpoints/drop-0001", folder);
    for name in [&name, &gone] {
        write_file(out.path().join(name), &stored);
    }
    run(out.path()).ends(0);
    assert!(checkpoints(out.path()).is_empty());
}

#[test]
fn two_runs_adopt_from_each_other() {
    let out = interrupted();
    let start = || run(out.path()).start();
    let runs: [Running; 2] = [start(), start()];
    for run in runs {
        run.ends(0);
    }
    assert_same(&undisturbed(), &committed(out.path()));
    assert!(staged_files(out.path()).is_empty());
}
