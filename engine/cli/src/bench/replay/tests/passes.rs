//! Which passes and drops a replay has, what it is refused for, and that it stays the same.
use std::sync::Arc;

use arrow::array::Float32Array;
use connectors::{DropBy, Error as ConnectorsError, Location, galaxy::ColumnNames};
use futures::TryStreamExt;
use object_store::ObjectMeta;
use testkit::{
    LaidOut, catalog, galaxies,
    galaxy_rows::{with_column, without_column},
    memory, parquet, paths, plan, put, read_all,
};

use super::{all, opened, replayed};
use crate::bench::replay::Choice;

const LAID_OUT: LaidOut = LaidOut {
    row_group_rows: 300,
    page_rows: 50,
    offset_index: true,
};

fn file() -> Vec<u8> {
    parquet(&galaxies(0..500), LAID_OUT)
}

/// Two drops of two files and one: three files of one size.
async fn two_drops() -> (Location, u64) {
    let place = memory();
    for path in ["a/1.parquet", "a/2.parquet", "b.parquet"] {
        put(&place, path, file()).await;
    }
    (place, file().len() as u64)
}

async fn metas(place: &Location) -> Vec<ObjectMeta> {
    let listed = place.store.list(Some(&place.prefix));
    listed.try_collect().await.unwrap()
}

#[tokio::test]
async fn a_replay_has_the_fewest_passes_that_reach_the_bytes() {
    let (place, bytes) = two_drops().await;
    let pass = |pass| {
        [
            format!("pass-{pass}-a/1.parquet"),
            format!("pass-{pass}-a/2.parquet"),
            format!("pass-{pass}-b.parquet"),
        ]
    };
    for (asked, files) in [(0, 1), (1, 1), (bytes, 1), (bytes + 1, 2), (3 * bytes, 3)] {
        let found = paths(&replayed(&place, asked).await).await;
        assert_eq!(found, pass("000000")[..files], "{asked} bytes");
    }
    for asked in [3 * bytes + 1, 6 * bytes] {
        let found = paths(&replayed(&place, asked).await).await;
        assert_eq!(found, [pass("000000"), pass("000001")].concat());
    }
    let replay = replayed(&place, 7 * bytes).await;
    let drops = catalog(&replay).drops().await.unwrap();
    let names: Vec<_> = drops.iter().map(|drop| drop.name.as_str()).collect();
    let pass = |pass| [format!("pass-{pass}-a"), format!("pass-{pass}-b.parquet")];
    assert_eq!(
        names,
        [pass("000000"), pass("000001"), pass("000002")].concat()
    );
}

#[tokio::test]
async fn a_second_start_sees_the_same_objects() {
    let (place, bytes) = two_drops().await;
    let first = metas(&replayed(&place, 9 * bytes).await).await;
    assert_eq!(first, metas(&replayed(&place, 9 * bytes).await).await);
    let mut etags: Vec<_> = first.iter().map(|meta| meta.e_tag.clone()).collect();
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 9);
    // A longer replay begins with the same passes.
    let longer = metas(&replayed(&place, 12 * bytes).await).await;
    assert_eq!(longer[..9], first);
    // Another file has another ETag in each pass, and so have the files whose ids move.
    put(&place, "a/1.parquet", parquet(&galaxies(0..400), LAID_OUT)).await;
    let changed = metas(&replayed(&place, 9 * bytes - 9000).await).await;
    assert!(
        changed
            .iter()
            .zip(&first)
            .all(|(now, then)| now.e_tag != then.e_tag)
    );
}

#[tokio::test]
async fn a_file_that_changes_is_noticed() {
    let (place, bytes) = two_drops().await;
    let replay = replayed(&place, 9 * bytes).await;
    let catalog = catalog(&replay);
    let planned = plan(&catalog, "pass-000001-a", 10_000).await.unwrap();
    put(&place, "a/2.parquet", file()).await;
    let error = read_all(&catalog, &planned).await.unwrap_err();
    let ConnectorsError::Changed { object } = error else {
        panic!("{error}");
    };
    assert!(object.ends_with("pass-000001-a/2.parquet"), "{object}");
    let error = plan(&catalog, "pass-000002-a", 10_000).await.unwrap_err();
    assert!(matches!(error, ConnectorsError::Changed { .. }), "{error}");
}

#[tokio::test]
async fn folders_are_listed_alone() {
    let (place, bytes) = two_drops().await;
    put(&place, "a-more/1.parquet", file()).await;
    let replay = replayed(&place, 9 * bytes).await;
    let folder = replay.path("pass-000001-a").unwrap();
    let listed = replay.store.list(Some(&folder));
    let listed: Vec<_> = listed.try_collect().await.unwrap();
    let found: Vec<_> = listed
        .iter()
        .map(|meta| replay.relative(&meta.location))
        .collect();
    assert_eq!(
        found,
        ["pass-000001-a/1.parquet", "pass-000001-a/2.parquet"]
    );
    for nothing in ["pass-000009-a", "pass-000001-b.parquet", "a"] {
        let folder = replay.path(nothing).unwrap();
        let listed = replay.store.list(Some(&folder));
        assert_eq!(
            listed.try_collect::<Vec<_>>().await.unwrap(),
            [],
            "{nothing}"
        );
    }
    let children = replay
        .store
        .list_with_delimiter(Some(&replay.prefix))
        .await
        .unwrap();
    assert_eq!(
        (children.common_prefixes.len(), children.objects.len()),
        (6, 3)
    );
    assert_eq!(
        children.common_prefixes[2],
        replay.path("pass-000001-a").unwrap()
    );
}

#[tokio::test]
async fn a_hats_catalog_is_a_drop_of_each_pass() {
    let place = memory();
    put(&place, "hats.properties", "hats_col_ra=ra").await;
    for path in [
        "dataset/Norder=1/Dir=0/Npix=3.parquet",
        "dataset/_metadata.parquet",
    ] {
        put(&place, path, file()).await;
    }
    let choice = Choice {
        drop_by: DropBy::All,
        ..all()
    };
    let replay = opened(&place, choice, 2 * file().len() as u64)
        .await
        .unwrap();
    let catalog = catalog(&replay);
    let planned = plan(&catalog, "pass-000001-survey", 10_000).await.unwrap();
    let rows = read_all(&catalog, &planned).await.unwrap();
    assert_eq!((rows.len(), rows[0].3), (500, 1000));
    assert_eq!(catalog.drops().await.unwrap().len(), 2);
}

#[tokio::test]
async fn columns_may_have_other_names() {
    let place = memory();
    let rows = galaxies(0..500);
    let ids = rows["object_id"].clone();
    let rows = with_column(&without_column(&rows, "object_id"), "id", ids);
    put(&place, "drop/a.parquet", parquet(&rows, LAID_OUT)).await;
    let names = ColumnNames::parse(["object_id=id"]).unwrap();
    let choice = Choice { names, ..all() };
    let replay = opened(&place, choice, 1_000_000).await.unwrap();
    assert!(replay.read("pass-000003-drop/a.parquet").await.is_ok());
}

#[tokio::test]
async fn spec_z_and_withdrawals_are_left_out() {
    let (place, bytes) = two_drops().await;
    let z_spec = Arc::new(Float32Array::from(vec![0.5; 500]));
    let ids = galaxies(0..500).project(&[0]).unwrap();
    let spec_z = parquet(&with_column(&ids, "z_spec", z_spec), LAID_OUT);
    put(&place, "a/3.parquet", spec_z.clone()).await;
    put(&place, "c/a.parquet", spec_z).await;
    assert_eq!(paths(&replayed(&place, 3 * bytes).await).await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let (place, bytes) = two_drops().await;
    let refusal = async |place: &Location, choice, bytes| {
        let refused = opened(place, choice, bytes).await;
        refused.unwrap_err().to_string()
    };
    let choice = Choice {
        drops: vec!["c".to_owned()],
        ..all()
    };
    let said = refusal(&place, choice, bytes).await;
    assert!(
        said.contains("--drop c") && said.contains("no such drop"),
        "{said}"
    );
    let said = refusal(&place, all(), 4_000_000 * bytes).await;
    assert!(said.contains("larger catalog"), "{said}");
    let said = refusal(&memory(), all(), 1).await;
    assert!(said.contains("no rows"), "{said}");

    let names = ColumnNames::parse(["object_id=mag_r"]).unwrap();
    let said = refusal(&place, Choice { names, ..all() }, bytes).await;
    assert!(
        said.contains("a/1.parquet cannot be replayed") && said.contains("`mag_r`"),
        "{said}"
    );

    let encrypted = [&file()[..file().len() - 4], b"PARE"].concat();
    put(&place, "a/2.parquet", encrypted).await;
    let said = refusal(&place, all(), bytes).await;
    assert!(
        said.contains("a/2.parquet") && said.contains("ncrypt"),
        "{said}"
    );
    put(&place, "a/2.parquet", "no Parquet at all").await;
    let said = refusal(&place, all(), bytes).await;
    assert!(said.contains("a/2.parquet"), "{said}");
}
