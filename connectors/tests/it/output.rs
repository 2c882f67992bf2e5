//! Tests publishing while another run publishes the same files, or supersedes them.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;
use hubbleflow_connectors::{Error, Ledger, Location, Output, ledger::Appended};
use object_store::ObjectStoreExt;

use testkit::*;

/// Stages and commits a drop, like a run that knows the whole ledger.
pub(crate) async fn commit(here: &Location, drop: &str, attempt: &str, files: &[&str]) -> Appended {
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

/// Makes a place over a store that calls a function before the first copy or deletion of `path`.
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

pub(crate) const OLD: &str = "photoz/a/part-0000-01.parquet";
pub(crate) const NEW: &str = "photoz/a/part-0000-02.parquet";

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

/// The client of the store repeats a request if the answer is lost, and then finds its own object.
#[tokio::test]
async fn a_lost_answer_to_the_first_create_is_no_failure() {
    let here = memory();
    let taken = here.path("_hubbleflow/check-nonce").unwrap();
    here.store.put(&taken, "nonce".into()).await.unwrap();
    Output::new(here.clone()).check("nonce").await.unwrap();
    assert!(here.store.head(&taken).await.is_err(), "it is taken away");
}

/// A local file system writes new content beside the file. It stays there if the process is killed.
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

/// Makes a place over a store in which the first read of a new first entry has this `fault`.
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

/// Regression: only half of the entry arrived when it was read back. The entry counted as damaged, and its stage was
/// cleared.
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
