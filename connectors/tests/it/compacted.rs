//! Tests the copies of many entries, from which a long ledger opens in few requests.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hubbleflow_connectors::{
    Ledger, Location, Output,
    ledger::{Appended, Entry},
};
use testkit::*;

use crate::ledger::drop_entry;

/// Makes an entry of the usual size: one input, two files and the settings.
fn full_entry(number: u64) -> Entry {
    let entry = serde_json::json!({
        "format": 1, "sequence": number, "kind": "drop", "attempt": format!("0123456789abcdef-{number:06}"),
        "drop": format!("night-{number:07}"), "model_id": "0123456789abcdef".repeat(4), "engine": "0.1.0", "object_id": "int64",
        "settings": {"catalog": "s3://sky/survey", "drop_by": "child", "column": [], "keep": [], "limit": null,
                     "split_bytes": 25_000_000, "mag_min": 5.0, "mag_max": 35.0, "batch": 128, "device": "cpu", "precision": "fp32"},
        "inputs": [{"path": format!("night-{number:07}/part-0.parquet"), "etag": "\"0123456789abcdef0123456789abcdef\"", "bytes": 123_456, "rows": 3}],
        "rows": {"read": 3, "written": 2, "learned": 0, "rejected": 1},
        "files": [{"path": format!("photoz/night-{number:07}/part-0000-01234567.parquet"), "rows": 2, "bytes": 5_000, "sha256": "0123456789abcdef".repeat(4)},
                  {"path": format!("rejects/night-{number:07}/part-0000-01234567.parquet"), "rows": 1, "bytes": 2_000, "sha256": "0123456789abcdef".repeat(4)}],
    });
    serde_json::from_value(entry).unwrap()
}

/// Writes the entries of a ledger up to a number, without copies.
async fn entries_up_to(here: &Location, count: u64) {
    for number in 1..=count {
        let text = serde_json::to_vec_pretty(&full_entry(number)).unwrap();
        put(here, &entry_name(number), text).await;
    }
}

fn entry_name(number: u64) -> String {
    format!("_hubbleflow/ledger/{number:020}.json")
}

fn copy_name(size: u64, last: u64) -> String {
    format!("_hubbleflow/compacted/{size}/{last:020}.jsonl")
}

/// Opens the ledger, and counts the requests.
async fn opened_in(here: &Location) -> (Ledger, u64) {
    let requests = Arc::new(AtomicU64::new(0));
    let count = requests.clone();
    let counted = failing(here, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Fault::None
    });
    let ledger = Ledger::open(&counted).await.unwrap();
    (ledger, requests.load(Ordering::SeqCst))
}

#[track_caller]
fn assert_holds(ledger: &Ledger, count: u64) {
    let found = ledger.entries().iter();
    assert!(found.eq((1..=count).map(full_entry).collect::<Vec<_>>().iter()));
}

/// Regression: opening a ledger took one request for each entry.
#[tokio::test]
async fn a_long_ledger_opens_from_copies_in_few_requests() {
    let here = memory();
    entries_up_to(&here, 20_250).await;
    let (mut ledger, requests) = opened_in(&here).await;
    assert!(requests > 20_250);
    ledger.compact().await;
    // 2 copies of 10,000 entries, 2 of 100, and 5 of 10; listings, the last copied entry, and the next, missing entry.
    let (ledger, requests) = opened_in(&here).await;
    assert_holds(&ledger, 20_250);
    assert!(requests <= 2 + 2 + 5 + 5 + 2, "{requests} requests");
}

/// The length that takes most requests: nine copies of each size, and nine entries.
#[tokio::test]
async fn a_ledger_of_any_length_opens_in_a_hundred_requests() {
    let here = memory();
    entries_up_to(&here, 9_999).await;
    Ledger::open(&here).await.unwrap().compact().await;
    let (ledger, requests) = opened_in(&here).await;
    assert_holds(&ledger, 9_999);
    // Up to 100,000 entries add nine copies of 10,000.
    assert!(requests + 9 <= 100, "{requests} requests");
}

/// Outputs of before have copies of 100 and of 10,000 entries alone.
#[tokio::test]
async fn an_output_with_two_sizes_of_copies_opens_and_gets_the_others() {
    let here = memory();
    entries_up_to(&here, 11_234).await;
    Ledger::open(&here).await.unwrap().compact().await;
    for path in paths(&here).await {
        if path.contains("compacted/10/") || path.contains("compacted/1000/") {
            delete(&here, &path).await;
        }
    }
    let (mut ledger, requests) = opened_in(&here).await;
    assert_holds(&ledger, 11_234);
    assert!(requests <= 1 + 12 + 34 + 7, "{requests} requests");
    ledger.compact().await;
    let (ledger, requests) = opened_in(&here).await;
    assert_holds(&ledger, 11_234);
    assert!(requests <= 1 + 1 + 2 + 3 + 4 + 7, "{requests} requests");
}

#[tokio::test]
async fn every_tenth_and_every_hundredth_commit_makes_a_copy() {
    let here = memory();
    entries_up_to(&here, 198).await;
    let mut ledger = Ledger::open(&here).await.unwrap();
    let output = Output::new(here.clone());
    let copies = async || {
        let mut paths = paths(&here).await;
        paths.retain(|path| path.starts_with("_hubbleflow/compacted/"));
        paths
    };
    assert!(
        copies().await.is_empty(),
        "whoever reads alone writes nothing"
    );
    for number in 199..=201 {
        let committed = output
            .commit(
                &mut ledger,
                drop_entry(&number.to_string(), &number.to_string()),
                number,
            )
            .await;
        assert_eq!(committed.unwrap(), Appended::Committed(number));
    }
    let mut expected: Vec<_> = (1..=20).map(|at| copy_name(10, 10 * at)).collect();
    expected.extend([copy_name(100, 100), copy_name(100, 200)]);
    assert_eq!(copies().await, expected);
    let again = Ledger::open(&here).await.unwrap();
    assert_eq!(again.entries(), ledger.entries());
}

#[tokio::test]
async fn a_copy_that_is_damaged_or_missing_or_of_another_ledger_is_made_again() {
    let here = memory();
    entries_up_to(&here, 350).await;
    let output = Output::new(here.clone());
    let recover = async || {
        let mut ledger = Ledger::open(&here).await.unwrap();
        assert_holds(&ledger, 350);
        output.recover(&mut ledger, "0").await.unwrap();
    };
    recover().await;
    let name = copy_name(100, 200);
    let whole = content(&here, &name).await;
    // The copy is still JSON in the right order.
    let tampered = String::from_utf8(whole.clone()).unwrap();
    let tampered = tampered.replace("photoz/night-0000142", "photoz/night-0000143");
    let mut lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
    lines.swap(3, 4);
    let swapped = lines.concat();
    for damaged in [
        &b""[..],
        &whole[..whole.len() / 2],
        &whole[..whole.len() - 10],
        &b"{\"format\": 2}"[..],
        &swapped[..],
        tampered.as_bytes(),
    ] {
        assert_ne!(damaged, whole);
        put(&here, &name, damaged.to_vec()).await;
        recover().await;
        assert_eq!(content(&here, &name).await, whole);
    }
    delete(&here, &name).await;
    recover().await;
    assert_eq!(content(&here, &name).await, whole);
    // The output was deleted except for the copies, and a new ledger begun.
    let another = memory();
    entries_up_to(&another, 120).await;
    put(
        &another,
        &entry_name(100),
        serde_json::to_vec(&Entry {
            sequence: 100,
            ..drop_entry("other", "other")
        })
        .unwrap(),
    )
    .await;
    put(
        &another,
        &copy_name(100, 100),
        content(&here, &copy_name(100, 100)).await,
    )
    .await;
    let ledger = Ledger::open(&another).await.unwrap();
    assert_eq!(ledger.entries().len(), 120);
    assert_eq!(ledger.entries()[99].drop, "other");
    // A ledger that was restored from a backup has fewer entries than its copies.
    for number in 250..=350 {
        delete(&here, &entry_name(number)).await;
    }
    assert_holds(&Ledger::open(&here).await.unwrap(), 249);
}

/// A ledger was restored from a backup and got different entries: only its first copies still belong to the ledger.
#[tokio::test]
async fn a_copy_that_is_outdated_is_not_read() {
    let other = |number| Entry {
        drop: format!("other-{number}"),
        ..full_entry(number)
    };
    let here = memory();
    entries_up_to(&here, 310).await;
    Ledger::open(&here).await.unwrap().compact().await;
    let old: Vec<_> = (2..=3).map(|at| copy_name(100, 100 * at)).collect();
    let old = [content(&here, &old[0]).await, content(&here, &old[1]).await];
    for number in 101..=310 {
        let text = serde_json::to_vec_pretty(&other(number)).unwrap();
        put(&here, &entry_name(number), text).await;
    }
    let expected: Vec<Entry> = (1..=100)
        .map(full_entry)
        .chain((101..=310).map(other))
        .collect();
    let assert_all = async || assert_eq!(Ledger::open(&here).await.unwrap().entries(), expected);
    assert_all().await;
    Ledger::open(&here).await.unwrap().compact().await;
    assert_all().await;
    // One outdated copy between others, and one at the end.
    put(&here, &copy_name(100, 200), old[0].clone()).await;
    assert_all().await;
    put(&here, &copy_name(100, 300), old[1].clone()).await;
    assert_all().await;
    Ledger::open(&here).await.unwrap().compact().await;
    put(&here, &copy_name(100, 300), old[1].clone()).await;
    assert_all().await;
}

/// A large copy is made of small copies, which may have been damaged after they were read.
#[tokio::test]
async fn a_large_copy_is_never_made_of_damaged_ones() {
    let here = memory();
    entries_up_to(&here, 9_990).await;
    let mut ledger = Ledger::open(&here).await.unwrap();
    ledger.compact().await;
    let (name, large) = (copy_name(1_000, 5_000), copy_name(10_000, 10_000));
    let whole = content(&here, &name).await;
    let tampered = String::from_utf8(whole.clone()).unwrap();
    put(
        &here,
        &name,
        tampered
            .replace("rejects/night-0004950", "rejects/night-0004951")
            .into_bytes(),
    )
    .await;
    for number in 9_991..=10_000 {
        put(
            &here,
            &entry_name(number),
            serde_json::to_vec_pretty(&full_entry(number)).unwrap(),
        )
        .await;
    }
    ledger.refresh().await.unwrap();
    ledger.compact().await;
    assert!(here.read_if_there(&large).await.unwrap().is_none());
    // The next call makes the small copies again.
    ledger.compact().await;
    assert_eq!(content(&here, &name).await, whole);
    assert!(here.read_if_there(&large).await.unwrap().is_some());
    assert_holds(&Ledger::open(&here).await.unwrap(), 10_000);
}

#[tokio::test]
async fn copies_that_cannot_be_read_do_not_matter() {
    let here = memory();
    entries_up_to(&here, 250).await;
    Ledger::open(&here).await.unwrap().compact().await;
    for fails in [What::List, What::Get] {
        let refused = failing(&here, move |asked| {
            match asked.what == fails && asked.path.contains("compacted") {
                true => Fault::Refuse,
                false => Fault::None,
            }
        });
        assert_holds(&Ledger::open(&refused).await.unwrap(), 250);
    }
}

#[tokio::test]
async fn an_entry_that_is_missing_after_the_copies_is_an_error() {
    let here = memory();
    entries_up_to(&here, 135).await;
    Ledger::open(&here).await.unwrap().compact().await;
    delete(&here, &entry_name(132)).await;
    let error = Ledger::open(&here).await.unwrap_err().to_string();
    assert!(
        error.contains("00132.json: is missing, though 134 entries are there"),
        "{error}"
    );
}

async fn content(here: &Location, path: &str) -> Vec<u8> {
    here.read_if_there(path).await.unwrap().unwrap().to_vec()
}

async fn delete(here: &Location, path: &str) {
    let path = here.path(path).unwrap();
    object_store::ObjectStoreExt::delete(&here.store, &path)
        .await
        .unwrap();
}

/// Measures the promise and prints the result: the time on local files, and the number of requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes 100,000 files; run by hand with --ignored --nocapture"]
#[expect(clippy::disallowed_methods, reason = "the test measures time")]
async fn a_hundred_thousand_drops_open_within_two_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let here = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
    entries_up_to(&here, 100_000).await;
    let timed = async || {
        let began = std::time::Instant::now();
        let (ledger, requests) = opened_in(&here).await;
        (ledger, requests, began.elapsed())
    };
    let (mut ledger, requests, took) = timed().await;
    println!("from entries: {took:?}, {requests} requests");
    let began = std::time::Instant::now();
    ledger.compact().await;
    println!("made copies: {:?}", began.elapsed());
    drop(ledger);
    let (ledger, requests, took) = timed().await;
    println!("from copies: {took:?}, {requests} requests");
    assert_eq!(ledger.entries().len(), 100_000);
    assert!(took.as_secs_f64() < 2.0 && requests <= 100);
}
