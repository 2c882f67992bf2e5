//! One suite for every store: what the catalog, reading, the output and the ledger promise, wherever they lie.
#[path = "../../connectors/tests/common/mod.rs"]
pub mod common;

use std::{net::SocketAddr, path::Path};

use common::{
    LaidOut, below, catalog, entry, expected, galaxies, parquet, paths, plan, published, put,
    read_all, request, staged,
};
use connectors::{
    Catalog, DropBy, Error, Ledger, Location, Output,
    ledger::{Appended, Entry, Kind},
};
use engine::s3_server::S3Server;
use futures::StreamExt;
use object_store::ObjectStoreExt;

#[tokio::test]
async fn memory_conforms() {
    conforms(common::memory()).await;
}

#[tokio::test]
async fn local_files_conform() {
    let folder = tempfile::tempdir().unwrap();
    conforms(local(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_s3_server_conforms() {
    let root = tempfile::tempdir().unwrap();
    let server = S3Server::start(
        root.path(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
        "key",
        "secret",
    )
    .await
    .unwrap();
    server.create_bucket("sky").unwrap();
    conforms(bucket(
        "s3://sky/survey",
        &server.endpoint(),
        "key",
        "secret",
    ))
    .await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_folder_that_was_there_stays_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("private/out");
    std::fs::create_dir_all(&out).unwrap();
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o700)).unwrap();
    Output::new(local(&out)).check("nonce").await.unwrap();
    let mode = std::fs::metadata(&out)
        .expect("the folder is still there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
}

fn local(folder: &Path) -> Location {
    Location::open(folder.to_str().unwrap(), &[]).unwrap()
}

/// A place on an S3 server of this machine.
pub fn bucket(url: &str, endpoint: &str, access_key: &str, secret_key: &str) -> Location {
    let options = [
        ("aws_endpoint_url", endpoint),
        ("aws_access_key_id", access_key),
        ("aws_secret_access_key", secret_key),
        ("aws_region", "us-east-1"),
    ];
    Location::open(
        url,
        &options.map(|(name, value)| (name.to_owned(), value.to_owned())),
    )
    .unwrap()
}

/// All that a store must do, each part in a folder of its own.
pub async fn conforms(location: Location) {
    let part = |name: &str| below(&location, name);
    drops_come_in_the_byte_order_of_their_names(&part("names")).await;
    hidden_names_are_no_drops(&part("hidden")).await;
    more_than_a_page_of_a_listing_is_found(&part("many")).await;
    all_objects_can_be_one_drop(&part("all")).await;
    rows_are_read_once_in_order(&part("rows")).await;
    large_row_groups_are_cut_or_streamed(&part("large")).await;
    a_replaced_object_is_noticed(&part("replaced")).await;
    a_truncated_object_is_corrupt(&part("truncated")).await;
    the_store_is_checked(&part("checked")).await;
    a_drop_is_staged_committed_and_published(&part("published")).await;
    one_of_two_attempts_commits(&part("overtaken")).await;
    an_abandoned_attempt_learns_so(&part("abandoned")).await;
    recovery_rolls_forward(&part("recovered")).await;
    a_superseding_entry_takes_the_old_files_away(&part("superseded")).await;
    appenders_take_turns(&part("ledger")).await;
}

const LAID_OUT: LaidOut = LaidOut {
    row_group_rows: 300,
    page_rows: 50,
    offset_index: true,
};

async fn names(location: &Location, drop_by: DropBy) -> Vec<String> {
    let catalog = Catalog::new(location.clone(), drop_by, request());
    catalog
        .drops()
        .await
        .unwrap()
        .into_iter()
        .map(|drop| drop.name)
        .collect()
}

async fn drops_come_in_the_byte_order_of_their_names(here: &Location) {
    let folders = [
        "zebra",
        "Zebra",
        "a b",
        "a+b",
        "a=b",
        "50%",
        "50%25",
        "é",
        "2026-11-03",
        "a",
        "a.b",
        "2026-11-3",
    ];
    for folder in folders {
        put(
            here,
            &format!("{folder}/part é+ 1%.parquet"),
            folder.to_owned(),
        )
        .await;
    }
    put(here, "single.parquet", "x").await;
    put(here, "notes.txt", "no drop").await;
    let mut sorted = folders.to_vec();
    sorted.push("single.parquet");
    sorted.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    assert_eq!(names(here, DropBy::Child).await, sorted, "{here:?}");
    let catalog = catalog(here);
    for drop in catalog.drops().await.unwrap() {
        let objects = catalog.objects(&drop).await.unwrap();
        let single = drop.name == "single.parquet";
        let path = if single {
            drop.name.clone()
        } else {
            format!("{}/part é+ 1%.parquet", drop.name)
        };
        assert_eq!(
            objects
                .iter()
                .map(|object| object.path.as_str())
                .collect::<Vec<_>>(),
            [path],
            "{here:?}"
        );
        assert_eq!(
            objects[0].bytes,
            if single { 1 } else { drop.name.len() as u64 },
            "{here:?}: {}",
            drop.name
        );
    }
}

async fn hidden_names_are_no_drops(here: &Location) {
    let hidden = ["_x/a.parquet", ".x/a.parquet", "_y.parquet", ".y.parquet"];
    let parts = [
        "drop/_x.parquet",
        "drop/.x.parquet",
        "drop/in/_x/a.parquet",
        "drop/in/.x/a.parquet",
        "drop/_SUCCESS",
    ];
    let objects = [
        "drop/a.parquet",
        "drop/a/b.parquet",
        "drop/in/deeper/still/a.parquet",
        "drop/x_y.parquet",
    ];
    for path in hidden.iter().chain(&parts).chain(&objects) {
        put(here, path, "x").await;
    }
    let catalog = catalog(here);
    let drops = catalog.drops().await.unwrap();
    assert_eq!(
        drops
            .iter()
            .map(|drop| drop.name.as_str())
            .collect::<Vec<_>>(),
        ["drop"],
        "{here:?}"
    );
    let found = catalog.objects(&drops[0]).await.unwrap();
    assert_eq!(
        found
            .into_iter()
            .map(|object| object.path)
            .collect::<Vec<_>>(),
        objects,
        "{here:?}"
    );
}

async fn more_than_a_page_of_a_listing_is_found(here: &Location) {
    let count = 1_050;
    let objects = (0..count).flat_map(|number| {
        [
            format!("d{number:04}/a.parquet"),
            format!("many/{number:04}.parquet"),
        ]
    });
    let puts: Vec<_> = objects
        .map(async |path| put(here, &path, "x").await)
        .collect();
    futures::stream::iter(puts)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let catalog = catalog(here);
    let drops = catalog.drops().await.unwrap();
    assert_eq!(drops.len(), count + 1, "{here:?}");
    assert_eq!(
        catalog.objects(&drops[count]).await.unwrap().len(),
        count,
        "{here:?}"
    );
}

async fn all_objects_can_be_one_drop(here: &Location) {
    for path in [
        "Norder=0/Npix=4.parquet",
        "Norder=0/Dir=0/Npix=11.parquet",
        "_metadata.parquet",
        "b.parquet",
    ] {
        put(here, path, "x").await;
    }
    assert_eq!(names(here, DropBy::All).await, ["all"], "{here:?}");
    let catalog = Catalog::new(here.clone(), DropBy::All, request());
    let drops = catalog.drops().await.unwrap();
    let found = catalog
        .objects(&drops[0])
        .await
        .unwrap()
        .into_iter()
        .map(|object| object.path);
    let expected = [
        "Norder=0/Dir=0/Npix=11.parquet",
        "Norder=0/Npix=4.parquet",
        "b.parquet",
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected, "{here:?}");
}

async fn rows_are_read_once_in_order(here: &Location) {
    put(
        here,
        "drop/a b.parquet",
        parquet(&galaxies(0..1000), LAID_OUT),
    )
    .await;
    put(
        here,
        "drop/é/b=1+1%.parquet",
        parquet(&galaxies(1000..1500), LAID_OUT),
    )
    .await;
    let all = [
        expected("drop/a b.parquet", 0, 1000, 300),
        expected("drop/é/b=1+1%.parquet", 1000, 500, 300),
    ]
    .concat();
    for split_bytes in [3_000, 20_000, 60_000, 1 << 20] {
        let catalog = catalog(here);
        let planned = plan(&catalog, "drop", split_bytes).await.unwrap();
        assert_eq!(planned.rows, 1500);
        assert_eq!(
            read_all(&catalog, &planned).await.unwrap(),
            all,
            "{here:?}, splits of {split_bytes} bytes"
        );
    }
}

async fn large_row_groups_are_cut_or_streamed(here: &Location) {
    for (drop, offset_index) in [("indexed", true), ("not-indexed", false)] {
        let laid_out = LaidOut {
            row_group_rows: 900,
            page_rows: 50,
            offset_index,
        };
        put(
            here,
            &format!("{drop}/a.parquet"),
            parquet(&galaxies(0..1000), laid_out),
        )
        .await;
        let catalog = catalog(here);
        let planned = plan(&catalog, drop, 10_000).await.unwrap();
        let of_first: Vec<_> = planned
            .splits
            .clone()
            .filter(|split| split.cut.row_groups == (0..1))
            .collect();
        assert_eq!(
            of_first.iter().all(|split| split.cut.streamed),
            !offset_index,
            "{here:?}"
        );
        assert_eq!(of_first.len() == 1, !offset_index, "{here:?}: {of_first:?}");
        let expected = expected(&format!("{drop}/a.parquet"), 0, 1000, 900);
        assert_eq!(
            read_all(&catalog, &planned).await.unwrap(),
            expected,
            "{here:?}: {drop}"
        );
    }
}

async fn a_replaced_object_is_noticed(here: &Location) {
    let path = "drop/a.parquet";
    // The second has the size of the first: its ETag tells them apart. The third has another.
    let versions = [galaxies(0..1000), galaxies(5000..6000), galaxies(0..10)]
        .map(|rows| parquet(&rows, LAID_OUT));
    put(here, path, versions[0].clone()).await;
    let planner = catalog(here);
    let planned = plan(&planner, "drop", 20_000).await.unwrap();
    for version in &versions[1..] {
        put(here, path, version.clone()).await;
        // One has the footer at hand, the other is a process that has not.
        for reader in [planner.clone(), catalog(here)] {
            let error = read_all(&reader, &planned).await.unwrap_err();
            assert!(
                matches!(error, Error::Changed { .. }),
                "{here:?}: {error:?}"
            );
        }
    }
    here.store.delete(&here.path(path).unwrap()).await.unwrap();
    let error = read_all(&planner, &planned).await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { .. }),
        "{here:?}: {error:?}"
    );
}

async fn a_truncated_object_is_corrupt(here: &Location) {
    let whole = parquet(&galaxies(0..1000), LAID_OUT);
    for bytes in [whole.len() - 1, whole.len() / 2, 3, 0] {
        put(here, "drop/a.parquet", whole[..bytes].to_vec()).await;
        let error = plan(&catalog(here), "drop", 20_000).await.unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. }),
            "{here:?}, {bytes} bytes: {error:?}"
        );
    }
}

async fn the_store_is_checked(here: &Location) {
    let output = Output::new(here.clone());
    output.check("one").await.unwrap();
    output.check("two").await.unwrap();
    assert!(
        paths(here).await.is_empty(),
        "{here:?}: the check left something behind"
    );
}

/// Stages files, each of which holds the attempt's name.
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

async fn a_drop_is_staged_committed_and_published(here: &Location) {
    let files = [
        "photoz/a b=é+%/part-0000-01.parquet",
        "photoz/a b=é+%/part-0001-02.parquet",
        "rejects/a b=é+%/part-0000-03.parquet",
    ];
    let (output, mut ledger) = (Output::new(here.clone()), Ledger::open(here).await.unwrap());
    stage(here, "first", &files).await;
    output
        .stage("first", "spill/0000-0", b"rows".to_vec())
        .await
        .unwrap();
    assert_eq!(
        output.read_staged("first", "spill/0000-0").await.unwrap(),
        "rows"
    );
    assert!(
        published(here).await.is_empty(),
        "{here:?}: rows are seen before they are committed"
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

async fn one_of_two_attempts_commits(here: &Location) {
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
        "{here:?}: what came too late is still staged"
    );
}

async fn an_abandoned_attempt_learns_so(here: &Location) {
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
    // It has not heard, and stages on.
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

async fn recovery_rolls_forward(here: &Location) {
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
    // It died after the first file was published.
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
        [(Kind::Drop, "committed"), (Kind::Abandoned, "unfinished")],
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

async fn a_superseding_entry_takes_the_old_files_away(here: &Location) {
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
    // What both list may have been damaged in between, and is written again.
    assert_eq!(content(here, again[1]).await, b"4", "{here:?}");
    assert_eq!(ledger.newest("a").map(|entry| entry.sequence), Some(4));
}

async fn appenders_take_turns(here: &Location) {
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
