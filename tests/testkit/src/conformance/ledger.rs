//! The ledger gives each entry a number of its own, and refuses gaps and unknown formats.
use connectors::{Error, Ledger, Location, ledger::Appended};
use object_store::ObjectStoreExt;

use crate::{entry, put};

pub async fn appenders_take_turns(here: &Location) {
    let append = async |number: u64| {
        let mut ledger = Ledger::open(here).await.unwrap();
        let (drop, attempt) = (format!("drop-{number}"), format!("attempt-{number}"));
        match ledger.append(entry(&drop, &attempt, &[]), 1).await.unwrap() {
            Appended::Committed(sequence) => (sequence, drop),
            other => panic!("{here:?}: {drop} is {other:?}"),
        }
    };
    let mut committed = futures::future::join_all((0..16).map(append)).await;
    committed.sort_unstable();
    let opened = Ledger::open(here).await.unwrap();
    let there = |ledger: &Ledger| -> Vec<(u64, String)> {
        ledger
            .entries()
            .iter()
            .map(|entry| (entry.sequence, entry.drop.clone()))
            .collect()
    };
    assert_eq!(there(&opened), committed, "{here:?}");
    assert_eq!(
        committed
            .iter()
            .map(|(sequence, _)| *sequence)
            .collect::<Vec<_>>(),
        Vec::from_iter(1..=16),
        "{here:?}"
    );
    let again = Ledger::open(here).await.unwrap();
    assert_eq!(again.entries(), opened.entries(), "{here:?}");
    a_newer_format_is_refused(here).await;
    a_missing_number_is_an_error(here).await;
}

fn entry_name(sequence: u64) -> String {
    format!("_hubbleflow/ledger/{sequence:020}.json")
}

async fn a_newer_format_is_refused(here: &Location) {
    put(
        here,
        &entry_name(17),
        r#"{"format": 2, "sequence": "seventeen"}"#,
    )
    .await;
    let error = Ledger::open(here).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Format {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{here:?}: {error:?}"
    );
    here.store
        .delete(&here.path(&entry_name(17)).unwrap())
        .await
        .unwrap();
}

async fn a_missing_number_is_an_error(here: &Location) {
    here.store
        .delete(&here.path(&entry_name(7)).unwrap())
        .await
        .unwrap();
    let error = Ledger::open(here).await.unwrap_err();
    let named = matches!(&error, Error::Ledger { object, .. } if object.ends_with(&entry_name(7)));
    assert!(named, "{here:?}: {error:?}");
}
