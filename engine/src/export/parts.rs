//! Writes the files of an export: rows with the same columns and metadata, until a file has some 100 MB.
use std::sync::Arc;

use arrow::{
    array::{RecordBatch, new_null_array},
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use connectors::{
    Error as StoreError, Location,
    drop_writer::{PartWriter, WriteError},
};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use crate::{Error, OutputError};

/// A file is closed at this size.
const FILE_BYTES: u64 = 100_000_000;
/// Row groups are closed at this number of rows, or of bytes.
const ROW_GROUP_ROWS: usize = 131_072;
const ROW_GROUP_BYTES: usize = 32 << 20;

/// The columns of all files. A file that lacks a column gets nulls.
pub(super) struct Columns(Vec<Field>);

impl Columns {
    /// Columns by name, in the order in which they first appear. A column of no type, of which all rows are withdrawn,
    /// takes that of the others.
    pub(super) fn of(schemas: &[SchemaRef]) -> Self {
        let mut columns: Vec<Field> = Vec::new();
        for field in schemas.iter().flat_map(|schema| schema.fields()) {
            match columns
                .iter_mut()
                .find(|known| known.name() == field.name())
            {
                None => columns.push(field.as_ref().clone()),
                Some(known) if *known.data_type() == DataType::Null => {
                    *known = field.as_ref().clone().with_nullable(true);
                }
                Some(known) => known.set_nullable(known.is_nullable() || field.is_nullable()),
            }
        }
        for column in &mut columns {
            let lacks = |schema: &SchemaRef| schema.field_with_name(column.name()).is_err();
            column.set_nullable(column.is_nullable() || schemas.iter().any(lacks));
        }
        Self(columns)
    }

    /// The columns of a file. If the file has another type for a column, its own type and metadata are kept.
    pub(super) fn schema(&self, file: &Schema) -> SchemaRef {
        let fields = self.0.iter().map(|column| {
            let own = file.field_with_name(column.name()).ok();
            let own = own.filter(|own| *own.data_type() != DataType::Null);
            match own {
                // The metadata says how to read the values: quantiles name their levels there.
                Some(own) => column
                    .clone()
                    .with_data_type(own.data_type().clone())
                    .with_metadata(own.metadata().clone()),
                None => column.clone(),
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// Rows in these columns; of those that are not there, nulls.
fn fitted(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| match rows.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows.num_rows())),
    };
    let columns = schema.fields().iter().map(column);
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// What the rows of a file have in common.
#[derive(Clone, PartialEq)]
pub(super) struct FileKind {
    pub(super) schema: SchemaRef,
    /// What it says of itself, as the meaning of the bits of `z_flags`.
    pub(super) notes: Vec<KeyValue>,
}

/// How files are encoded, with these notes on them.
pub(super) fn properties(notes: Option<Vec<KeyValue>>) -> WriterProperties {
    WriterProperties::builder()
        .set_key_value_metadata(notes)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

/// Writes rows to one file after another.
pub(super) struct FileWriter<'a> {
    place: &'a Location,
    open: Option<(FileKind, PartWriter)>,
    /// Files begun.
    pub(super) files: u64,
    /// Bytes of those that are finished.
    pub(super) bytes: u64,
}

impl<'a> FileWriter<'a> {
    pub(super) fn new(place: &'a Location) -> Self {
        Self {
            place,
            open: None,
            files: 0,
            bytes: 0,
        }
    }

    /// Adds rows, to the open file if it is of their kind and not full.
    pub(super) async fn write(&mut self, rows: RecordBatch, kind: &FileKind) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|(open, _)| open != kind) {
            self.finish().await?;
        }
        let part = match self.open.take() {
            Some((_, part)) => part,
            None => self.begin(kind).await?,
        };
        let rows = fitted(&rows, &kind.schema).map_err(WriteError::from);
        let part = match rows {
            Ok(rows) => part.append(rows).await,
            Err(error) => Err(error),
        };
        let part = part.map_err(|error| self.failed(error))?;
        let is_full = part.bytes() >= FILE_BYTES;
        self.open = Some((kind.clone(), part));
        if is_full {
            self.finish().await?;
        }
        Ok(())
    }

    /// Ends the open file.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        if let Some((_, part)) = self.open.take() {
            self.bytes += part.finish().await.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    async fn begin(&mut self, kind: &FileKind) -> Result<PartWriter, Error> {
        self.files += 1;
        let properties = properties(Some(kind.notes.clone()));
        let path = self.place.path(&self.name())?;
        let part =
            PartWriter::with_properties(&self.place.store, &path, kind.schema.clone(), properties);
        part.await.map_err(|error| self.failed(error))
    }

    /// The name of the file that was begun last.
    fn name(&self) -> String {
        format!("part-{:05}.parquet", self.files - 1)
    }

    fn failed(&self, error: WriteError) -> Error {
        let file = self.place.url_of(&self.name());
        match error {
            WriteError::Store(source) => StoreError::store(file, source).into(),
            source => OutputError::NotEncoded { file, source }.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, Int64Array, NullArray, StringArray};

    use super::*;

    fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// A drop that only withdraws has columns to keep without a type, and one that was run without `--keep` has none.
    #[test]
    fn files_of_drops_with_other_columns_can_be_read_as_one() {
        let id = || -> ArrayRef { Arc::new(Int64Array::from(vec![1, 2])) };
        let drops = [
            rows(vec![
                ("object_id", id()),
                ("name", Arc::new(NullArray::new(2))),
            ]),
            rows(vec![
                ("object_id", id()),
                ("name", Arc::new(StringArray::from(vec!["a", "b"]))),
            ]),
            rows(vec![
                ("object_id", id()),
                ("flux", Arc::new(Float32Array::from(vec![1.0, 2.0]))),
            ]),
        ];
        let columns = Columns::of(&drops.each_ref().map(RecordBatch::schema));
        let schemas = drops.each_ref().map(|drop| columns.schema(&drop.schema()));
        assert!(schemas.iter().all(|schema| *schema == schemas[0]));
        let names: Vec<&String> = schemas[0].fields().iter().map(|f| f.name()).collect();
        assert_eq!(names, ["object_id", "name", "flux"]);
        for drop in &drops {
            assert_eq!(fitted(drop, &schemas[0]).unwrap().num_rows(), 2);
        }
        // A column of two types is kept in both, in files of their own.
        let other = rows(vec![("object_id", id()), ("name", id())]);
        let columns = Columns::of(&[drops[1].schema(), other.schema()]);
        let own = columns.schema(&other.schema());
        assert_eq!(
            fitted(&other, &own).unwrap().column(1).data_type(),
            &DataType::Int64
        );
    }
}
