//! Small catalogs in memory, and the rows that a reader finds in them.
use std::sync::{Arc, Mutex};

use arrow::{
    array::{ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch},
    datatypes::Int64Type,
};
use connectors::{
    Catalog, DropBy, DropPlan, Error, Location, Split,
    budget::Budget,
    galaxy::{MagRequest, Request},
};
use parquet::{
    arrow::ArrowWriter,
    file::properties::{EnabledStatistics, WriterProperties},
};

/// Galaxies without cutouts. `ra`, `dec` and magnitudes follow from the id.
pub fn galaxies(ids: impl Iterator<Item = i64>) -> RecordBatch {
    let ids: Int64Array = ids.collect();
    let spread = |step: f64, limit: f64| {
        ids.values()
            .iter()
            .map(move |id| (*id as f64 * step).rem_euclid(limit))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        (
            "ra",
            Arc::new(spread(0.37, 360.0).collect::<Float64Array>()),
        ),
        (
            "dec",
            Arc::new(
                spread(0.11, 180.0)
                    .map(|dec| dec - 90.0)
                    .collect::<Float64Array>(),
            ),
        ),
    ];
    for mag in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"] {
        columns.push((
            mag,
            Arc::new(
                spread(0.013, 10.0)
                    .map(|mag| 15.0 + mag as f32)
                    .collect::<Float32Array>(),
            ),
        ));
    }
    columns.insert(0, ("object_id", Arc::new(ids.clone())));
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The layout of a Parquet file.
#[derive(Clone, Copy, Debug)]
pub struct LaidOut {
    /// Rows per row group.
    pub row_group_rows: usize,
    /// Rows per page.
    pub page_rows: usize,
    /// Whether the file has an offset index.
    pub offset_index: bool,
}

/// Writes a batch as a Parquet file.
pub fn parquet(batch: &RecordBatch, laid_out: LaidOut) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(laid_out.row_group_rows))
        .set_data_page_row_count_limit(laid_out.page_rows)
        .set_write_batch_size(laid_out.page_rows)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(!laid_out.offset_index)
        .build();
    encode(batch, properties)
}

/// Encodes a batch as a Parquet file in memory.
pub(crate) fn encode(batch: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// The request of a model that uses only magnitudes.
pub fn request() -> Request {
    Request {
        mags: MagRequest::required(["u", "g", "r", "i", "z"], "r"),
        ..Request::default()
    }
}

/// A catalog for a model that uses only magnitudes.
pub fn catalog(location: &Location) -> Arc<Catalog> {
    Arc::new(Catalog::new(location.clone(), DropBy::Child, request()))
}

/// Plans the drop with this name.
pub async fn plan(
    catalog: &Catalog,
    drop: &str,
    split_bytes: u64,
) -> std::result::Result<DropPlan, Error> {
    let drops = catalog.drops().await?;
    let listing = drops
        .iter()
        .find(|listing| listing.name == drop)
        .expect("the drop is listed");
    catalog.plan(listing, "attempt", 1, split_bytes, 1).await
}

/// A row that was read: object, row group, row and id.
pub type SeenRow = (String, u32, u64, i64);

/// Reads a split. Returns the rows, also those before an error, and the result.
pub async fn read(
    catalog: &Arc<Catalog>,
    split: &Split,
    budget: &Budget,
) -> (Vec<SeenRow>, std::result::Result<(), Error>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let done = catalog.read(split, budget, move |chunk| {
        let ids = chunk.galaxies.object_id.as_primitive::<Int64Type>();
        let row = |row: usize| {
            let (group, in_group) = chunk.origin.locate(row);
            (chunk.origin.object.clone(), group, in_group, ids.value(row))
        };
        into.lock()
            .unwrap()
            .extend((0..chunk.galaxies.rows).map(row));
    });
    let done = done.await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, done)
}

/// Reads all splits of a plan one after the other.
pub async fn read_all(
    catalog: &Arc<Catalog>,
    plan: &DropPlan,
) -> std::result::Result<Vec<SeenRow>, Error> {
    let budget = Budget::new(64 << 20);
    let mut all = Vec::new();
    for split in plan.splits.clone() {
        let (seen, done) = read(catalog, &split, &budget).await;
        done?;
        all.extend(seen);
    }
    Ok(all)
}

/// The rows of a file whose ids count up from `first`.
pub fn expected(object: &str, first: i64, rows: usize, row_group_rows: usize) -> Vec<SeenRow> {
    let place = |row: usize| (row / row_group_rows, row % row_group_rows);
    (0..rows)
        .map(|row| {
            (
                object.to_owned(),
                place(row).0 as u32,
                place(row).1 as u64,
                first + row as i64,
            )
        })
        .collect()
}
