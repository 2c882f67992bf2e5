//! Rows of Parquet files, and the values of their columns.
use std::{collections::BTreeMap, fs, path::Path};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::concat_batches,
    datatypes::{Float32Type, Int32Type},
    util::display::array_value_to_string,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::tree::tree;

/// The rows of all Parquet files below a folder, in the order of the files' names, or `None` if there is no file.
pub fn rows_if_any(folder: &Path) -> Option<RecordBatch> {
    let files = tree(folder)
        .into_keys()
        .filter(|name| name.ends_with(".parquet"));
    let batches: Vec<RecordBatch> = files
        .flat_map(|name| read_file(&folder.join(name)))
        .collect();
    let first = batches.first()?;
    let all = concat_batches(&first.schema(), &batches);
    Some(all.expect("the files of a folder have the same columns"))
}

/// The rows of all Parquet files below a folder. Panics if there is no file.
#[track_caller]
pub fn rows(folder: impl AsRef<Path>) -> RecordBatch {
    let folder = folder.as_ref();
    rows_if_any(folder).unwrap_or_else(|| panic!("no Parquet file below {}", folder.display()))
}

/// The batches of a file: at least one, which may be empty.
fn read_file(path: &Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).expect("a file can be read");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("the file is Parquet");
    let schema = builder.schema().clone();
    let reader = builder.build().expect("the file can be read");
    let mut batches: Vec<_> = reader.map(|batch| batch.expect("a batch")).collect();
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(schema));
    }
    batches
}

/// A column by its name. Panics if the rows do not have it.
#[track_caller]
pub fn column<'a>(rows: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    rows.column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name} in {:?}", rows.schema()))
}

/// The values of `object_id`, of any type, as text; null is `-`.
pub fn ids(rows: &RecordBatch) -> Vec<String> {
    let ids = column(rows, "object_id");
    let id = |row| match ids.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(ids, row).unwrap(),
    };
    (0..rows.num_rows()).map(id).collect()
}

/// The values of a float column.
pub fn floats(rows: &RecordBatch, name: &str) -> Vec<Option<f32>> {
    let column = column(rows, name).as_primitive::<Float32Type>();
    column.iter().collect()
}

/// The values of a string column; null is `-`.
pub fn strings(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = column(rows, name).as_string::<i32>();
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    column.iter().map(text).collect()
}

/// The row of an object. Panics if the rows do not have it.
#[track_caller]
pub fn row_of(rows: &RecordBatch, id: &str) -> usize {
    let ids = ids(rows);
    ids.iter()
        .position(|other| other == id)
        .unwrap_or_else(|| panic!("{id} is not among {ids:?}"))
}

/// The value of a float column for one object.
pub fn float_of(rows: &RecordBatch, id: &str, name: &str) -> Option<f32> {
    floats(rows, name)[row_of(rows, id)]
}

/// The `z_flags` of one object.
pub fn flags_of(rows: &RecordBatch, id: &str) -> i32 {
    let flags = column(rows, "z_flags").as_primitive::<Int32Type>();
    flags.value(row_of(rows, id))
}

/// The bits of `z_phot` below a folder, by object id.
pub fn z_phot(folder: impl AsRef<Path>) -> BTreeMap<String, Option<u32>> {
    let rows = rows(folder);
    let z_phot = floats(&rows, "z_phot").into_iter();
    let bits = z_phot.map(|z| z.map(f32::to_bits));
    ids(&rows).into_iter().zip(bits).collect()
}
