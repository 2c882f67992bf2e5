//! What a reader of Parquet finds in an object of a pass.
use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Float32Type, Int64Type, Schema},
};
use bytes::Bytes;
use connectors::Location;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use testkit::{
    LaidOut, catalog, expected, galaxies,
    galaxy_rows::{with_column, without_column},
    memory, parquet, plan, put, read_all,
};

use super::replayed;

const LAID_OUT: LaidOut = LaidOut {
    row_group_rows: 300,
    page_rows: 50,
    offset_index: true,
};

/// A thousand galaxies with a spec-z each.
fn rows() -> RecordBatch {
    let z_spec = Float32Array::from_iter_values((0..1000).map(|row| 0.001 * row as f32));
    with_column(&galaxies(7..1007), "z_spec", Arc::new(z_spec))
}

fn read(bytes: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let schema = reader.schema().clone();
    let batches = reader.build().unwrap().collect::<Result<Vec<_>, _>>();
    concat_batches(&schema, &batches.unwrap()).unwrap()
}

/// The rows of the only file of a catalog in a pass, after the file is put there.
async fn in_pass(rows: &RecordBatch, laid_out: LaidOut, pass: u64) -> RecordBatch {
    let place = memory();
    put(&place, "drop/a.parquet", parquet(rows, laid_out)).await;
    let replay = replayed(&place, 100_000_000).await;
    let path = format!("pass-{pass:06}-drop/a.parquet");
    read(replay.read(&path).await.unwrap())
}

#[tokio::test]
async fn an_object_has_the_columns_of_its_file_under_new_ids() {
    let rows = rows();
    for offset_index in [true, false] {
        let laid_out = LaidOut {
            offset_index,
            ..LAID_OUT
        };
        for pass in [0, 3] {
            let found = in_pass(&rows, laid_out, pass).await;
            assert_eq!(found.schema(), rows.schema());
            let ids = found["object_id"].as_primitive::<Int64Type>();
            let first = 10_000 * pass as i64;
            assert!(ids.values().iter().copied().eq(first..first + 1000));
            let kept = |rows| without_column(&without_column(rows, "object_id"), "z_spec");
            assert_eq!(kept(&found), kept(&rows));
            match pass {
                0 => assert_eq!(&found["z_spec"], &rows["z_spec"]),
                _ => assert_eq!(found["z_spec"].null_count(), 1000),
            }
        }
    }
}

#[tokio::test]
async fn ids_keep_their_type() {
    let text = |id: i64| format!("{id:020}");
    let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    for kind in [
        DataType::UInt64,
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        dictionary,
    ] {
        let ids = cast(&rows()["object_id"], &kind).unwrap();
        let rows = with_column(&rows(), "object_id", ids);
        let found = in_pass(&rows, LAID_OUT, 2).await;
        let ids = &found["object_id"];
        assert_eq!(*ids.data_type(), kind);
        let numbers = cast(ids, &DataType::Int64).unwrap();
        let numbers = numbers.as_primitive::<Int64Type>();
        assert!(
            numbers.values().iter().copied().eq(20_000..21_000),
            "{kind}"
        );
        if kind != DataType::UInt64 {
            let texts = cast(ids, &DataType::Utf8).unwrap();
            assert_eq!(texts.as_string::<i32>().value(5), text(20_005));
        }
    }
}

/// Rows in which this column may not be null.
fn required(rows: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let rows = with_column(rows, name, values);
    let fields = rows
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let is_nullable = field.name() != name && field.is_nullable();
            Field::clone(field).with_nullable(is_nullable)
        })
        .collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.columns().to_vec()).unwrap()
}

#[tokio::test]
async fn spec_z_that_cannot_be_null_are_nan() {
    let z_spec: ArrayRef = Arc::new(Float32Array::from(vec![0.25; 1000]));
    let found = in_pass(&required(&rows(), "z_spec", z_spec), LAID_OUT, 1).await;
    let z_spec = found["z_spec"].as_primitive::<Float32Type>();
    assert!(z_spec.values().iter().all(|z| z.is_nan()) && z_spec.len() == 1000);

    let z_spec: ArrayRef = Arc::new(Float64Array::from(vec![0.25; 1000]));
    let found = in_pass(&with_column(&rows(), "z_spec", z_spec), LAID_OUT, 1).await;
    assert_eq!(*found["z_spec"].data_type(), DataType::Float64);
    assert_eq!(found["z_spec"].null_count(), 1000);
}

/// The cuts of a drop into splits.
async fn cuts(place: &Location, drop: &str) -> Vec<connectors::Cut> {
    let planned = plan(&catalog(place), drop, 10_000).await.unwrap();
    planned.splits.map(|split| split.cut).collect()
}

#[tokio::test]
async fn the_engine_cuts_and_reads_an_object_like_its_file() {
    for offset_index in [true, false] {
        let (place, laid_out) = (
            memory(),
            LaidOut {
                offset_index,
                ..LAID_OUT
            },
        );
        put(&place, "drop/a.parquet", parquet(&rows(), laid_out)).await;
        put(&place, "drop/b.parquet", parquet(&rows(), laid_out)).await;
        let replay = replayed(&place, 1_000_000).await;
        let whole = cuts(&place, "drop").await;
        assert!(whole.iter().any(|cut| cut.streamed) != offset_index);
        for pass in [0, 2] {
            let drop = format!("pass-{pass:06}-drop");
            assert_eq!(cuts(&replay, &drop).await, whole);
            let planned = plan(&catalog(&replay), &drop, 10_000).await.unwrap();
            let seen = read_all(&catalog(&replay), &planned).await.unwrap();
            let of_file = |file: &str, first| expected(&format!("{drop}/{file}"), first, 1000, 300);
            let first = 10_000 * pass as i64;
            let all = [
                of_file("a.parquet", first),
                of_file("b.parquet", first + 1000),
            ];
            assert_eq!(seen, all.concat());
        }
    }
}

/// Ids of more rows than a page has, of which a part is read.
#[tokio::test]
async fn row_groups_of_many_pages_are_read_in_parts() {
    let laid_out = LaidOut {
        row_group_rows: 50_000,
        page_rows: 1000,
        offset_index: true,
    };
    let place = memory();
    put(
        &place,
        "drop/a.parquet",
        parquet(&galaxies(0..70_000), laid_out),
    )
    .await;
    let replay = replayed(&place, 100_000_000).await;
    let catalog = catalog(&replay);
    let planned = plan(&catalog, "pass-000001-drop", 300_000).await.unwrap();
    assert!(planned.splits.clone().count() > 5);
    let seen = read_all(&catalog, &planned).await.unwrap();
    let all = expected("pass-000001-drop/a.parquet", 100_000, 70_000, 50_000);
    assert!(seen == all);
}
