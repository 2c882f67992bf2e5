//! Rows of galaxies with cutouts that the program can predict, and ways to spoil them.
//!
//! | columns | values |
//! |---|---|
//! | `object_id` | as given |
//! | `ra`, `dec` | degrees; they grow with the row |
//! | `mag_u` … `mag_z` | magnitudes; they grow with the row |
//! | `z_spec` | grows with the row |
//! | `cutout` | [`PIXELS`] float32 values a row: band, y, x |
use std::{path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    },
    datatypes::{DataType, Field, Schema},
};
use parquet::file::properties::WriterProperties;

use crate::{galaxies::encode, rows::floats, tree::write_file};

/// Side of a cutout, in pixels.
pub const SIDE_PX: usize = 32;
/// Pixels of a cutout in all five bands.
pub const PIXELS: usize = 5 * SIDE_PX * SIDE_PX;

/// Good galaxies with the ids 1, 2, …
pub fn some_galaxies(count: i64) -> RecordBatch {
    galaxies_with_ids(int64(1..=count))
}

/// Good galaxies with these ids. All other values depend on the row's number alone.
pub fn galaxies_with_ids(object_id: ArrayRef) -> RecordBatch {
    let count = object_id.len();
    let by_row = |step: f64| (0..count).map(move |row| row as f64 * step);
    let float64 = |first: f64, step: f64| -> ArrayRef {
        Arc::new(
            by_row(step)
                .map(|value| first + value)
                .collect::<Float64Array>(),
        )
    };
    let float32 = |first: f64, step: f64| -> ArrayRef {
        let values = by_row(step).map(|value| (first + value) as f32);
        Arc::new(values.collect::<Float32Array>())
    };
    let pixels: Float32Array = (0..count * PIXELS)
        .map(|pixel| Some((pixel as f32 * 0.37).sin()))
        .collect();
    let columns = [
        ("object_id", object_id),
        ("ra", float64(150.0, 0.25)),
        ("dec", float64(-10.0, 0.125)),
        ("mag_u", float32(20.0, 0.01)),
        ("mag_g", float32(18.5, 0.01)),
        ("mag_r", float32(17.5, 0.01)),
        ("mag_i", float32(17.0, 0.01)),
        ("mag_z", float32(16.5, 0.01)),
        ("z_spec", float32(0.1, 0.001)),
        ("cutout", cutouts(pixels)),
    ];
    let columns = columns.map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A column of ids.
pub fn int64(ids: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(ids))
}

/// A column of cutouts, from the pixels of one cutout after the other.
pub fn cutouts(pixels: Float32Array) -> ArrayRef {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    Arc::new(FixedSizeListArray::try_new(item, PIXELS as i32, Arc::new(pixels), None).unwrap())
}

/// Adds a column at the end. It replaces a column of the same name.
pub fn with_column(rows: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let kept = without_column(rows, name);
    let schema = kept.schema();
    let field = Arc::new(Field::new(name, values.data_type().clone(), true));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([field]).collect();
    let columns = kept.columns().iter().cloned().chain([values]).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Removes a column.
pub fn without_column(rows: &RecordBatch, name: &str) -> RecordBatch {
    let kept: Vec<usize> = (0..rows.num_columns())
        .filter(|&column| rows.schema().field(column).name() != name)
        .collect();
    rows.project(&kept).unwrap()
}

/// Changes the values of a float column at some rows.
pub fn with_values(
    rows: &RecordBatch,
    name: &str,
    changes: &[(usize, Option<f32>)],
) -> RecordBatch {
    let mut values = floats(rows, name);
    changes.iter().for_each(|&(row, value)| values[row] = value);
    with_column(rows, name, Arc::new(Float32Array::from(values)))
}

/// Writes rows as a Parquet file. `group_rows` is the number of rows a row group.
pub fn write_parquet(path: impl AsRef<Path>, rows: &RecordBatch, group_rows: usize) {
    write_file(path, parquet_bytes(rows, group_rows));
}

/// Writes a drop of eight good galaxies, whose ids count up from `first_id`.
pub fn write_good_drop(catalog: &Path, drop: &str, first_id: i64) {
    let rows = galaxies_with_ids(int64(first_id..first_id + 8));
    write_parquet(catalog.join(drop).join("a.parquet"), &rows, 100);
}

/// Encodes rows as a Parquet file in memory. `group_rows` is the number of rows a row group.
pub fn parquet_bytes(rows: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    encode(rows, properties)
}
