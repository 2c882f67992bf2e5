//! Publishing when another run does the same, or supersedes what is being published.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use connectors::{Error, Ledger, Location, Output, ledger::Appended};
use futures::future::BoxFuture;
use object_store::ObjectStoreExt;

use crate::common::*;

/// Stages and commits as a run does that knows the whole ledger.
async fn commit(here: &Location, drop: &str, attempt: &str, files: &[&str]) -> Appended {
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await.unwrap());
    for file in files {
        output.stage(attempt, file, b"x".to_vec()).await.unwrap();
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
    assert_eq!(std::fs::read(folder.path().join(OLD)).unwrap(), b"x");
    let published = std::fs::read_dir(folder.path().join("photoz/a")).unwrap();
    assert_eq!(published.count(), 2);
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
            output.stage("new", file, b"x".to_vec()).await.unwrap();
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
