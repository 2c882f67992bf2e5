//! Encodes the files of a part as Parquet, and names them by their contents.
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray},
    compute::{lexsort_to_indices, take_record_batch},
    datatypes::{FieldRef, Schema, SchemaRef, UInt32Type},
    error::ArrowError,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    columns::{OBJECT, ROW, ROW_GROUP, Source, ascending, batch, column, named},
    door::Folder,
    encoded::{EncodedFile, PartLabel, ROW_GROUP_ROWS, WRITE_ROWS},
    flags::FLAGS,
    long_columns::LongColumns,
};
use crate::{
    ledger::entry::{FileRecord, checksum},
    paths,
};

/// Upper bound on the size of a row group, because readers hold a whole row group. Only long kept texts come near it.
const ROW_GROUP_BYTES: usize = 512 << 20;

/// Makes the file of `specz/`.
pub(super) fn specz_file(rows: &RecordBatch, label: &PartLabel) -> Result<EncodedFile, ArrowError> {
    let rows = take_record_batch(
        rows,
        &lexsort_to_indices(&ascending(rows, &["object_id"]), None)?,
    )?;
    let drop = StringArray::from_iter_values(std::iter::repeat_n(&label.drop, rows.num_rows()));
    let rows = batch(vec![
        named("object_id", column(&rows, "object_id"), false),
        named("z_spec", column(&rows, "z_spec"), false),
        named("drop", Arc::new(drop), false),
    ])?;
    encode(Folder::SpecZ, &rows, label)
}

/// Makes the file of `rejects/`.
pub(super) fn rejects_file(
    rows: &RecordBatch,
    objects: &HashMap<u32, String>,
    label: &PartLabel,
) -> Result<EncodedFile, ArrowError> {
    let order = lexsort_to_indices(&ascending(rows, &[OBJECT, ROW_GROUP, ROW]), None)?;
    let rows = take_record_batch(rows, &order)?;
    let object = column(&rows, OBJECT);
    let names = object
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .map(|index| objects.get(index).map(String::as_str));
    let names: ArrayRef = Arc::new(names.collect::<StringArray>());
    let rows = batch(vec![
        named("object_id", column(&rows, "object_id"), true),
        named("reason", column(&rows, "reason"), false),
        named("object", names, false),
        named("row_group", column(&rows, ROW_GROUP), false),
        named("row", column(&rows, ROW), false),
    ])?;
    encode(Folder::Rejects, &rows, label)
}

/// Encodes a file without long columns.
fn encode(
    folder: Folder,
    rows: &RecordBatch,
    label: &PartLabel,
) -> Result<EncodedFile, ArrowError> {
    let fields = rows.schema_ref().fields().iter().cloned().collect();
    let mut writer = FileWriter::new(folder, fields, label)?;
    writer.writer.write(rows)?;
    writer.finish(folder, rows.num_rows(), label)
}

/// Writes a file of a part as Parquet.
pub(super) struct FileWriter {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

impl FileWriter {
    pub fn new(
        folder: Folder,
        fields: Vec<FieldRef>,
        label: &PartLabel,
    ) -> Result<Self, ArrowError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(format!("hubbleflow {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(notes(folder, label))
            .build();
        let schema = Arc::new(Schema::new(fields));
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        Ok(Self { schema, writer })
    }

    /// Writes rows. Their long columns are found at `places`. As many rows are written at a time as fit into memory and into
    /// one array.
    pub fn write(
        &mut self,
        columns: &[Source],
        long: &LongColumns,
        places: &[u32],
    ) -> Result<(), ArrowError> {
        let of_long = columns.iter().filter_map(|column| match column {
            Source::Own(_) => None,
            Source::Long(place) => Some(*place),
        });
        let of_long: Vec<usize> = of_long.collect();
        let (mut start, mut most) = (0, long.window_rows());
        if of_long.is_empty() {
            most = places.len();
        }
        while start < places.len() {
            let rows = most.min(places.len() - start);
            match long.rows(&places[start..start + rows], &of_long) {
                Ok(gathered) => {
                    let mut gathered = gathered.into_iter();
                    let columns = columns.iter().filter_map(|column| match column {
                        Source::Own(values) => Some(values.slice(start, rows)),
                        Source::Long(_) => gathered.next(),
                    });
                    let batch = RecordBatch::try_new(self.schema.clone(), columns.collect())?;
                    self.write_batch(&batch, of_long.is_empty())?;
                    start += rows;
                }
                // The rows have more than 2 GiB of text.
                Err(ArrowError::OffsetOverflowError(_)) if rows > 1 => most = rows.div_ceil(2),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes a batch, a few rows at a time unless the rows are short.
    fn write_batch(&mut self, batch: &RecordBatch, are_short: bool) -> Result<(), ArrowError> {
        if are_short {
            return Ok(self.writer.write(batch)?);
        }
        for first in (0..batch.num_rows()).step_by(WRITE_ROWS) {
            let some = batch.slice(first, WRITE_ROWS.min(batch.num_rows() - first));
            self.writer.write(&some)?;
        }
        Ok(())
    }

    pub fn finish(
        self,
        folder: Folder,
        rows: usize,
        label: &PartLabel,
    ) -> Result<EncodedFile, ArrowError> {
        let bytes = self.writer.into_inner()?;
        let sha256 = checksum(&bytes);
        let path = paths::part(folder.name(), &label.drop, label.part, &sha256);
        let record = FileRecord {
            path,
            rows: rows as u64,
            bytes: bytes.len() as u64,
            sha256,
        };
        Ok(EncodedFile { record, bytes })
    }
}

/// The metadata of a file: the names of the flags, and the model.
fn notes(folder: Folder, label: &PartLabel) -> Option<Vec<KeyValue>> {
    let model = KeyValue::new("hubbleflow.model_id".to_owned(), label.model_id.clone());
    match folder {
        Folder::Photoz => {
            let flags: serde_json::Map<_, _> = FLAGS
                .iter()
                .map(|(name, bit)| ((*name).to_owned(), (*bit).into()))
                .collect();
            let flags = serde_json::Value::Object(flags).to_string();
            let flags = KeyValue::new("hubbleflow.z_flags".to_owned(), flags);
            Some(vec![flags, model])
        }
        Folder::Embeddings => Some(vec![model]),
        Folder::SpecZ | Folder::Rejects => None,
    }
}
