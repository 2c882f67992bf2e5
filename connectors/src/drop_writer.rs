//! Writes the drops of a catalog: Parquet objects in the layout that is read fastest, then `_SUCCESS`.
//!
//! | | |
//! |---|---|
//! | cutouts | fixed-shape tensors of float32, BYTE_STREAM_SPLIT, without dictionary and statistics, which are of no use for noise |
//! | compression | zstd 1 |
//! | row groups | about 25 MB of cutouts |
//! | objects | 20,000 rows, and at most about 16 GB of cutouts |

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

/// The number of rows in a Parquet object, unless their cutouts are very large.
pub const ROWS_PER_PART: u64 = 20_000;

/// Upper bound on the bytes of raw cutouts in a Parquet object. S3 takes an object in at most 10,000 parts, which are
/// 84 GB at [`UPLOAD_PART_BYTES`].
const PART_BYTES_MAX: usize = 16_000_000_000;

/// The bytes of raw cutouts in a row group.
const ROW_GROUP_BYTES: usize = 25_000_000;

/// The size of a part of an upload. An upload in flight holds a few parts.
const UPLOAD_PART_BYTES: usize = 8 << 20;

/// The number of concurrent parts of an upload.
const UPLOADS_IN_FLIGHT: usize = 4;

/// Why a drop could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object store failed.
    #[error("the store failed")]
    Store(#[from] object_store::Error),
    /// The rows do not fit the columns.
    #[error("could not lay out the rows")]
    Arrow(#[from] ArrowError),
    /// A file could not be encoded.
    #[error("could not encode the rows as Parquet")]
    Parquet(#[from] ParquetError),
    /// A thread panicked, or was cancelled with the runtime.
    #[error("a thread that encodes stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

/// The shape of a cutout, `[band, y, x]`.
///
/// ```
/// use hubbleflow_connectors::drop_writer::CutoutShape;
///
/// let shape = CutoutShape { bands: 4, side_px: 64 };
/// assert_eq!(shape.pixels(), 16_384);
/// assert_eq!(shape.rows_per_group(), 381);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutoutShape {
    /// The number of bands.
    pub bands: usize,
    /// The side in pixels.
    pub side_px: usize,
}

impl CutoutShape {
    /// The number of pixels in all bands.
    pub fn pixels(self) -> usize {
        self.bands * self.side_px * self.side_px
    }

    /// The number of rows in a row group, so that it holds about 25 MB of cutouts.
    pub fn rows_per_group(self) -> u64 {
        self.rows_in(ROW_GROUP_BYTES)
    }

    /// The number of rows in a Parquet object.
    pub fn rows_per_part(self) -> u64 {
        self.rows_in(PART_BYTES_MAX).min(ROWS_PER_PART)
    }

    /// The number of rows whose cutouts fill `bytes`, and at least one row.
    fn rows_in(self, bytes: usize) -> u64 {
        (bytes / (self.pixels() * size_of::<f32>())).max(1) as u64
    }

    /// The field of the column of cutouts.
    pub fn field(self, nullable: bool) -> Field {
        let Self { bands, side_px } = self;
        let shape = format!(r#"{{"shape":[{bands},{side_px},{side_px}]}}"#);
        let list = DataType::FixedSizeList(pixel_field(), self.pixels() as i32);
        Field::new("cutout", list, nullable).with_metadata(HashMap::from([
            (
                "ARROW:extension:name".into(),
                "arrow.fixed_shape_tensor".into(),
            ),
            ("ARROW:extension:metadata".into(), shape),
            ("unit".into(), "nanomaggy".into()),
        ]))
    }

    /// Makes the column of cutouts from pixels.
    ///
    /// # Errors
    /// If the pixels do not make whole cutouts, or if `nulls` has a different length.
    pub fn column(
        self,
        pixels: Vec<f32>,
        nulls: Option<NullBuffer>,
    ) -> Result<FixedSizeListArray, ArrowError> {
        let pixels = Arc::new(Float32Array::from(pixels));
        FixedSizeListArray::try_new(pixel_field(), self.pixels() as i32, pixels, nulls)
    }
}

/// The field of a column with a unit.
pub fn unit_field(name: &str, data_type: DataType, unit: &str, nullable: bool) -> Field {
    Field::new(name, data_type, nullable)
        .with_metadata(HashMap::from([("unit".to_owned(), unit.to_owned())]))
}

fn pixel_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

/// The path of a Parquet object of a drop.
pub fn part_path(drop: &Path, number: usize) -> Path {
    drop.clone().join(format!("part-{number:04}.parquet"))
}

/// Marks a drop as complete, with `_SUCCESS`.
///
/// # Errors
/// Errors of the store.
pub async fn mark_complete(store: &dyn ObjectStore, drop: &Path) -> Result<(), WriteError> {
    store
        .put(&drop.clone().join("_SUCCESS"), Vec::new().into())
        .await?;
    Ok(())
}

/// Writes one Parquet object. Batches are encoded on a blocking thread and uploaded as they come, so at most one row group
/// is in memory.
pub struct PartWriter {
    encoder: ArrowWriter<Vec<u8>>,
    upload: WriteMultipart,
    bytes: u64,
}

impl PartWriter {
    /// Starts an object at `path`.
    ///
    /// # Errors
    /// Errors of the store or of the encoder.
    pub async fn create(
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        schema: SchemaRef,
        rows_per_group: u64,
    ) -> Result<Self, WriteError> {
        Self::with_properties(store, path, schema, properties(rows_per_group)?).await
    }

    /// Starts an object at `path` with these properties.
    ///
    /// # Errors
    /// Errors of the store or of the encoder.
    pub async fn with_properties(
        store: &Arc<dyn ObjectStore>,
        path: &Path,
        schema: SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self, WriteError> {
        let encoder = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        let upload = store.put_multipart(path).await?;
        Ok(Self {
            encoder,
            upload: WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART_BYTES),
            bytes: 0,
        })
    }

    /// Adds a row group.
    ///
    /// # Errors
    /// Errors of the store or of the encoder.
    pub async fn write(self, batch: RecordBatch) -> Result<Self, WriteError> {
        self.encode(batch, true).await
    }

    /// Adds rows. The properties decide where a row group ends.
    ///
    /// # Errors
    /// Errors of the store or of the encoder.
    pub async fn append(self, batch: RecordBatch) -> Result<Self, WriteError> {
        self.encode(batch, false).await
    }

    /// The number of bytes so far, including bytes that are not uploaded yet.
    pub fn bytes(&self) -> u64 {
        (self.encoder.bytes_written() + self.encoder.in_progress_size()) as u64
    }

    async fn encode(mut self, batch: RecordBatch, is_group: bool) -> Result<Self, WriteError> {
        let (mut this, bytes) = tokio::task::spawn_blocking(move || {
            self.encoder.write(&batch)?;
            if is_group {
                self.encoder.flush()?;
            }
            let bytes = std::mem::take(self.encoder.inner_mut());
            Ok::<_, WriteError>((self, bytes))
        })
        .await??;
        this.send(bytes).await?;
        Ok(this)
    }

    /// Finishes the object and returns its size.
    ///
    /// # Errors
    /// Errors of the store or of the encoder.
    pub async fn finish(mut self) -> Result<u64, WriteError> {
        self.encoder.finish()?;
        let rest = std::mem::take(self.encoder.inner_mut());
        self.send(rest).await?;
        self.upload.finish().await?;
        Ok(self.bytes)
    }

    /// Gives up the object, so that nothing is stored.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn abort(self) -> Result<(), WriteError> {
        Ok(self.upload.abort().await?)
    }

    async fn send(&mut self, bytes: Vec<u8>) -> Result<(), WriteError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bytes += bytes.len() as u64;
        self.upload.wait_for_capacity(UPLOADS_IN_FLIGHT).await?;
        self.upload.put(bytes.into());
        Ok(())
    }
}

fn properties(rows_per_group: u64) -> Result<WriterProperties, ParquetError> {
    let pixels = ColumnPath::from(vec!["cutout".into(), "list".into(), "element".into()]);
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(rows_per_group as usize))
        .set_column_encoding(pixels.clone(), Encoding::BYTE_STREAM_SPLIT)
        .set_column_dictionary_enabled(pixels.clone(), false)
        .set_column_statistics_enabled(pixels, EnabledStatistics::None)
        .build())
}
