//! Tests the ledger when answers are lost, requests fail, and other runs are faster.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hubbleflow_connectors::{
    Error, Ledger, Location,
    galaxy::IdKind,
    ledger::{Appended, Entry, EntryKind, RowCounts},
};

use testkit::*;

/// An entry that commits a drop.
pub(crate) fn drop_entry(drop: &str, attempt: &str) -> Entry {
    Entry {
        kind: EntryKind::Drop,
        drop: drop.to_owned(),
        ..Entry::abandoned(attempt, "0")
    }
}

/// Makes a place over a store in which only the first put fails.
fn at_first_put(here: &Location, fault: impl Fn() -> Fault + Send + Sync + 'static) -> Location {
    let over = AtomicBool::new(false);
    failing(here, move |asked| match asked.what {
        What::Put if !over.swap(true, Ordering::SeqCst) => fault(),
        _ => Fault::None,
    })
}

/// Appends an entry for another run, before the pending request of this run.
fn another_first(here: &Location, entry: Entry) -> impl Fn() -> Fault + Send + Sync + use<> {
    let here = here.clone();
    move || {
        let (here, entry) = (here.clone(), entry.clone());
        Fault::After(Box::pin(async move {
            let mut theirs = Ledger::open(&here).await.unwrap();
            let began = theirs.next();
            theirs.append(entry, began).await.unwrap();
        }))
    }
}

/// The committed drops, as the next run finds them.
async fn reopened(here: &Location) -> Vec<(u64, String)> {
    let ledger = Ledger::open(here).await.unwrap();
    ledger
        .entries()
        .iter()
        .map(|entry| (entry.sequence, entry.drop.clone()))
        .collect()
}

#[tokio::test]
async fn an_entry_whose_answer_was_lost_is_found_to_be_ours() {
    let here = memory();
    let mut ledger = Ledger::open(&at_first_put(&here, || Fault::LoseAnswer))
        .await
        .unwrap();
    assert_eq!(
        ledger.append(drop_entry("a", "1"), 1).await.unwrap(),
        Appended::Committed(1)
    );
    assert_eq!(
        ledger.append(drop_entry("b", "2"), 1).await.unwrap(),
        Appended::Committed(2)
    );
    assert_eq!(
        reopened(&here).await,
        [(1, "a".to_owned()), (2, "b".to_owned())]
    );
}

#[tokio::test]
async fn an_entry_that_was_not_made_is_an_error_and_can_be_made_later() {
    let here = memory();
    let mut ledger = Ledger::open(&at_first_put(&here, || Fault::Refuse))
        .await
        .unwrap();
    let error = ledger.append(drop_entry("a", "1"), 1).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(reopened(&here).await.is_empty());
    assert_eq!(
        ledger.append(drop_entry("a", "1"), 1).await.unwrap(),
        Appended::Committed(1)
    );
}

#[tokio::test]
async fn another_drop_that_wins_the_number_leaves_us_the_next() {
    let here = memory();
    let ours = at_first_put(&here, another_first(&here, drop_entry("theirs", "t")));
    let mut ledger = Ledger::open(&ours).await.unwrap();
    assert_eq!(
        ledger.append(drop_entry("ours", "o"), 1).await.unwrap(),
        Appended::Committed(2)
    );
    assert_eq!(
        reopened(&here).await,
        [(1, "theirs".to_owned()), (2, "ours".to_owned())]
    );
}

#[tokio::test]
async fn another_run_that_wins_the_number_with_our_drop_makes_ours_void() {
    let here = memory();
    let ours = at_first_put(&here, another_first(&here, drop_entry("a", "t")));
    let mut ledger = Ledger::open(&ours).await.unwrap();
    assert_eq!(
        ledger.append(drop_entry("a", "o"), 1).await.unwrap(),
        Appended::Overtaken(1)
    );
    assert_eq!(reopened(&here).await, [(1, "a".to_owned())]);
    // An attempt that began after that entry knew it, so the drop is committed again on purpose.
    assert_eq!(
        ledger.append(drop_entry("a", "again"), 2).await.unwrap(),
        Appended::Committed(2)
    );
}

#[tokio::test]
async fn another_run_that_wins_the_number_with_another_model_or_other_ids_makes_ours_an_error() {
    let entry = |drop: &str, model: &str, ids| Entry {
        model_id: model.to_owned(),
        object_id: Some(ids),
        rows: RowCounts {
            read: 1,
            written: 1,
            ..RowCounts::default()
        },
        ..drop_entry(drop, drop)
    };
    let here = memory();
    let theirs = entry("theirs", "m", IdKind::Int64);
    let ours = at_first_put(&here, another_first(&here, theirs));
    let mut ledger = Ledger::open(&ours).await.unwrap();
    for (model, ids, said) in [
        ("n", IdKind::Int64, "has committed drop theirs with model m"),
        (
            "m",
            IdKind::String,
            "object_id is string, and int64 in drop theirs",
        ),
    ] {
        let refused = ledger.append(entry("ours", model, ids), 1).await;
        let refused = refused.unwrap_err();
        assert!(matches!(refused, Error::Mixed { .. }), "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    // An attempt that began after that entry uses the new model on purpose.
    assert_eq!(
        ledger
            .append(entry("ours", "n", IdKind::Int64), 2)
            .await
            .unwrap(),
        Appended::Committed(2)
    );
}

#[tokio::test]
async fn another_run_that_abandons_us_at_the_last_moment_is_heeded() {
    let here = memory();
    let ours = at_first_put(&here, another_first(&here, Entry::abandoned("o", "0")));
    let mut ledger = Ledger::open(&ours).await.unwrap();
    assert_eq!(
        ledger.append(drop_entry("a", "o"), 1).await.unwrap(),
        Appended::Abandoned(1)
    );
    assert!(Ledger::open(&here).await.unwrap().newest("a").is_none());
}

#[tokio::test]
async fn an_attempt_that_commits_at_the_last_moment_is_not_abandoned() {
    let here = memory();
    let ours = at_first_put(&here, another_first(&here, drop_entry("a", "o")));
    let mut ledger = Ledger::open(&ours).await.unwrap();
    let appended = ledger.append(Entry::abandoned("o", "0"), 1).await.unwrap();
    assert_eq!(appended, Appended::Committed(1));
    assert_eq!(
        ledger.of_attempt("o").map(|entry| entry.kind),
        Some(EntryKind::Drop)
    );
}

#[tokio::test]
async fn an_entry_under_the_wrong_number_is_an_error() {
    let here = memory();
    let mut ledger = Ledger::open(&here).await.unwrap();
    for drop in ["a", "b"] {
        ledger.append(drop_entry(drop, drop), 1).await.unwrap();
    }
    let name = |number: u64| format!("_hubbleflow/ledger/{number:020}.json");
    let (first, second) = (here.path(&name(1)).unwrap(), here.path(&name(2)).unwrap());
    object_store::ObjectStoreExt::copy(&here.store, &first, &second)
        .await
        .unwrap();
    let error = Ledger::open(&here).await.unwrap_err();
    assert!(matches!(error, Error::Ledger { .. }), "{error:?}");
}

#[tokio::test]
async fn every_answer_lost_or_refused_still_leaves_each_drop_once() {
    let here = memory();
    let seeded = Arc::new(std::sync::Mutex::new(Seeded(3)));
    let ill = failing(&here, move |asked| {
        match (asked.what, seeded.lock().unwrap().below(0..4)) {
            (What::Put, 0) => Fault::LoseAnswer,
            (What::Put, 1) | (What::Get, 2) => Fault::Refuse,
            _ => Fault::None,
        }
    });
    let mut ledger = Ledger::unread(&ill);
    for number in 0..40 {
        let entry = drop_entry(&format!("{number:02}"), &number.to_string());
        // Like a run, tries again after an error.
        let appended = loop {
            if let Ok(appended) = ledger.append(entry.clone(), 1).await {
                break appended;
            }
        };
        assert_eq!(appended, Appended::Committed(number + 1));
    }
    let drops: Vec<_> = reopened(&here)
        .await
        .into_iter()
        .map(|(_, drop)| drop)
        .collect();
    assert_eq!(
        drops,
        (0..40)
            .map(|number| format!("{number:02}"))
            .collect::<Vec<_>>()
    );
}
