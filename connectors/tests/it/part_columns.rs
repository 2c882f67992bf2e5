//! Tests the columns of a part's files: kept columns with reserved names, missing kept columns, and the model's id.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Float32Array, Int64Array, RecordBatch, StringArray},
    datatypes::Float32Type,
};
use hubbleflow_connectors::{
    codec::CompressedPieces,
    part::{FinishedPart, PartLabel, Piece, finish},
};
use testkit::*;

use crate::part::{PLAIN, int64s, label, predicted, rows_of, with_columns};

#[tokio::test]
async fn a_kept_column_may_be_called_as_our_places_are() {
    for name in [
        "row",
        "row_group",
        "object",
        "index",
        "folder",
        "reason",
        "part",
    ] {
        let here = memory();
        let kept: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 2.5, 3.5]));
        // The same object twice: removing duplicates must not depend on the kept column.
        let batch = with_columns(&galaxies([7, 8, 7].into_iter()), [(name, kept)]);
        put(&here, "drop/a.parquet", parquet(&batch, PLAIN)).await;
        let FinishedPart { files, rows, .. } = finish(
            predicted(&here, &[name]).await,
            Vec::new(),
            u64::MAX,
            &label(0),
        )
        .unwrap();
        assert_eq!((rows.written, rows.rejected), (2, 1), "{name}");
        let photoz = rows_of(&files, "photoz/").unwrap();
        let kept = photoz
            .column_by_name(name)
            .unwrap_or_else(|| panic!("the kept column {name} is written"));
        let by_id = int64s(&photoz, "object_id")
            .into_iter()
            .zip(kept.as_primitive::<Float32Type>().iter());
        assert_eq!(
            by_id.collect::<BTreeMap<_, _>>(),
            [(Some(7), Some(1.5)), (Some(8), Some(2.5))].into()
        );
    }
}

#[tokio::test]
async fn a_file_that_only_withdraws_goes_with_files_that_keep_a_column() {
    let here = memory();
    let note: ArrayRef = Arc::new(StringArray::from(vec!["bright", "faint"]));
    put(
        &here,
        "drop/a.parquet",
        parquet(&with_columns(&galaxies(1..3), [("note", note)]), PLAIN),
    )
    .await;
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
    let deleted: ArrayRef = Arc::new(BooleanArray::from(vec![true, true]));
    let withdrawals =
        RecordBatch::try_from_iter([("object_id", ids), ("deleted", deleted)]).unwrap();
    for name in ["drop/0.parquet", "drop/b.parquet"] {
        put(&here, name, parquet(&withdrawals, PLAIN)).await;
        let FinishedPart { files, .. } = finish(
            predicted(&here, &["note"]).await,
            Vec::new(),
            u64::MAX,
            &label(0),
        )
        .unwrap();
        let photoz = rows_of(&files, "photoz/").unwrap();
        let notes: BTreeMap<_, _> = int64s(&photoz, "object_id")
            .into_iter()
            .zip(photoz["note"].as_string::<i32>().iter())
            .collect();
        let expected = [
            (Some(1), Some("bright")),
            (Some(2), Some("faint")),
            (Some(3), None),
            (Some(4), None),
        ];
        assert_eq!(notes, expected.into(), "{name}");
        let path = here.path(name).unwrap();
        object_store::ObjectStoreExt::delete(&here.store, &path)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_model_id_need_not_be_ascii() {
    // Regression: the first 12 bytes of the id ended within a letter, which ended the run.
    let here = memory();
    put(&here, "drop/a.parquet", parquet(&galaxies(1..3), PLAIN)).await;
    let label = PartLabel {
        model_id: "modèle-élémentaire".to_owned(),
        ..label(0)
    };
    let FinishedPart { files, .. } =
        finish(predicted(&here, &[]).await, Vec::new(), u64::MAX, &label).unwrap();
    let photoz = rows_of(&files, "photoz/").unwrap();
    assert_eq!(
        photoz["model_id"].as_string::<i32>().value(0),
        "modèle-éléme"
    );
}

/// Regression: all text of a part was in memory twice while it was encoded, 2.7 GB for 20,000 rows of 66 kB.
#[tokio::test]
async fn kept_text_that_waits_compressed_makes_the_same_files() {
    let here = memory();
    for n in 0..4 {
        let ids = n * 1000..(n + 1) * 1000;
        let text = |id: i64| format!("{id:0>width$}", width = 300 + (id % 7) as usize * 100);
        let note: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(text)));
        let batch = with_columns(&galaxies(ids), [("note", note)]);
        put(&here, &format!("drop/{n}.parquet"), parquet(&batch, PLAIN)).await;
    }
    let pieces = predicted(&here, &["note"]).await;
    let whole = finish(pieces.clone(), Vec::new(), u64::MAX, &label(0)).unwrap();
    assert_eq!(whole.rows.written, 4000);
    let compressed = |pieces: &[Piece]| {
        let bytes = CompressedPieces::new(pieces).unwrap().into_bytes();
        CompressedPieces::of(bytes)
    };
    for held_bytes in [0, 1 << 20, u64::MAX] {
        let (here, stage) = pieces.split_at(1);
        let stage = stage.chunks(2).map(compressed).collect();
        let again = finish(here.to_vec(), stage, held_bytes, &label(0)).unwrap();
        assert_eq!(again.rows, whole.rows);
        assert_eq!(again.files[0].record, whole.files[0].record);
    }
}
