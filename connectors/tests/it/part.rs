//! Tests parts: each row leaves once, by one door, and the files depend only on the rows.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch},
    compute::concat_batches,
    datatypes::{Float32Type, Int64Type, UInt32Type, UInt64Type},
};
use hubbleflow_connectors::{
    Catalog, Chunk, DropBy, Location,
    budget::Budget,
    galaxy::Request,
    ledger::RowCounts,
    part::{Door, EncodedFile, ModelColumn, Outcomes, PartLabel, Piece, finish, pieces},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use testkit::*;

const MODEL: &str = "0123456789abcdef0123456789abcdef";

/// A row of a test drop: its id, its door and a unique number.
#[derive(Clone, Copy, Debug)]
struct Row {
    id: i64,
    door: u8,
    number: i64,
}

/// The doors that [`Row::door`] may have.
const PREDICTED: u8 = 0;
const WITHDRAWN: u8 = 1;
const LEARNED: u8 = 2;
const REJECTED: u8 = 3;

/// Makes a file of rows. The door and the number are in kept columns.
fn file(rows: &[Row]) -> RecordBatch {
    let batch = galaxies(rows.iter().map(|row| row.id));
    let int64s = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(of).map(Some).collect::<Int64Array>())
    };
    let z_spec: Float32Array = rows.iter().map(|row| Some(z_phot(row.number))).collect();
    let columns = [
        ("z_spec", Arc::new(z_spec) as ArrayRef),
        ("door", int64s(|row| i64::from(row.door))),
        ("number", int64s(|row| row.number)),
    ];
    with_columns(&batch, columns)
}

pub(crate) fn with_columns<'a>(
    batch: &RecordBatch,
    more: impl IntoIterator<Item = (&'a str, ArrayRef)>,
) -> RecordBatch {
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let mine = names.zip(batch.columns().iter().cloned());
    let more = more
        .into_iter()
        .map(|(name, array)| (name.to_owned(), array));
    RecordBatch::try_from_iter(mine.chain(more)).unwrap()
}

pub(crate) fn keeping(location: &Location, keep: &[&str]) -> Arc<Catalog> {
    let keep = keep.iter().map(|&name| name.to_owned()).collect();
    Arc::new(Catalog::new(
        location.clone(),
        DropBy::Child,
        Request { keep, ..request() },
    ))
}

pub(crate) async fn chunks(catalog: &Arc<Catalog>, split_bytes: u64) -> Vec<Chunk> {
    let planned = plan(catalog, "drop", split_bytes).await.unwrap();
    let budget = Budget::new(256 << 20);
    let mut all = Vec::new();
    for split in planned.splits.clone() {
        let read = Arc::new(Mutex::new(Vec::new()));
        let into = read.clone();
        catalog
            .read(&split, &budget, move |chunk| {
                into.lock().unwrap().push(chunk)
            })
            .await
            .unwrap();
        all.append(&mut read.lock().unwrap());
    }
    all
}

fn z_phot(number: i64) -> f32 {
    number as f32 / 1024.0
}

/// Makes the pieces of a chunk whose first two kept columns are the door and the number.
fn pieces_of(chunk: &Chunk, parts: u32) -> Vec<Piece> {
    let kept = |column: usize| chunk.galaxies.keep[column].as_primitive::<Int64Type>();
    let door = |door: i64| match door as u8 {
        PREDICTED => Door::Predicted,
        WITHDRAWN => Door::Withdrawn,
        LEARNED => Door::Learned,
        _ => Door::Rejected("bad".to_owned()),
    };
    let doors: Vec<Door> = kept(0).values().iter().map(|&value| door(value)).collect();
    let z_phot: Vec<f32> = kept(1)
        .values()
        .iter()
        .map(|&number| z_phot(number))
        .collect();
    sorted(chunk, &doors, &z_phot, parts)
}

pub(crate) fn sorted(chunk: &Chunk, doors: &[Door], z_phot: &[f32], parts: u32) -> Vec<Piece> {
    let mut of_model = ModelColumn::of_numbers("z_phot", z_phot.len());
    of_model.set(&(0..z_phot.len()).collect::<Vec<_>>(), z_phot);
    let outcomes = Outcomes {
        doors,
        flags: &vec![0; doors.len()],
        columns: &[of_model],
        mag_bands: &[],
    };
    pieces(chunk, outcomes, parts).unwrap()
}

pub(crate) fn label(part: u32) -> PartLabel {
    PartLabel {
        drop: "drop".to_owned(),
        part,
        model_id: MODEL.to_owned(),
        reference_band: Some("r".to_owned()),
    }
}

/// The rows of each object of a drop, in order, and the length of the row groups.
type Objects = Vec<(Vec<Row>, usize)>;

fn objects() -> impl Strategy<Value = Objects> {
    let row = (
        0_i64..60,
        prop_oneof![6 => Just(PREDICTED), 1 => Just(WITHDRAWN), 2 => Just(LEARNED), 1 => Just(REJECTED)],
    );
    let object = (prop::collection::vec(row, 1..60), 1_usize..40);
    prop::collection::vec(object, 1..4).prop_map(|objects| {
        let mut number = 0;
        let mut numbered = |(id, door)| {
            number += 1;
            Row { id, door, number }
        };
        objects
            .into_iter()
            .map(|(rows, group)| (rows.into_iter().map(&mut numbered).collect(), group))
            .collect()
    })
}

async fn write(objects: &Objects) -> Location {
    let here = memory();
    for (index, (rows, row_group_rows)) in objects.iter().enumerate() {
        let laid_out = LaidOut {
            row_group_rows: *row_group_rows,
            page_rows: 7,
            offset_index: index % 2 == 0,
        };
        put(
            &here,
            &format!("drop/{index}.parquet"),
            parquet(&file(rows), laid_out),
        )
        .await;
    }
    here
}

/// The pieces of a drop, read in splits of this size, in an order that the seed decides.
fn shuffled_pieces(objects: &Objects, split_bytes: u64, parts: u32, seed: u64) -> Vec<Piece> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let chunks = runtime.block_on(async {
        let here = write(objects).await;
        chunks(&keeping(&here, &["door", "number"]), split_bytes).await
    });
    let mut all: Vec<Piece> = chunks
        .iter()
        .flat_map(|chunk| pieces_of(chunk, parts))
        .collect();
    Seeded(seed).shuffle(&mut all);
    all
}

/// The files of all parts, and the counts of all rows.
fn finished(pieces: Vec<Piece>, parts: u32) -> (Vec<EncodedFile>, RowCounts) {
    let (mut files, mut rows) = (Vec::new(), RowCounts::default());
    for part in 0..parts {
        let of_part = pieces
            .iter()
            .filter(|piece| piece.part == part)
            .cloned()
            .collect();
        let finished = finish(of_part, Vec::new(), u64::MAX, &label(part)).unwrap();
        assert!(finished.rows.balance());
        files.extend(finished.files);
        rows += finished.rows;
    }
    (files, rows)
}

/// Reads the rows of all files of a folder.
pub(crate) fn rows_of(files: &[EncodedFile], folder: &str) -> Option<RecordBatch> {
    let mut batches: Vec<RecordBatch> = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.record.path.starts_with(folder))
    {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes_of(&file.bytes))
            .unwrap()
            .build()
            .unwrap();
        let before = batches.len();
        batches.extend(reader.map(Result::unwrap));
        assert_eq!(
            file.record.rows,
            batches[before..]
                .iter()
                .map(|batch| batch.num_rows() as u64)
                .sum::<u64>()
        );
        assert_eq!(file.record.bytes, file.bytes.len() as u64);
    }
    batches
        .first()
        .map(|first| concat_batches(&first.schema(), &batches).unwrap())
}

fn bytes_of(bytes: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

pub(crate) fn int64s(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch[name].as_primitive::<Int64Type>().iter().collect()
}

/// How a row left: its door, and for a rejected row its place and its reason.
type Left = BTreeMap<(u8, i64, String), usize>;

/// The expected result, computed row by row.
fn rows_by_the_book(objects: &Objects) -> Left {
    let mut first: BTreeMap<i64, String> = BTreeMap::new();
    let mut left = Left::new();
    for (index, (rows, group_rows)) in objects.iter().enumerate() {
        for (at, row) in rows.iter().enumerate() {
            let (group, in_group) = (at / group_rows, at % group_rows);
            let here = format!("drop/{index}.parquet, row group {group}, row {in_group}");
            let leaves = match (row.door, first.get(&row.id)) {
                (REJECTED, _) => (REJECTED, row.id, format!("{here}: bad")),
                (_, Some(there)) => (
                    REJECTED,
                    row.id,
                    format!(
                        "{here}: object_id comes twice in this drop: the first stays, in {there}"
                    ),
                ),
                (LEARNED, None) => (LEARNED, row.id, String::new()),
                (door, None) => (
                    door,
                    row.id,
                    format!("{:?}", (door == PREDICTED).then(|| z_phot(row.number))),
                ),
            };
            if row.door != REJECTED {
                first.entry(row.id).or_insert(here);
            }
            *left.entry(leaves).or_default() += 1;
        }
    }
    left
}

/// The actual result, read from the files.
fn rows_in_files(files: &[EncodedFile]) -> Left {
    let mut left = Left::new();
    let mut count = |door, id, detail| *left.entry((door, id, detail)).or_default() += 1;
    if let Some(photoz) = rows_of(files, "photoz/") {
        let flags = photoz["z_flags"].as_primitive::<arrow::datatypes::Int32Type>();
        let z_phot = photoz["z_phot"].as_primitive::<Float32Type>();
        for (row, id) in int64s(&photoz, "object_id").into_iter().enumerate() {
            let door = if flags.value(row) & hubbleflow_connectors::part::DELETED != 0 {
                WITHDRAWN
            } else {
                PREDICTED
            };
            let z = z_phot.is_valid(row).then(|| z_phot.value(row));
            assert_eq!(photoz["ra"].is_null(row), door == WITHDRAWN);
            count(door, id.unwrap(), format!("{z:?}"));
        }
    }
    if let Some(specz) = rows_of(files, "specz/") {
        int64s(&specz, "object_id")
            .into_iter()
            .for_each(|id| count(LEARNED, id.unwrap(), String::new()));
    }
    if let Some(rejects) = rows_of(files, "rejects/") {
        let text = |name: &str| rejects[name].as_string::<i32>();
        let (groups, rows) = (
            rejects["row_group"].as_primitive::<UInt32Type>(),
            rejects["row"].as_primitive::<UInt64Type>(),
        );
        for (row, id) in int64s(&rejects, "object_id").into_iter().enumerate() {
            let (object, reason) = (text("object").value(row), text("reason").value(row));
            let place = format!(
                "{object}, row group {}, row {}",
                groups.value(row),
                rows.value(row)
            );
            count(REJECTED, id.unwrap(), format!("{place}: {reason}"));
        }
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_row_leaves_by_one_door_once(objects in objects(), split_bytes in 60_u64..9_000, parts in 1_u32..4, seed: u64) {
        let (files, rows) = finished(shuffled_pieces(&objects, split_bytes, parts, seed), parts);
        prop_assert_eq!(rows_in_files(&files), rows_by_the_book(&objects));
        prop_assert_eq!(rows.read, objects.iter().map(|(rows, _)| rows.len() as u64).sum::<u64>());
    }

    #[test]
    fn files_depend_on_the_rows_alone(
        objects in objects(),
        cuts in (60_u64..9_000, 60_u64..9_000),
        parts in 1_u32..4,
        seeds: (u64, u64),
    ) {
        let (one, _) = finished(shuffled_pieces(&objects, cuts.0, parts, seeds.0), parts);
        let (other, _) = finished(shuffled_pieces(&objects, cuts.1, parts, seeds.1), parts);
        let names = |files: &[EncodedFile]| files.iter().map(|file| file.record.clone()).collect::<Vec<_>>();
        prop_assert_eq!(names(&one), names(&other));
        prop_assert!(one.iter().zip(&other).all(|(one, other)| one.bytes == other.bytes));
    }

    #[test]
    fn rows_of_photoz_are_sorted_by_cell_and_id(objects in objects(), seed: u64) {
        let (files, _) = finished(shuffled_pieces(&objects, 2_000, 1, seed), 1);
        if let Some(photoz) = rows_of(&files, "photoz/") {
            let cell = |cell: Option<i64>| (cell.is_none(), cell);
            let keys: Vec<_> =
                int64s(&photoz, "_healpix_29").into_iter().map(cell).zip(int64s(&photoz, "object_id")).collect();
            prop_assert!(keys.is_sorted(), "{keys:?}");
        }
    }
}

/// Makes the pieces of a drop in which all rows are predicted, with kept columns.
pub(crate) async fn predicted(here: &Location, keep: &[&str]) -> Vec<Piece> {
    let predict = |chunk: &Chunk| {
        let doors: Vec<Door> = (0..chunk.galaxies.rows)
            .map(|row| {
                if chunk.galaxies.deleted.value(row) {
                    Door::Withdrawn
                } else {
                    Door::Predicted
                }
            })
            .collect();
        let z_phot = vec![0.1; doors.len()];
        sorted(chunk, &doors, &z_phot, 1)
    };
    chunks(&keeping(here, keep), 1 << 20)
        .await
        .iter()
        .flat_map(predict)
        .collect()
}

pub(crate) const PLAIN: LaidOut = LaidOut {
    row_group_rows: 100,
    page_rows: 50,
    offset_index: true,
};
