//! Rows are read once and in order, and a changed or damaged object is an error.
use connectors::{Error, Location};
use object_store::ObjectStoreExt;

use crate::{LaidOut, catalog, expected, galaxies, parquet, plan, put, read_all};

const LAID_OUT: LaidOut = LaidOut {
    row_group_rows: 300,
    page_rows: 50,
    offset_index: true,
};

pub async fn rows_are_read_once_in_order(here: &Location) {
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

pub async fn large_row_groups_are_cut_or_streamed(here: &Location) {
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

pub async fn a_replaced_object_is_noticed(here: &Location) {
    let path = "drop/a.parquet";
    // The second version has the size of the first and a different ETag. The third has a different size.
    let versions = [galaxies(0..1000), galaxies(5000..6000), galaxies(0..10)]
        .map(|rows| parquet(&rows, LAID_OUT));
    put(here, path, versions[0].clone()).await;
    let planner = catalog(here);
    let planned = plan(&planner, "drop", 20_000).await.unwrap();
    for version in &versions[1..] {
        put(here, path, version.clone()).await;
        // The first reader has the footer in memory. The second stands for another process, which does not.
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

pub async fn a_truncated_object_is_corrupt(here: &Location) {
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
