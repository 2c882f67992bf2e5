//! Tests publishing on stores that report success without writing, and on outputs that somebody has changed.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hubbleflow_connectors::{
    Error, Ledger, Location, Output,
    ledger::{Appended, Entry},
};
use object_store::ObjectStoreExt;
use testkit::*;

use crate::output::{NEW, OLD, commit};

/// Makes a place over a store that pretends to write.
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

/// Regression: S3 may answer a copy with 200 and an error. The file was not published, and the stage was cleared.
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
            error.contains("in the ledger as 1") && error.contains("the store reported success"),
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

/// Regression: the paths of an entry were not checked, and `--again` deleted the files that they named.
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

        // Somebody has edited this entry by hand, and its stage still exists.
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

        // The drop is committed again.
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

    // The folder of a drop was moved to another disk.
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

/// Regression: the stage of an attempt with an empty name was the stage of all attempts.
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

/// Regression: a stage could not be cleared while another run wrote to it, which ended the run.
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
                // Both may fail while the stage is cleared.
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

/// Regression: after the output was deleted, a run made entry 2 without entry 1.
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
