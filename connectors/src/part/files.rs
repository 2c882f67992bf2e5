//! Encodes the files of a part as Parquet, and names them by their contents.
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray},
    compute::{lexsort_to_indices, take_record_batch},
    datatypes::{FieldRef, Float64Type, Metadata, Schema, SchemaRef, UInt32Type},
    error::ArrowError,
};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    columns::{OBJECT, PLACE, ROW, ROW_GROUP, ascending, batch, column, named, with_columns},
    door::Folder,
    encoded::{EncodedFile, PartLabel, ROW_GROUP_ROWS, WRITE_ROWS},
    flags::FLAGS,
    kept::Kept,
    photoz,
};
use crate::{
    ledger::entry::{FileRecord, checksum},
    paths, sky,
};

/// Upper bound on the size of a row group, because readers hold a whole row group. Only long kept texts come near it.
const ROW_GROUP_BYTES: usize = 512 << 20;

/// Makes the file of `photoz/`: its own columns, then the kept columns.
pub(super) fn photoz_file(
    rows: &RecordBatch,
    kept: &Kept,
    label: &PartLabel,
) -> Result<EncodedFile, ArrowError> {
    let (ra, dec) = (column(rows, "ra"), column(rows, "dec"));
    let positions = ra
        .as_primitive::<Float64Type>()
        .iter()
        .zip(dec.as_primitive::<Float64Type>());
    let cells: Int64Array = positions
        .map(|(ra, dec)| Some(sky::healpix_29(ra?, dec?)))
        .collect();
    let text = |value: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
            value,
            rows.num_rows(),
        )))
    };
    let short_id: String = label.model_id.chars().take(12).collect();
    let rows = with_columns(
        rows,
        vec![
            named("_healpix_29", Arc::new(cells), true),
            named("model_id", text(&short_id), false),
            named("drop", text(&label.drop), false),
        ],
    )?;
    let order = lexsort_to_indices(&ascending(&rows, &["_healpix_29", "object_id"]), None)?;
    let rows = take_record_batch(&rows, &order)?;
    let columns = photoz::columns(label.reference_band.as_deref());
    let described = columns.into_iter().map(|of| {
        let facts = [
            ("unit", of.unit),
            ("ucd", of.ucd),
            ("description", of.description.as_str()),
        ];
        let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
        let field = rows.schema_ref().field_with_name(of.in_pieces)?.clone();
        let field = field.with_name(of.name);
        let field = field.with_metadata(facts.collect::<Metadata>());
        Ok((Arc::new(field), column(&rows, of.in_pieces)))
    });
    let own = batch(described.collect::<Result<_, ArrowError>>()?)?;
    let mut writer = FileWriter::new(Folder::Photoz, own.schema_ref(), &kept.fields, label)?;
    let places = column(&rows, PLACE);
    writer.write(&own, kept, places.as_primitive::<UInt32Type>().values())?;
    writer.finish(Folder::Photoz, own.num_rows(), label)
}

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

/// Encodes a file without kept columns.
fn encode(
    folder: Folder,
    rows: &RecordBatch,
    label: &PartLabel,
) -> Result<EncodedFile, ArrowError> {
    let mut writer = FileWriter::new(folder, rows.schema_ref(), &[], label)?;
    writer.writer.write(rows)?;
    writer.finish(folder, rows.num_rows(), label)
}

/// Writes a file of a part as Parquet.
struct FileWriter {
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
}

impl FileWriter {
    fn new(
        folder: Folder,
        own: &Schema,
        kept: &[FieldRef],
        label: &PartLabel,
    ) -> Result<Self, ArrowError> {
        let flags: serde_json::Map<_, _> = FLAGS
            .iter()
            .map(|(name, bit)| ((*name).to_owned(), (*bit).into()))
            .collect();
        let notes = vec![
            KeyValue::new(
                "hubbleflow.z_flags".to_owned(),
                serde_json::Value::Object(flags).to_string(),
            ),
            KeyValue::new("hubbleflow.model_id".to_owned(), label.model_id.clone()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(format!("hubbleflow {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata((folder == Folder::Photoz).then_some(notes))
            .build();
        let fields = own.fields().iter().chain(kept).cloned();
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?;
        Ok(Self { schema, writer })
    }

    /// Writes rows with their kept columns, which are found at `places`. As many rows are written at a time as fit into memory
    /// and into one array.
    fn write(&mut self, own: &RecordBatch, kept: &Kept, places: &[u32]) -> Result<(), ArrowError> {
        if kept.fields.is_empty() {
            return Ok(self.writer.write(own)?);
        }
        let (mut start, mut most) = (0, kept.window_rows());
        while start < places.len() {
            let rows = most.min(places.len() - start);
            match kept.rows(&places[start..start + rows]) {
                Ok(columns) => {
                    let own = own.slice(start, rows).columns().to_vec();
                    let columns = own.into_iter().chain(columns).collect();
                    let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
                    for first in (0..rows).step_by(WRITE_ROWS) {
                        let some = batch.slice(first, WRITE_ROWS.min(rows - first));
                        self.writer.write(&some)?;
                    }
                    start += rows;
                }
                // The rows have more than 2 GiB of text.
                Err(ArrowError::OffsetOverflowError(_)) if rows > 1 => most = rows.div_ceil(2),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn finish(
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
