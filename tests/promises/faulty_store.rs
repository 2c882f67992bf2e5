//! A store that fails now and then, in every way that stores do: nothing wrong is ever committed, and running again
//! ends with the same files as if it had not.
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use connectors::{Ledger, Location, ledger::Kind};
use engine::{Job, job::Places, settings::RunArgs};
use futures::TryStreamExt;
use models::Precision;
use object_store::ObjectStoreExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    conformance::common::{Seeded, below, failing, memory, one_in_ten},
    gate::{Head, Verdict, gate},
    survey::{
        Program, S3, Tree, assert_same, committed, copy, drops, folder, model, survey, text, tree,
    },
};

/// Runs until a store that fails lets all drops through, however often that is.
const RUNS_MAX: usize = 400;

/// What a run makes of the survey where nothing fails.
fn undisturbed() -> Tree {
    let out = folder();
    Program::run(survey(), &out)
        .with("--precision fp32 --device cpu")
        .ends(0);
    committed(out.path())
}

/// All that lies below a place.
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

/// Runs the survey in this process; whether all its drops are committed.
fn run(places: Places, runtime: &Runtime) -> bool {
    let mut args = RunArgs::new("catalog", "out", "model");
    args.threads = Some(1);
    let model = models::load(model(), tch::Device::Cpu, Precision::Fp32).unwrap();
    let handle = runtime.handle().clone();
    let (tell, told) = mpsc::channel();
    // A run that never ends is to fail the test, not to hold it up.
    std::thread::spawn(move || {
        let job = Job::between(&args, model.as_ref(), places, &handle).unwrap();
        let summary = engine::run(job, &handle);
        tell.send(summary.is_ok_and(|summary| summary.drops_failed == 0))
            .unwrap();
    });
    told.recv_timeout(Duration::from_secs(300))
        .expect("the run comes to an end")
}

/// Runs through a store that fails by a seed until all is committed; what is there is right at any time.
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
        assert!(runs < RUNS_MAX, "seed {seed}: it never comes through");
    }
    // What the last run could not clear, the next does.
    assert!(run(healthy.clone(), &runtime));
    assert_same(expected, &published());
    let ledger = runtime.block_on(Ledger::open(&healthy.out)).unwrap();
    let entries = ledger.entries().iter();
    let mut names: Vec<&str> = entries
        .filter(|entry| entry.kind == Kind::Drop)
        .map(|entry| entry.drop.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["drop-0001", "drop-0002", "drop-0003-specz"]);
    let all = runtime.block_on(content(&healthy.out));
    let left = all.keys().find(|name| name.contains("/staging/"));
    assert_eq!(left, None, "seed {seed}");
}

#[test]
fn a_faulty_store_in_memory_commits_nothing_wrong() {
    let expected = undisturbed();
    for seed in 1..=4 {
        disturbed(&memory(), seed, &expected);
    }
}

#[test]
fn faulty_local_files_commit_nothing_wrong() {
    let expected = undisturbed();
    for seed in 11..=12 {
        let folder: TempDir = folder();
        let place = Location::open(&text(folder.path()), &[]).unwrap();
        disturbed(&place, seed, &expected);
    }
}

/// What becomes of the requests to a faulty S3: one in ten fails, another is cut short, or loses its answer.
fn judge(head: &Head, seeded: &mut Seeded, endpoint: String) -> Verdict {
    const DOWN: Verdict = Verdict::Answer(
        "503 Service Unavailable",
        "<Error><Code>SlowDown</Code></Error>",
    );
    match (seeded.below(0..10), seeded.below(0..3)) {
        (0, 0) => DOWN,
        (0, 1) if head.writes() => Verdict::Lose(endpoint),
        (0, _) => Verdict::Cut(endpoint),
        _ => Verdict::Pass(endpoint),
    }
}

#[test]
fn a_faulty_bucket_commits_nothing_wrong() {
    let (s3, expected) = (S3::start(), undisturbed());
    copy(survey(), &s3.bucket().join("survey"));
    for seed in 1..=2 {
        println!("seed {seed}");
        let (endpoint, seeded) = (s3.endpoint(), Arc::new(Mutex::new(Seeded(seed))));
        let gate = gate(move |head| {
            let mut seeded = seeded.lock().unwrap();
            judge(head, &mut seeded, endpoint.clone())
        });
        let url = format!("s3://sky/out-{seed}");
        let run = || {
            Program::run("s3://sky/survey", &url)
                .with("--precision fp32 --device cpu")
                .at(&s3)
        };
        let out = s3.bucket().join(format!("out-{seed}"));
        for _ in 0..RUNS_MAX {
            let ended = run().env("AWS_ENDPOINT_URL", &gate).runs().ended();
            assert!(matches!(ended.code, 0 | 1 | 3), "{}", ended.stderr);
            right_so_far(&out, &expected);
            if ended.code == 0 {
                break;
            }
        }
        run().ends(0);
        assert_same(&expected, &committed(&out));
        let mut names = drops(&out);
        names.retain(|name| !name.is_empty());
        names.sort();
        assert_eq!(names, ["drop-0001", "drop-0002", "drop-0003-specz"]);
        assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
        Program::new(["verify", &url]).at(&s3).ends(0);
    }
}

/// What S3 may answer to a copy that it has not made.
const YES_AND_NO: Verdict = Verdict::Answer(
    "200 OK",
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>ServiceUnavailable</Code></Error>",
);

/// A survey in a bucket, a run on it behind a gate, and the same run without.
fn behind(
    s3: &S3,
    judge: impl Fn(&Head) -> Option<Verdict> + Send + Sync + 'static,
) -> [Program; 2] {
    copy(survey(), &s3.bucket().join("survey"));
    let endpoint = s3.endpoint();
    let gate = gate(move |head| judge(head).unwrap_or_else(|| Verdict::Pass(endpoint.clone())));
    let run = || {
        Program::run("s3://sky/survey", "s3://sky/out")
            .with("--precision fp32 --device cpu")
            .at(s3)
    };
    [run().env("AWS_ENDPOINT_URL", &gate), run()]
}

fn copies(head: &Head) -> bool {
    head.method() == "PUT"
        && ["photoz", "rejects"]
            .iter()
            .any(|folder| head.target().contains(&format!("out/{folder}")))
}

/// The file was nowhere, the stage was cleared, and the run said committed.
#[test]
fn an_error_inside_a_yes_is_asked_again() {
    let (s3, expected) = (S3::start(), undisturbed());
    let lies = AtomicUsize::new(0);
    let [run, _] = behind(&s3, move |head| {
        let lie = copies(head) && lies.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        lie.then_some(YES_AND_NO)
    });
    run.runs().ends(0);
    let out = s3.bucket().join("out");
    assert_same(&expected, &committed(&out));
    assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    Program::new(["verify", "s3://sky/out"]).at(&s3).ends(0);
}

#[test]
fn what_has_not_arrived_is_not_published() {
    for answer in [("200 OK", ""), ("200 OK", "<CopyObjectResult/>")] {
        let (s3, expected) = (S3::start(), undisturbed());
        let [run, again] = behind(&s3, move |head| {
            copies(head).then_some(Verdict::Answer(answer.0, answer.1))
        });
        let ended = run.runs().ends(3);
        ended.says(&[
            "drop-0001: FAILED",
            "the store said yes",
            "the next run goes on with it",
        ]);
        let out = s3.bucket().join("out");
        assert!(!tree(&out.join("_hubbleflow/staging")).is_empty());
        again.runs().ends(0);
        assert_same(&expected, &committed(&out));
        assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    }
}

/// A listing that is an error was a catalog without drops.
#[test]
fn a_listing_that_is_an_error_is_no_empty_catalog() {
    let s3 = S3::start();
    let first = AtomicBool::new(true);
    let [run, _] = behind(&s3, move |head| {
        let lists = head.target().contains("list-type=2") && head.target().contains("survey");
        (lists && first.swap(false, Ordering::SeqCst)).then_some(YES_AND_NO)
    });
    run.runs().ends(0);
    assert_eq!(drops(&s3.bucket().join("out")).len(), 3);
}

fn right_so_far(out: &Path, expected: &Tree) {
    let now = committed(out);
    let wrong = now
        .iter()
        .find(|(name, bytes)| expected.get(*name) != Some(*bytes));
    assert_eq!(wrong.map(|(name, _)| name), None);
}
