//! Decodes the rows of a split in chunks.
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
};
use tokio::runtime::Handle;

use super::{File, encoded_text_bytes, select};
use crate::{
    Error,
    file::{
        cut::Cut,
        fetch::{Failure, SplitBytes},
        footer,
        pages::Pages,
        views,
    },
    galaxy::Galaxies,
};

/// Upper bound on the size of an object id.
const ID_BYTES_MAX: usize = 4096;
/// The least amount of text that is copied out at a time. There may be more text than the footer says.
const TEXT_BYTES: u64 = 8 << 20;

/// The rows of a cut, in chunks.
pub struct Decoder {
    file: Arc<File>,
    batches: ParquetRecordBatchReader,
    pages: Arc<Mutex<Pages>>,
    /// The amount of text that is copied out at a time.
    text_bytes: u64,
    failure: Failure,
}

impl Decoder {
    /// Decodes the next rows. Rows with long text come in several batches. Must not be called after the last row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there are fewer rows than the footer says, [`Error::Memory`], or errors of the store.
    pub fn next(&mut self) -> Result<Vec<RecordBatch>, Error> {
        let file = &self.file;
        self.pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .step();
        let batch = match self.batches.next() {
            Some(batch) => batch.map_err(|error| file.failed(&self.failure, error))?,
            None => return Err(file.failed(&self.failure, "fewer rows than its footer says")),
        };
        Ok(views::runs(&batch, self.text_bytes))
    }
}

impl File {
    /// Makes a decoder for the rows of a cut. It decodes `chunk_rows` at a time, and holds little more than `step_bytes`.
    /// `ahead` are the bytes that were fetched already.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or errors of the store if pages are fetched one after another.
    pub fn decoder(
        self: &Arc<Self>,
        cut: &Cut,
        ahead: Vec<(u64, bytes::Bytes)>,
        step_bytes: u64,
        runtime: Handle,
    ) -> Result<Decoder, Error> {
        let failure = Failure::default();
        let pages = Arc::new(Mutex::new(self.expected_pages(cut, step_bytes)));
        let reader = self.reader.clone();
        let bytes = SplitBytes::new(reader, ahead, runtime, pages.clone(), failure.clone());
        let mask =
            ProjectionMask::leaves(self.metadata.parquet_schema(), self.leaves.iter().copied());
        let all: usize = self.row_group_rows(&cut.row_groups).iter().sum();
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
                .with_row_groups(cut.row_groups.clone().collect())
                .with_projection(mask)
                .with_batch_size(cut.chunk_rows);
        let part = cut.rows.len() < all;
        let builder = if part {
            builder.with_row_selection(select(cut, all).into())
        } else {
            builder
        };
        let batches = builder
            .build()
            .map_err(|error| self.failed(&failure, error))?;
        let text_bytes = self
            .share(cut, cut.chunk_rows, encoded_text_bytes)
            .max(TEXT_BYTES);
        Ok(Decoder {
            file: self.clone(),
            batches,
            pages,
            text_bytes,
            failure,
        })
    }

    fn expected_pages(&self, cut: &Cut, step_bytes: u64) -> Pages {
        let mut expected = Pages::new(cut.chunk_rows, step_bytes);
        for group in cut.row_groups.clone() {
            let row_group = self.metadata.metadata().row_group(group);
            for &leaf in &self.leaves {
                let pages = self.pages(group, leaf).unwrap_or_default();
                let rows = footer::page_rows(&pages, row_group.num_rows() as u64);
                expected.expect(leaf, row_group.column(leaf), rows);
            }
        }
        expected.ready()
    }

    /// The error that ended a decoder: an error of the store, or a damaged file.
    fn failed(&self, failure: &Failure, error: impl std::fmt::Display) -> Error {
        let stores = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        stores.unwrap_or_else(|| Error::Corrupt {
            object: self.name(),
            reason: error.to_string(),
        })
    }

    /// Converts decoded rows into galaxies.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Schema`].
    pub fn galaxies(&self, rows: &RecordBatch) -> Result<Galaxies, Error> {
        let corrupt = |reason: String| Error::Corrupt {
            object: self.name(),
            reason,
        };
        let Some(layout) = &self.layout else {
            return Err(corrupt(
                "it has rows, but its footer says that it has none".to_owned(),
            ));
        };
        let fields = layout.fields();
        let rows = views::written_out(rows, fields).map_err(|error| corrupt(error.to_string()))?;
        let galaxies = layout.decode(&rows).map_err(|source| Error::Schema {
            object: self.name(),
            source,
        })?;
        match galaxies.longest_id() {
            bytes if bytes > ID_BYTES_MAX => Err(corrupt(format!(
                "an object_id has {bytes} bytes, and may have {ID_BYTES_MAX}"
            ))),
            _ => Ok(galaxies),
        }
    }
}
