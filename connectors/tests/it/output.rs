//! Publishing when another run does the same, or supersedes what is being published.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use connectors::{
    Error, Ledger, Location, Output,
    ledger::{Appended, Entry},
};
use futures::future::BoxFuture;
use object_store::ObjectStoreExt;

use crate::common::*;

/// Stages and commits as a run does that knows the whole ledger.
async fn commit(here: &Location, drop: &str, attempt: &str, files: &[&str]) -> Appended {
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await.unwrap());
    for file in files {
        let bytes = attempt.as_bytes().to_vec();
        output.stage(attempt, file, bytes).await.unwrap();
    }
    let began = ledger.next();
    output
        .commit(&mut ledger, entry(drop, attempt, files), began)
        .await
        .unwrap()
}

/// The place, over a store in which something happens before the first copy or deletion of `path`.
fn before_copy(
    here: &Location,
    path: &'static str,
    first: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Location {
    let over = AtomicBool::new(false);
    failing(here, move |asked| {
        let due = asked.what == What::Copy
            && asked.path.ends_with(path)
            && !over.swap(true, Ordering::SeqCst);
        if due {
            Fault::After(first())
        } else {
            Fault::None
        }
    })
}

const OLD: &str = "photoz/a/part-0000-01.parquet";
const NEW: &str = "photoz/a/part-0000-02.parquet";

#[tokio::test]
async fn a_store_that_overwrites_what_is_there_is_refused() {
    let here = failing(&memory(), |asked| {
        if asked.what == What::Put {
            Fault::Overwrite
        } else {
            Fault::None
        }
    });
    let error = Output::new(here).check("nonce").await.unwrap_err();
    assert!(matches!(error, Error::NoConditionalPut { .. }), "{error:?}");
}

/// The store's client asks again where an answer is lost, and finds what it has made.
#[tokio::test]
async fn a_lost_answer_to_the_first_create_is_no_failure() {
    let here = memory();
    let taken = here.path("_hubbleflow/check-nonce").unwrap();
    here.store.put(&taken, "nonce".into()).await.unwrap();
    Output::new(here.clone()).check("nonce").await.unwrap();
    assert!(here.store.head(&taken).await.is_err(), "it is taken away");
}

/// What a local file system writes over a file lies beside it until it is whole, and stays there when the process is killed.
#[tokio::test]
async fn nothing_is_written_where_readers_look() {
    let folder = tempfile::tempdir().unwrap();
    let here = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
    let watched = failing(&here, |asked| {
        match asked.what == What::Put && !asked.path.contains("_hubbleflow") {
            true => Fault::Refuse,
            false => Fault::None,
        }
    });
    commit(&watched, "a", "first", &[OLD]).await;
    std::fs::write(folder.path().join(OLD), "damaged").unwrap();
    let again = commit(&watched, "a", "second", &[OLD, NEW]).await;
    assert_eq!(again, Appended::Committed(2));
    assert_eq!(std::fs::read(folder.path().join(OLD)).unwrap(), b"second");
    let published = std::fs::read_dir(folder.path().join("photoz/a")).unwrap();
    assert_eq!(published.count(), 2);
}

/// The place, over a store in which `fault` befalls the first read of the first entry after it is made.
fn before_reading_back(
    here: &Location,
    fault: impl Fn() -> Fault + Send + Sync + 'static,
) -> Location {
    let made = AtomicBool::new(false);
    failing(here, move |asked| {
        let is_entry = asked.path.ends_with("ledger/00000000000000000001.json");
        match asked.what {
            What::Put if is_entry => made.store(true, Ordering::SeqCst),
            What::Get if is_entry && made.swap(false, Ordering::SeqCst) => return fault(),
            _ => (),
        }
        Fault::None
    })
}

/// Why a commit fails over this store.
async fn commit_error(ill: Location) -> Error {
    let (output, mut ledger) = (Output::new(ill.clone()), Ledger::open(&ill).await.unwrap());
    output.stage("first", OLD, b"first".to_vec()).await.unwrap();
    let entry = entry("a", "first", &[OLD]);
    output.commit(&mut ledger, entry, 1).await.unwrap_err()
}

/// Half of the entry arrived when it was read back, which made it a damaged one, and what it commits was cleared away.
#[tokio::test]
async fn an_entry_that_is_read_back_in_part_is_published_later() {
    let here = memory();
    let error = commit_error(before_reading_back(&here, || Fault::CutBody)).await;
    assert!(error.is_transient(), "{error:?}");
    let mut ledger = Ledger::open(&here).await.unwrap();
    Output::new(here.clone())
        .recover(&mut ledger, "0")
        .await
        .unwrap();
    assert_eq!(published(&here).await, [OLD]);
}

#[tokio::test]
async fn an_entry_that_is_damaged_as_it_is_made_keeps_its_stage() {
    let here = memory();
    let of = here.clone();
    let damage = move || {
        let here = of.clone();
        Fault::After(Box::pin(async move {
            put(&here, "_hubbleflow/ledger/00000000000000000001.json", "{").await;
        }))
    };
    let error = commit_error(before_reading_back(&here, damage)).await;
    assert!(matches!(error, Error::NotWritten { .. }), "{error:?}");
    assert_eq!(staged(&here).await.len(), 1);
}

#[tokio::test]
async fn another_run_may_publish_and_clear_first() {
    let here = memory();
    let of = here.clone();
    let ours = before_copy(&here, OLD, move || {
        let here = of.clone();
        Box::pin(async move {
            let mut ledger = Ledger::open(&here).await.unwrap();
            Output::new(here).recover(&mut ledger, "0").await.unwrap();
        })
    });
    assert_eq!(
        commit(&ours, "a", "first", &[OLD]).await,
        Appended::Committed(1)
    );
    assert_eq!(published(&here).await, [OLD]);
}

#[tokio::test]
async fn a_copy_that_comes_late_leaves_no_superseded_file() {
    let here = memory();
    let of = here.clone();
    let slow = before_copy(&here, OLD, move || {
        let here = of.clone();
        Box::pin(async move {
            assert_eq!(
                commit(&here, "a", "second", &[NEW]).await,
                Appended::Committed(2)
            );
        })
    });
    assert_eq!(
        commit(&slow, "a", "first", &[OLD]).await,
        Appended::Committed(1)
    );
    assert_eq!(
        published(&here).await,
        [NEW],
        "the newest entry lists one file"
    );
}

#[tokio::test]
async fn a_file_that_is_listed_again_is_not_taken_away() {
    let here = memory();
    commit(&here, "a", "first", &[OLD]).await;
    let of = here.clone();
    let slow = before_copy(&here, NEW, move || {
        let here = of.clone();
        Box::pin(async move {
            assert_eq!(
                commit(&here, "a", "third", &[OLD]).await,
                Appended::Committed(3)
            );
        })
    });
    assert_eq!(
        commit(&slow, "a", "second", &[NEW]).await,
        Appended::Committed(2)
    );
    assert_eq!(
        published(&here).await,
        [OLD],
        "the newest entry lists one file"
    );
}

#[tokio::test]
async fn publishing_goes_on_where_a_crash_stopped_it() {
    let files = [
        "photoz/a/part-0000-aa.parquet",
        "photoz/a/part-0001-bb.parquet",
        "rejects/a/part-0000-cc.parquet",
    ];
    for stop in 1..=3 {
        let here = memory();
        commit(&here, "a", "old", &[OLD]).await;
        let copies = every(stop);
        let dead = Arc::new(AtomicBool::new(false));
        let dies = failing(&here, move |asked| {
            let now = asked.what == What::Copy && copies();
            if now || dead.load(Ordering::SeqCst) {
                dead.store(true, Ordering::SeqCst);
                return Fault::Refuse;
            }
            Fault::None
        });
        let (output, mut ledger) = (
            Output::new(dies.clone()),
            Ledger::open(&dies).await.unwrap(),
        );
        for file in files {
            output.stage("new", file, b"new".to_vec()).await.unwrap();
        }
        output
            .commit(&mut ledger, entry("a", "new", &files), 2)
            .await
            .unwrap_err();
        let mut next = Ledger::open(&here).await.unwrap();
        Output::new(here.clone())
            .recover(&mut next, "0")
            .await
            .unwrap();
        assert_eq!(published(&here).await, files, "after {stop} copies");
        let rest = staged(&here).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}

/// The place, over a store that pretends to do what is asked of it.
fn pretending(here: &Location, what: What, path: &'static str) -> Location {
    failing(here, move |asked| {
        match asked.what == what && asked.path.contains(path) {
            true => Fault::Pretend,
            false => Fault::None,
        }
    })
}

/// Stages files and tries to commit them.
async fn try_to_commit(here: &Location, entry: Entry) -> Result<Appended, Error> {
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await?);
    for path in entry.paths() {
        let bytes = entry.attempt.as_bytes().to_vec();
        output.stage(&entry.attempt, path, bytes).await?;
    }
    let began = ledger.next();
    output.commit(&mut ledger, entry, began).await
}

async fn recover(here: &Location) -> Vec<String> {
    let mut ledger = Ledger::open(here).await.unwrap();
    let output = Output::new(here.clone());
    let unpublished = output.recover(&mut ledger, "0").await.unwrap();
    unpublished
        .into_iter()
        .map(|left| left.error.to_string())
        .collect()
}

/// S3 may answer a copy with 200 and an error: the file was nowhere, and the stage was cleared.
#[tokio::test]
async fn a_copy_that_was_not_made_is_no_publishing() {
    let here = memory();
    let lying = pretending(&here, What::Copy, OLD);
    for there in [None, Some("fir")] {
        if let Some(half) = there {
            put(&here, OLD, half).await;
        }
        let error = match there {
            None => try_to_commit(&lying, entry("a", "first", &[OLD, NEW]))
                .await
                .unwrap_err()
                .to_string(),
            Some(_) => recover(&lying).await.remove(0),
        };
        assert!(
            error.contains("in the ledger as 1") && error.contains("the store said yes"),
            "{error}"
        );
        assert!(
            !staged(&here).await.is_empty(),
            "what is not published stays staged"
        );
    }
    assert_eq!(recover(&here).await, [""; 0]);
    assert_eq!(published(&here).await, [OLD, NEW]);
    assert_eq!(content(&here, OLD).await, "first");
    assert!(staged(&here).await.is_empty());
}

async fn content(here: &Location, path: &str) -> bytes::Bytes {
    let path = here.path(path).unwrap();
    here.store.get(&path).await.unwrap().bytes().await.unwrap()
}

#[tokio::test]
async fn a_file_that_was_not_staged_is_not_promised() {
    let here = memory();
    let lying = pretending(&here, What::Put, "staging");
    let error = try_to_commit(&lying, entry("a", "first", &[OLD]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotWritten { .. }), "{error:?}");
    assert_eq!(Ledger::open(&here).await.unwrap().entries(), []);
}

#[tokio::test]
async fn an_entry_that_was_not_made_commits_nothing() {
    let here = memory();
    let lying = pretending(&here, What::Put, "ledger");
    let error = try_to_commit(&lying, entry("a", "first", &[OLD]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotWritten { .. }), "{error:?}");
    assert!(published(&here).await.is_empty());
    assert!(
        Output::new(pretending(&here, What::Put, "check"))
            .check("nonce")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_superseded_file_is_seen_to_be_gone() {
    let here = memory();
    commit(&here, "a", "first", &[OLD]).await;
    let lying = pretending(&here, What::Delete, "photoz");
    let error = try_to_commit(&lying, entry("a", "second", &[NEW]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("still there"), "{error}");
    assert_eq!(recover(&here).await, [""; 0]);
    assert_eq!(published(&here).await, [NEW]);
}

/// An entry's paths were taken as they came: `--again` deleted whatever they named.
#[tokio::test]
async fn an_entry_reaches_no_files_but_its_own() {
    let elsewhere = [
        "photoz/b/part-0000-01.parquet",
        "_hubbleflow/ledger/00000000000000000001.json",
        "_hubbleflow/metrics/00000000000000000001.json",
        "photoz/a/../b/part-0000-01.parquet",
        "../x",
        "notes.txt",
    ];
    for path in elsewhere {
        let here = memory();
        commit(&here, "b", "b", &["photoz/b/part-0000-01.parquet"]).await;
        put(&here, "_hubbleflow/metrics/00000000000000000001.json", "{}").await;
        put(&here, "notes.txt", "mine").await;
        let before = paths(&here).await;

        // As somebody has written it into the ledger; its stage is still there.
        let mut ledger = Ledger::open(&here).await.unwrap();
        let appended = ledger
            .append(entry("a", "first", &[path]), 2)
            .await
            .unwrap();
        assert_eq!(appended, Appended::Committed(2), "{path}");
        Output::new(here.clone())
            .stage("first", NEW, b"first".to_vec())
            .await
            .unwrap();
        let unpublished = recover(&here).await;
        assert!(
            unpublished.len() == 1 && unpublished[0].contains("drop a"),
            "{unpublished:?}"
        );

        // The drop is taken in again.
        assert_eq!(
            commit(&here, "a", "second", &[NEW]).await,
            Appended::Committed(3)
        );
        assert_eq!(recover(&here).await, [""; 0], "{path}");
        let mut after = paths(&here).await;
        after.retain(|path| path != NEW && !path.ends_with("2.json") && !path.ends_with("3.json"));
        assert_eq!(after, before, "{path}");
    }
}

#[tokio::test]
async fn a_file_is_published_among_those_of_its_drop_alone() {
    let here = memory();
    let error = try_to_commit(&here, entry("a", "first", &["photoz/b/x.parquet"]))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Ledger { .. }), "{error:?}");
    assert_eq!(
        paths(&here).await,
        [""; 0],
        "it is neither committed nor staged"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn what_lies_behind_a_link_stays() {
    use std::os::unix::fs::symlink;
    let (folder, precious) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let here = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
    std::fs::create_dir(precious.path().join("attempt")).unwrap();
    let kept = ["file", "attempt/file"].map(|name| precious.path().join(name));
    kept.iter()
        .for_each(|file| std::fs::write(file, "precious").unwrap());
    let staging = folder.path().join("_hubbleflow/staging");
    std::fs::create_dir_all(staging.join("first/photoz")).unwrap();
    symlink(precious.path(), staging.join("second")).unwrap();
    symlink(precious.path(), staging.join("first/photoz/a")).unwrap();
    assert_eq!(recover(&here).await, [""; 0]);
    assert!(!staging.exists(), "the links are gone");

    symlink(precious.path(), &staging).unwrap();
    let mut ledger = Ledger::open(&here).await.unwrap();
    let error = Output::new(here.clone())
        .recover(&mut ledger, "0")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Link { .. }), "{error:?}");
    std::fs::remove_file(&staging).unwrap();

    // A drop's folder that was moved to another disk.
    commit(&here, "a", "third", &[OLD]).await;
    let drop = folder.path().join("photoz/a");
    std::fs::rename(&drop, precious.path().join("moved")).unwrap();
    symlink(precious.path().join("moved"), &drop).unwrap();
    let error = try_to_commit(&here, entry("a", "fourth", &[NEW]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert!(precious.path().join("moved/part-0000-01.parquet").exists());
    assert!(
        kept.iter()
            .all(|file| std::fs::read(file).unwrap() == b"precious")
    );
}

/// The name of an attempt that is empty was the stage of all attempts.
#[tokio::test]
async fn the_stage_of_one_attempt_is_cleared_alone() {
    let here = memory();
    let output = Output::new(here.clone());
    output.stage("other", OLD, b"other".to_vec()).await.unwrap();
    for attempt in ["", ".", "..", "other/photoz", "../../photoz"] {
        assert!(output.clear_stage(attempt).await.is_err(), "{attempt}");
    }
    assert_eq!(staged(&here).await.len(), 1);
}

/// A stage that another run still wrote to could not be cleared, which ended the run that cleared it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_is_written_to_is_cleared_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let here = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
    let output = Output::new(here);
    let stage = folder.path().join("_hubbleflow/staging/first/photoz/a");
    let over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let over = over.clone();
        move || {
            for n in 0_u64.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                // Either may fail while the stage is being cleared.
                let _ = std::fs::create_dir_all(&stage);
                let _ = std::fs::write(stage.join(n.to_string()), "");
            }
        }
    });
    for _ in 0..300 {
        output.clear_stage("first").await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    writer.join().unwrap();
    output.clear_stage("first").await.unwrap();
    assert!(!folder.path().join("_hubbleflow/staging").exists());
}

/// A run beside a deleted output made an entry 2 without a 1.
#[tokio::test]
async fn an_entry_comes_after_the_one_before_it() {
    let here = memory();
    commit(&here, "a", "first", &[OLD]).await;
    for replaced in [false, true] {
        let (output, mut ledger) = (
            Output::new(here.clone()),
            Ledger::open(&here).await.unwrap(),
        );
        for path in paths(&here).await {
            here.store.delete(&here.path(&path).unwrap()).await.unwrap();
        }
        if replaced {
            commit(&here, "b", "of-another-run", &["photoz/b/x.parquet"]).await;
        }
        let before = paths(&here).await;
        output
            .stage("third", "photoz/c/x.parquet", b"third".to_vec())
            .await
            .unwrap();
        let error = output
            .commit(&mut ledger, entry("c", "third", &["photoz/c/x.parquet"]), 2)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("00000000000000000001.json"),
            "{error}"
        );
        assert_eq!(paths(&here).await, before);
        if !replaced {
            commit(&here, "a", "first", &[OLD]).await;
        }
    }
}
