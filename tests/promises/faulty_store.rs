//! A store that fails at random: nothing wrong is ever committed, and running again ends with the same files as without
//! faults.
use std::{
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use connectors::{Ledger, Location, ledger::EntryKind};
use futures::TryStreamExt;
use hubbleflow::{Job, JobSettings, LoadedModel, Places};
use models::Precision;
use object_store::ObjectStoreExt;
use tempfile::TempDir;
use testkit::{
    Seeded, below, failing,
    gate::{RequestHead, Verdict, start_gate},
    memory, one_in_ten,
    outputs::{checkpoints, committed, committed_drops, staged_files},
    program::Program,
    s3::S3,
    survey::{
        CPU_FLOAT32, STORED_OFTEN, SURVEY_DROPS, model, run_catalog, survey, undisturbed_run,
    },
    tree::{Tree, assert_same, copy_tree, folder, text, tree},
};
use tokio::runtime::Runtime;

/// Upper bound on the runs until all drops are committed.
const RUNS_MAX: usize = 400;

/// Few rows a split, whose results are stored as soon as may be, with the arithmetic of runs in this process.
fn flags() -> String {
    format!("{CPU_FLOAT32} {STORED_OFTEN}")
}

/// Reads all objects below a place.
async fn content(place: &Location) -> Tree {
    let store = &place.store;
    let listed = store.list(Some(&place.prefix)).try_collect::<Vec<_>>();
    let mut content = Tree::new();
    for meta in listed.await.unwrap() {
        let name = place.relative(&meta.location).to_owned();
        let bytes = store.get(&meta.location).await.unwrap().bytes().await;
        content.insert(name, bytes.unwrap().into());
    }
    content
}

/// Runs the survey in this process. Returns whether all drops are committed.
fn run(places: Places, runtime: &Runtime) -> bool {
    let mut settings = JobSettings {
        threads: Some(1),
        memory_bytes: 1_000_000,
        checkpoint: Duration::from_millis(1),
        ..JobSettings::default()
    };
    settings.plan.split_bytes = 60_000;
    let model = models::load(model(), tch::Device::Cpu, Precision::Fp32).unwrap();
    let handle = runtime.handle().clone();
    let (tell, told) = mpsc::channel();
    // A run that never ends fails the test after five minutes.
    std::thread::spawn(move || {
        let job = Job::builder("catalog", "out")
            .places(places)
            .loaded_model(LoadedModel::own(model))
            .settings(settings)
            .runtime(&handle)
            .build();
        let summary = job.unwrap().run();
        tell.send(summary.is_ok_and(|summary| summary.drops_failed == 0))
            .unwrap();
    });
    told.recv_timeout(Duration::from_secs(300))
        .expect("the run comes to an end")
}

/// Runs on a store that fails as the seed says, until all drops are committed. All published files are right at any time.
fn disturbed(place: &Location, seed: u64, expected: &Tree) {
    println!("seed {seed}");
    let runtime = Runtime::new().unwrap();
    let (catalog, out) = (below(place, "catalog"), below(place, "out"));
    runtime.block_on(async {
        for (name, bytes) in tree(survey()) {
            let path = catalog.path(&name).unwrap();
            catalog.store.put(&path, bytes.into()).await.unwrap();
        }
    });
    let healthy = Places { catalog, out };
    let ill = Places {
        catalog: failing(&healthy.catalog, one_in_ten(seed)),
        out: failing(&healthy.out, one_in_ten(seed + 1000)),
    };
    let published = || -> Tree {
        let mut all = runtime.block_on(content(&healthy.out));
        all.retain(|name, _| !name.starts_with("_hubbleflow/"));
        all
    };
    let mut runs = 1;
    while !run(ill.clone(), &runtime) {
        let wrong = published()
            .into_iter()
            .find(|(name, bytes)| expected.get(name) != Some(bytes));
        assert_eq!(wrong, None, "seed {seed}, after {runs} runs");
        runs += 1;
        assert!(
            runs < RUNS_MAX,
            "seed {seed}: {RUNS_MAX} runs do not commit all drops"
        );
    }
    // A run without faults clears what the last run could not clear.
    assert!(run(healthy.clone(), &runtime));
    assert_same(expected, &published());
    let ledger = runtime.block_on(Ledger::open(&healthy.out)).unwrap();
    let entries = ledger.entries().iter();
    let mut names: Vec<&str> = entries
        .filter(|entry| entry.kind == EntryKind::Drop)
        .map(|entry| entry.drop.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, SURVEY_DROPS);
    let all = runtime.block_on(content(&healthy.out));
    let left = all
        .keys()
        .find(|name| name.contains("/staging/") || name.contains("/checkpoints/"));
    assert_eq!(left, None, "seed {seed}");
}

#[test]
fn a_faulty_store_in_memory_commits_nothing_wrong() {
    let expected = undisturbed_run(survey(), &flags());
    for seed in 1..=4 {
        disturbed(&memory(), seed, &expected);
    }
}

#[test]
fn faulty_local_files_commit_nothing_wrong() {
    let expected = undisturbed_run(survey(), &flags());
    for seed in 11..=12 {
        let folder: TempDir = folder();
        let place = Location::open(&text(folder.path()), &[]).unwrap();
        disturbed(&place, seed, &expected);
    }
}

/// Decides the fate of a request to a faulty S3: one in ten is refused, has its answer cut, or loses its answer.
fn judge(head: &RequestHead, seeded: &mut Seeded, endpoint: String) -> Verdict {
    const DOWN: Verdict = Verdict::Answer(
        "503 Service Unavailable",
        "<Error><Code>SlowDown</Code></Error>",
    );
    match (seeded.below(0..10), seeded.below(0..3)) {
        (0, 0) => DOWN,
        (0, 1) if head.writes() => Verdict::LoseAnswer(endpoint),
        (0, _) => Verdict::CutAnswer(endpoint),
        _ => Verdict::Pass(endpoint),
    }
}

#[test]
fn a_faulty_bucket_commits_nothing_wrong() {
    let (s3, expected) = (S3::start(), undisturbed_run(survey(), &flags()));
    copy_tree(survey(), &s3.bucket().join("survey"));
    for seed in 1..=2 {
        println!("seed {seed}");
        let (endpoint, seeded) = (s3.endpoint(), Arc::new(Mutex::new(Seeded(seed))));
        let gate = start_gate(move |head| {
            let mut seeded = seeded.lock().unwrap();
            judge(head, &mut seeded, endpoint.clone())
        });
        let url = format!("s3://sky/out-{seed}");
        let run = || {
            run_catalog("s3://sky/survey", &url)
                .with(&flags())
                .on_s3(&s3)
        };
        let out = s3.bucket().join(format!("out-{seed}"));
        for _ in 0..RUNS_MAX {
            let ended = run().env("AWS_ENDPOINT_URL", &gate).start().wait();
            assert!(matches!(ended.code, 0 | 1 | 3), "{}", ended.stderr);
            right_so_far(&out, &expected);
            if ended.code == 0 {
                break;
            }
        }
        run().ends(0);
        assert_same(&expected, &committed(&out));
        assert_eq!(committed_drops(&out), SURVEY_DROPS);
        assert!(staged_files(&out).is_empty() && checkpoints(&out).is_empty());
        Program::new(["verify", &url]).on_s3(&s3).ends(0);
    }
}

fn right_so_far(out: &Path, expected: &Tree) {
    let now = committed(out);
    let wrong = now
        .iter()
        .find(|(name, bytes)| expected.get(*name) != Some(*bytes));
    assert_eq!(wrong.map(|(name, _)| name), None);
}
