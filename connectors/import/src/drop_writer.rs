//! Writes batches as the Parquet objects of a new drop.

use arrow::array::RecordBatch;
use object_store::{ObjectStoreExt, path::Path as ObjectPath};

use crate::error::ImportError;
use crate::summary::Imported;
use connectors::Location;
use connectors::drop_writer::{PartWriter, ROWS_PER_PART, WriteError, mark_complete, part_path};

/// A drop that is being written.
pub(crate) struct DropWriter<'a> {
    place: &'a Location,
    part: Option<PartWriter>,
    /// The rows of the current part.
    rows: u64,
    /// The summary of all that is written so far.
    pub(crate) done: Imported,
}

impl<'a> DropWriter<'a> {
    pub(crate) fn new(place: &'a Location) -> Self {
        Self {
            place,
            part: None,
            rows: 0,
            done: Imported::default(),
        }
    }

    pub(crate) async fn write(&mut self, batch: RecordBatch) -> Result<(), WriteError> {
        let rows = batch.num_rows() as u64;
        let part = match self.part.take() {
            Some(part) => part,
            None => {
                let (path, schema) = (self.path(self.done.parts), batch.schema());
                PartWriter::create(&self.place.store, &path, schema, ROWS_PER_PART).await?
            }
        };
        self.part = Some(part.write(batch).await?);
        self.rows += rows;
        self.done.rows += rows;
        if self.rows >= ROWS_PER_PART {
            self.finish_part().await?;
        }
        Ok(())
    }

    /// Finishes the current part, if there is one.
    pub(crate) async fn finish_part(&mut self) -> Result<(), WriteError> {
        if let Some(part) = self.part.take() {
            self.done.bytes += part.finish().await?;
            self.done.parts += 1;
            self.rows = 0;
        }
        Ok(())
    }

    fn path(&self, part: u64) -> ObjectPath {
        part_path(&self.place.prefix, part as usize)
    }

    /// Marks the drop as complete and returns its summary.
    pub(crate) async fn complete(&self) -> Result<Imported, ImportError> {
        let marked = mark_complete(self.place.store.as_ref(), &self.place.prefix).await;
        marked.map_err(|error| self.failed(error))?;
        Ok(self.done.clone())
    }

    /// The error for a write that failed.
    pub(crate) fn failed(&self, source: WriteError) -> ImportError {
        let place = self.place.url.clone();
        ImportError::Write { place, source }
    }

    /// Deletes all that is written so far. An object that cannot be deleted stays in a drop without `_SUCCESS`, and the next import to
    /// the same place reports it.
    pub(crate) async fn remove(&mut self) {
        if let Some(part) = self.part.take() {
            let _ = part.abort().await;
        }
        for part in 0..self.done.parts {
            let _ = self.place.store.delete(&self.path(part)).await;
        }
    }
}
