//! An output stages, commits, publishes and recovers.
use connectors::{
    Ledger, Location, Output,
    ledger::{Appended, Entry, EntryKind},
};
use object_store::ObjectStoreExt;

use crate::{entry, paths, published, put, staged};

pub async fn the_check_of_a_store_leaves_nothing(here: &Location) {
    let output = Output::new(here.clone());
    output.check("one").await.unwrap();
    output.check("two").await.unwrap();
    assert!(
        paths(here).await.is_empty(),
        "{here:?}: the check left objects behind"
    );
}

/// Stages files. The content of each is the attempt's name.
async fn stage(here: &Location, attempt: &str, files: &[&str]) {
    for file in files {
        Output::new(here.clone())
            .stage(attempt, file, attempt.as_bytes().to_vec())
            .await
            .unwrap();
    }
}

async fn content(here: &Location, path: &str) -> Vec<u8> {
    let answer = here.store.get(&here.path(path).unwrap()).await.unwrap();
    answer.bytes().await.unwrap().to_vec()
}

pub async fn a_drop_is_staged_committed_and_published(here: &Location) {
    let files = [
        "photoz/a b=é+%/part-0000-01.parquet",
        "photoz/a b=é+%/part-0001-02.parquet",
        "rejects/a b=é+%/part-0000-03.parquet",
    ];
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await.unwrap());
    stage(here, "first", &files).await;
    output
        .stage("first", "left-over", b"rows".to_vec())
        .await
        .unwrap();
    assert_eq!(
        here.read(&connectors::paths::staged("first", "left-over"))
            .await
            .unwrap(),
        "rows"
    );
    assert!(
        published(here).await.is_empty(),
        "{here:?}: files are published before they are committed"
    );
    let entry = entry("a b=é+%", "first", &files);
    let appended = output.commit(&mut ledger, entry.clone(), 1).await.unwrap();
    assert_eq!(appended, Appended::Committed(1), "{here:?}");
    assert_eq!(published(here).await, files, "{here:?}");
    assert!(staged(here).await.is_empty(), "{here:?}");
    let committed = ledger.entries()[0].clone();
    output.publish(&mut ledger, &committed).await.unwrap();
    assert_eq!(published(here).await, files, "{here:?}: published twice");
    assert_eq!(content(here, files[0]).await, b"first", "{here:?}");
    assert_eq!(
        committed,
        Entry {
            sequence: 1,
            ..entry
        }
    );
}

pub async fn one_of_two_attempts_commits(here: &Location) {
    let (first, second) = (
        ["photoz/a/part-0000-01.parquet"],
        ["photoz/a/part-0000-02.parquet"],
    );
    let output = Output::new(here.clone());
    let (mut ours, mut theirs) = (
        Ledger::open(here).await.unwrap(),
        Ledger::open(here).await.unwrap(),
    );
    stage(here, "ours", &first).await;
    stage(here, "theirs", &second).await;
    let appended = output
        .commit(&mut ours, entry("a", "ours", &first), 1)
        .await
        .unwrap();
    assert_eq!(appended, Appended::Committed(1), "{here:?}");
    let appended = output
        .commit(&mut theirs, entry("a", "theirs", &second), 1)
        .await
        .unwrap();
    assert_eq!(appended, Appended::Overtaken(1), "{here:?}");
    assert_eq!(published(here).await, first, "{here:?}");
    assert!(
        staged(here).await.is_empty(),
        "{here:?}: the attempt that came too late is still staged"
    );
}

pub async fn an_abandoned_attempt_cannot_commit(here: &Location) {
    let files = ["photoz/a/part-0000-01.parquet"];
    let output = Output::new(here.clone());
    let mut slow = Ledger::open(here).await.unwrap();
    stage(here, "slow", &files).await;
    let mut starting = Ledger::open(here).await.unwrap();
    output.recover(&mut starting, "0").await.unwrap();
    assert!(
        staged(here).await.is_empty(),
        "{here:?}: the stage of an abandoned attempt stays"
    );
    // The slow attempt does not know that it is abandoned, and stages more files.
    stage(here, "slow", &files).await;
    let appended = output
        .commit(&mut slow, entry("a", "slow", &files), 1)
        .await
        .unwrap();
    assert_eq!(appended, Appended::Abandoned(1), "{here:?}");
    assert!(
        published(here).await.is_empty() && staged(here).await.is_empty(),
        "{here:?}"
    );
    let began = slow.next();
    stage(here, "once-more", &files).await;
    let appended = output
        .commit(&mut slow, entry("a", "once-more", &files), began)
        .await
        .unwrap();
    assert_eq!(appended, Appended::Committed(2), "{here:?}");
    assert_eq!(published(here).await, files, "{here:?}");
}

pub async fn recovery_rolls_forward(here: &Location) {
    let (files, other) = (
        [
            "photoz/a/part-0000-01.parquet",
            "photoz/a/part-0001-02.parquet",
        ],
        ["photoz/b/part-0000-03.parquet"],
    );
    let output = Output::new(here.clone());
    let mut dead = Ledger::open(here).await.unwrap();
    stage(here, "committed", &files).await;
    stage(here, "unfinished", &other).await;
    dead.append(entry("a", "committed", &files), 1)
        .await
        .unwrap();
    // The attempt died after it published its first file.
    put(here, files[0], "committed").await;
    let mut ledger = Ledger::open(here).await.unwrap();
    output.recover(&mut ledger, "0").await.unwrap();
    assert_eq!(published(here).await, files, "{here:?}");
    assert!(staged(here).await.is_empty(), "{here:?}");
    let kinds: Vec<_> = ledger
        .entries()
        .iter()
        .map(|entry| (entry.kind, entry.attempt.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [
            (EntryKind::Drop, "committed"),
            (EntryKind::Abandoned, "unfinished")
        ],
        "{here:?}"
    );
    let before = paths(here).await;
    output.recover(&mut ledger, "0").await.unwrap();
    assert_eq!(
        paths(here).await,
        before,
        "{here:?}: there was nothing left to recover"
    );
}

pub async fn a_superseding_entry_takes_the_old_files_away(here: &Location) {
    let (first, again) = (
        [
            "photoz/a/part-0000-01.parquet",
            "photoz/a/part-0001-02.parquet",
            "rejects/a/part-0000-03.parquet",
        ],
        [
            "photoz/a/part-0000-04.parquet",
            "photoz/a/part-0001-02.parquet",
        ],
    );
    let other = [
        "photoz/a.b/part-0000-01.parquet",
        "photoz/ab/part-0000-01.parquet",
    ];
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await.unwrap());
    for (drop, attempt, files) in [
        ("a", "1", &first[..]),
        ("a.b", "2", &other[..1]),
        ("ab", "3", &other[1..]),
        ("a", "4", &again[..]),
    ] {
        stage(here, attempt, files).await;
        let began = ledger.next();
        let appended = output
            .commit(&mut ledger, entry(drop, attempt, files), began)
            .await
            .unwrap();
        assert_eq!(appended, Appended::Committed(began), "{here:?}");
    }
    let mut expected = [again, other].concat();
    expected.sort_unstable();
    assert_eq!(published(here).await, expected, "{here:?}");
    // Both entries list this file. It is written again, because it may have been damaged since.
    assert_eq!(content(here, again[1]).await, b"4", "{here:?}");
    assert_eq!(ledger.newest("a").map(|entry| entry.sequence), Some(4));
}
