//! The rows of the sample survey as Arrow, and drops of them as Parquet objects.
//!
//! | column | type | |
//! |---|---|---|
//! | `object_id` | int64 | |
//! | `ra`, `dec` | float64 | degrees |
//! | `mag_u` … `mag_z` | float32 | AB, corrected for Galactic extinction |
//! | `z_spec` | float32, nullable | |
//! | `parent` | int32 | row of the photometry that the galaxy was drawn from, from 0 |
//! | `cutout` | fixed-shape tensor of float32, `[band, y, x]` | nanomaggies a pixel |
//! | `deleted` | bool | only where rows are withdrawn: all else but `object_id` is then null |
//!
//! Cutouts are written BYTE_STREAM_SPLIT with zstd, without dictionary and statistics: noise has
//! neither repeats nor a range worth knowing.

use super::SampleError;
use super::camera::BANDS;
use super::survey::{Fault, ImageDrop, Row, RowKind, Survey, Truth};
use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What every file says of itself, under the key `origin`.
pub const ORIGIN: &str =
    "sample survey: real photometry and redshifts, smoothed; cutouts are rendered, not observed";

/// Raw cutouts in a row group.
const ROW_GROUP_BYTES: usize = 25_000_000;

/// Bytes of a part of an upload; uploads in flight hold a few.
const UPLOAD_PART_BYTES: usize = 8 << 20;

/// Parts of one upload in flight.
const UPLOADS_IN_FLIGHT: usize = 4;

/// Rows of a row group, so that it holds about 25 MB of cutouts.
pub fn rows_per_group(side_px: usize) -> u64 {
    let cutout_bytes = cutout_len(side_px) * size_of::<f32>();
    (ROW_GROUP_BYTES / cutout_bytes).max(1) as u64
}

fn cutout_len(side_px: usize) -> usize {
    BANDS * side_px * side_px
}

/// The columns of an image drop.
pub fn image_schema(survey: &Survey) -> SchemaRef {
    // A withdrawn row needs its `object_id` alone.
    let nullable = survey.has_withdrawals;
    let unit = |name: &str, data_type, unit: &str| {
        Field::new(name, data_type, nullable)
            .with_metadata(HashMap::from([("unit".to_owned(), unit.to_owned())]))
    };
    let mut fields = vec![
        Field::new("object_id", DataType::Int64, false),
        unit("ra", DataType::Float64, "deg"),
        unit("dec", DataType::Float64, "deg"),
    ];
    for band in ["u", "g", "r", "i", "z"] {
        fields.push(unit(&format!("mag_{band}"), DataType::Float32, "mag"));
    }
    fields.push(Field::new("z_spec", DataType::Float32, true));
    fields.push(Field::new("parent", DataType::Int32, nullable));
    fields.push(cutout_field(survey.side_px, nullable));
    if survey.has_withdrawals {
        fields.push(Field::new("deleted", DataType::Boolean, false));
    }
    Arc::new(Schema::new_with_metadata(fields, origin()))
}

fn cutout_field(side_px: usize, nullable: bool) -> Field {
    let list = DataType::FixedSizeList(pixel_field(), cutout_len(side_px) as i32);
    let shape = format!(r#"{{"shape":[{BANDS},{side_px},{side_px}]}}"#);
    Field::new("cutout", list, nullable).with_metadata(HashMap::from([
        (
            "ARROW:extension:name".into(),
            "arrow.fixed_shape_tensor".into(),
        ),
        ("ARROW:extension:metadata".into(), shape),
        ("unit".into(), "nanomaggy".into()),
    ]))
}

fn pixel_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

/// The columns of a spec-z drop.
pub fn specz_schema() -> SchemaRef {
    let fields = vec![
        Field::new("object_id", DataType::Int64, false),
        Field::new("z_spec", DataType::Float32, true),
    ];
    Arc::new(Schema::new_with_metadata(fields, origin()))
}

fn origin() -> HashMap<String, String> {
    HashMap::from([("origin".to_owned(), ORIGIN.to_owned())])
}

/// Rows of a spec-z drop as a batch.
pub fn specz_batch(survey: &Survey, rows: &[(u64, f32)]) -> Result<RecordBatch, SampleError> {
    let ids =
        Int64Array::from_iter_values(rows.iter().map(|&(object, _)| survey.object_id(object)));
    let z_spec = Float32Array::from_iter_values(rows.iter().map(|&(_, z_spec)| z_spec));
    Ok(RecordBatch::try_new(
        specz_schema(),
        vec![Arc::new(ids), Arc::new(z_spec)],
    )?)
}

/// A row of a batch, but for its cutout.
struct Cells {
    object_id: i64,
    position: Option<(f64, f64)>,
    mags: Option<[f32; BANDS]>,
    z_spec: Option<f32>,
    parent: Option<i32>,
}

/// Renders rows of an image drop, on all threads of the rayon pool that this is called in.
pub fn image_batch(
    survey: &Survey,
    drop: &ImageDrop,
    rows: Range<u64>,
) -> Result<RecordBatch, SampleError> {
    let cutout_len = cutout_len(survey.side_px);
    let row_count = (rows.end - rows.start) as usize;
    let mut pixels = vec![0f32; row_count * cutout_len];
    let cells: Vec<Cells> = pixels
        .par_chunks_exact_mut(cutout_len)
        .enumerate()
        .map(|(place, cutout)| fill_row(survey, drop, drop.row(rows.start + place as u64), cutout))
        .collect();
    let floats = |of: &dyn Fn(&Cells) -> Option<f64>| -> ArrayRef {
        Arc::new(cells.iter().map(of).collect::<Float64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            cells.iter().map(|row| row.object_id),
        )),
        floats(&|row| row.position.map(|(ra_deg, _)| ra_deg)),
        floats(&|row| row.position.map(|(_, dec_deg)| dec_deg)),
    ];
    for band in 0..BANDS {
        let mags = cells.iter().map(|row| row.mags.map(|mags| mags[band]));
        columns.push(Arc::new(mags.collect::<Float32Array>()));
    }
    let z_spec: Float32Array = cells.iter().map(|row| row.z_spec).collect();
    let parent: Int32Array = cells.iter().map(|row| row.parent).collect();
    columns.push(Arc::new(z_spec));
    columns.push(Arc::new(parent));
    let observed: Vec<bool> = cells.iter().map(|row| row.position.is_some()).collect();
    columns.push(Arc::new(FixedSizeListArray::try_new(
        pixel_field(),
        cutout_len as i32,
        Arc::new(Float32Array::from(pixels)),
        survey
            .has_withdrawals
            .then(|| NullBuffer::from(observed.clone())),
    )?));
    if survey.has_withdrawals {
        let deleted: BooleanArray = observed.iter().map(|&observed| Some(!observed)).collect();
        columns.push(Arc::new(deleted));
    }
    Ok(RecordBatch::try_new(image_schema(survey), columns)?)
}

fn fill_row(survey: &Survey, drop: &ImageDrop, row: Row, cutout: &mut [f32]) -> Cells {
    let object_id = survey.object_id(row.object);
    if row.kind == RowKind::Withdrawal {
        return Cells {
            object_id,
            position: None,
            mags: None,
            z_spec: None,
            parent: None,
        };
    }
    let truth = survey.truth(row.object);
    survey.render(row.object, drop.number, &truth, cutout);
    let mut cells = observed_cells(object_id, &truth, row.kind);
    if let RowKind::New { fault: Some(fault) } = row.kind {
        spoil(fault, &mut cells, cutout);
    }
    cells
}

fn observed_cells(object_id: i64, truth: &Truth, kind: RowKind) -> Cells {
    let galaxy = &truth.draw.galaxy;
    let mags = match kind {
        RowKind::Correction => truth.draw.mags_improved,
        RowKind::New { .. } | RowKind::Withdrawal => galaxy.mags,
    };
    Cells {
        object_id,
        position: Some((truth.ra_deg, truth.dec_deg)),
        mags: Some(mags.map(|mag| mag as f32)),
        z_spec: truth.has_z_spec.then_some(galaxy.z_spec as f32),
        parent: Some(truth.draw.parent as i32),
    }
}

fn spoil(fault: Fault, cells: &mut Cells, cutout: &mut [f32]) {
    let middle = cutout.len() / 2;
    match fault {
        Fault::PixelNan => cutout[middle] = f32::NAN,
        Fault::PixelInfinite => cutout[middle] = f32::INFINITY,
        Fault::MagMissing => cells.mags = cells.mags.map(|[_, g, r, i, z]| [-9999.0, g, r, i, z]),
        Fault::MagZero => cells.mags = cells.mags.map(|[u, g, r, i, _]| [u, g, r, i, 0.0]),
        Fault::DecOffSky => cells.position = cells.position.map(|(ra_deg, _)| (ra_deg, 95.0)),
        Fault::RaNan => cells.position = cells.position.map(|(_, dec_deg)| (f64::NAN, dec_deg)),
    }
}

/// How many rows of an image batch were observed and have no spec-z.
pub fn rows_without_spec_z(batch: &RecordBatch) -> u64 {
    let nulls = |name| {
        batch
            .column_by_name(name)
            .map_or(0, |column| column.null_count())
    };
    (nulls("z_spec") - nulls("cutout")) as u64
}

/// One Parquet object being written: batches are encoded on a blocking thread and uploaded as they
/// come, so that no more than a row group is held.
pub struct PartWriter {
    encoder: ArrowWriter<Vec<u8>>,
    upload: WriteMultipart,
    bytes: u64,
}

impl PartWriter {
    /// Starts an object at `path`.
    pub async fn create(
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        schema: SchemaRef,
        rows_per_group: u64,
    ) -> Result<Self, SampleError> {
        let properties = properties(rows_per_group)?;
        let encoder = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        let upload = store.put_multipart(path).await?;
        Ok(Self {
            encoder,
            upload: WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART_BYTES),
            bytes: 0,
        })
    }

    /// Adds a row group.
    pub async fn write(mut self, batch: RecordBatch) -> Result<Self, SampleError> {
        let (mut this, bytes) = tokio::task::spawn_blocking(move || {
            self.encoder.write(&batch)?;
            self.encoder.flush()?;
            let bytes = std::mem::take(self.encoder.inner_mut());
            Ok::<_, SampleError>((self, bytes))
        })
        .await??;
        this.send(bytes).await?;
        Ok(this)
    }

    /// Ends the object; the number of its bytes.
    pub async fn finish(mut self) -> Result<u64, SampleError> {
        self.encoder.finish()?;
        let rest = std::mem::take(self.encoder.inner_mut());
        self.send(rest).await?;
        self.upload.finish().await?;
        Ok(self.bytes)
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), SampleError> {
        self.bytes += bytes.len() as u64;
        self.upload.wait_for_capacity(UPLOADS_IN_FLIGHT).await?;
        self.upload.put(bytes.into());
        Ok(())
    }
}

fn properties(rows_per_group: u64) -> Result<WriterProperties, SampleError> {
    let pixels = ColumnPath::from(vec!["cutout".into(), "list".into(), "element".into()]);
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(rows_per_group as usize))
        .set_column_encoding(pixels.clone(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_dictionary_enabled(pixels.clone(), false)
        .set_column_statistics_enabled(pixels, EnabledStatistics::None)
        .build())
}
