//! Reads kept columns (`--keep`), so that they are the same in the output as in the file.
//!
//! | in the file | here |
//! |---|---|
//! | INT96 (Spark's timestamps), without an Arrow schema that gives their unit | Timestamp(µs), because ns end in 2262 |
//! | Dictionary with keys of any size | Dictionary with Int32 keys, which have room for the values of many files |
//! | Date64 stored as DATE of Parquet | Date32, which is the type in the file |
//! | INTERVAL without an Arrow schema that gives its unit | refused, because Arrow's reader drops the months |
//! | types that Arrow cannot write to another file | refused |
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, new_null_array},
    compute::{interleave, take},
    datatypes::{DataType, Field, FieldRef, Schema, TimeUnit},
    error::ArrowError,
};
use parquet::{
    arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{ConvertedType, Type},
    file::metadata::FileMetaData,
    schema::types::SchemaDescriptor,
};

use super::SchemaError;

/// The key of the number that Parquet gives a field. The number has no meaning in other files.
const FIELD_ID: &str = "PARQUET:field_id";

/// The schema with which to read a file, or `None` if Arrow's reader finds the right schema itself.
pub(crate) fn reading_schema(taken: &Schema, file: &FileMetaData) -> Option<Schema> {
    let mut leaves = Leaves {
        parquet: file.schema_descr(),
        has_arrow_schema: has_arrow_schema(file),
        next: 0,
    };
    let fields: Vec<FieldRef> = taken.fields().iter().map(|f| leaves.field(f)).collect();
    let schema = Schema::new_with_metadata(fields, taken.metadata().clone());
    (schema.fields() != taken.fields()).then_some(schema)
}

fn has_arrow_schema(file: &FileMetaData) -> bool {
    let notes = file.key_value_metadata().into_iter().flatten();
    notes
        .into_iter()
        .any(|note| note.key == ARROW_SCHEMA_META_KEY)
}

/// The leaf columns of a file, in the order that Arrow and Parquet share.
struct Leaves<'a> {
    parquet: &'a SchemaDescriptor,
    has_arrow_schema: bool,
    next: usize,
}

impl Leaves<'_> {
    fn field(&mut self, field: &FieldRef) -> FieldRef {
        let data_type = self.data_type(field.data_type());
        match data_type == *field.data_type() {
            true => field.clone(),
            false => Arc::new(field.as_ref().clone().with_data_type(data_type)),
        }
    }

    fn data_type(&mut self, data_type: &DataType) -> DataType {
        match data_type {
            DataType::List(inner) => DataType::List(self.field(inner)),
            DataType::LargeList(inner) => DataType::LargeList(self.field(inner)),
            DataType::ListView(inner) => DataType::ListView(self.field(inner)),
            DataType::LargeListView(inner) => DataType::LargeListView(self.field(inner)),
            DataType::FixedSizeList(inner, n) => DataType::FixedSizeList(self.field(inner), *n),
            DataType::Map(entries, ordered) => DataType::Map(self.field(entries), *ordered),
            DataType::Struct(inner) => {
                DataType::Struct(inner.iter().map(|field| self.field(field)).collect())
            }
            leaf => {
                self.next += 1;
                self.leaf(self.next - 1, leaf)
            }
        }
    }

    fn leaf(&self, leaf: usize, data_type: &DataType) -> DataType {
        let physical = match leaf < self.parquet.num_columns() {
            true => self.parquet.column(leaf).physical_type(),
            false => return data_type.clone(),
        };
        match data_type {
            DataType::Timestamp(TimeUnit::Nanosecond, zone)
                if physical == Type::INT96 && !self.has_arrow_schema =>
            {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            DataType::Date64 if physical == Type::INT32 => DataType::Date32,
            DataType::Dictionary(_, values) => {
                DataType::Dictionary(Box::new(DataType::Int32), values.clone())
            }
            other => other.clone(),
        }
    }
}

/// Refuses a kept column of intervals of which Arrow's reader would drop the months.
///
/// # Errors
/// [`SchemaError::Type`], naming the column.
pub(crate) fn check_intervals(keep: &[FieldRef], file: &FileMetaData) -> Result<(), SchemaError> {
    let schema = file.schema_descr();
    let is_interval = |leaf: &usize| {
        schema.column(*leaf).converted_type() == ConvertedType::INTERVAL && !has_arrow_schema(file)
    };
    for leaf in (0..schema.num_columns()).filter(is_interval) {
        let column = schema.get_column_root(leaf).name();
        if keep.iter().any(|field| field.name() == column) {
            return Err(SchemaError::Type {
                column: column.to_owned(),
                found: "an INTERVAL of Parquet".to_owned(),
                expected: "of another type to be kept, since its months would be lost: write it as a duration or as numbers, or leave --keep out".to_owned(),
            });
        }
    }
    Ok(())
}

/// The field of a kept column in the output.
///
/// # Errors
/// [`SchemaError::Type`] if the output cannot have the column.
pub(super) fn field(field: &FieldRef) -> Result<FieldRef, SchemaError> {
    let plain = without_field_id(field);
    match carries(&plain) {
        Ok(()) => Ok(plain),
        Err(reason) => Err(SchemaError::Type {
            column: field.name().clone(),
            found: field.data_type().to_string(),
            expected: format!(
                "of a type that can be written again to be kept ({reason}): cast it when the file is written, or leave --keep out"
            ),
        }),
    }
}

fn without_field_id(field: &FieldRef) -> FieldRef {
    let inside = |inner: &FieldRef| without_field_id(inner);
    let data_type = match field.data_type() {
        DataType::List(inner) => DataType::List(inside(inner)),
        DataType::LargeList(inner) => DataType::LargeList(inside(inner)),
        DataType::FixedSizeList(inner, n) => DataType::FixedSizeList(inside(inner), *n),
        DataType::Map(entries, ordered) => DataType::Map(inside(entries), *ordered),
        DataType::Struct(inner) => DataType::Struct(inner.iter().map(inside).collect()),
        other => other.clone(),
    };
    let mut metadata = field.metadata().clone();
    metadata.remove(FIELD_ID);
    let plain = field.as_ref().clone().with_data_type(data_type);
    Arc::new(plain.with_metadata(metadata))
}

/// The types of kept columns, by the names of the columns. They are Arrow's names of `comparable` types. A column that is
/// missing in all files has the type `Null`; files that only withdraw objects may lack the column.
pub type KeptTypes = BTreeMap<String, String>;

/// The type of a kept column that is missing in all files of the drop.
pub(crate) const UNTYPED: &str = "Null";

/// A type without the details that do not matter to readers: whether inner fields may be null, and the names of list items.
/// Types that differ only in these details have the same comparable type.
pub(crate) fn comparable(data_type: &DataType) -> DataType {
    let inner = |name: &str, field: &FieldRef, nullable| -> FieldRef {
        Arc::new(Field::new(name, comparable(field.data_type()), nullable))
    };
    let item = |field| inner("item", field, true);
    match data_type {
        DataType::List(field) => DataType::List(item(field)),
        DataType::LargeList(field) => DataType::LargeList(item(field)),
        DataType::ListView(field) => DataType::ListView(item(field)),
        DataType::LargeListView(field) => DataType::LargeListView(item(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(item(field), *length),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| inner(field.name(), field, true));
            DataType::Struct(fields.collect())
        }
        DataType::Map(entries, ordered) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let pair = vec![
                    inner("key", &pair[0], false),
                    inner("value", &pair[1], true),
                ];
                let entries = Field::new("entries", DataType::Struct(pair.into()), false);
                DataType::Map(Arc::new(entries), *ordered)
            }
            _ => data_type.clone(),
        },
        other => other.clone(),
    }
}

/// Tries all steps that kept columns go through with a row of nulls. Only Arrow knows what it can do with a type.
fn carries(field: &FieldRef) -> Result<(), String> {
    if *field.data_type() == DataType::Null {
        return Ok(());
    }
    let field = Arc::new(field.as_ref().clone().with_nullable(true));
    match catch_unwind(AssertUnwindSafe(|| carried(&field))) {
        Ok(Ok(carried)) if carried == *field.data_type() => Ok(()),
        Ok(Ok(other)) => Err(format!("it would become {other}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_panic) => Err("Arrow has no way to do it".to_owned()),
    }
}

fn carried(field: &FieldRef) -> Result<DataType, ArrowError> {
    let rows = new_null_array(field.data_type(), 2);
    let rows = take(&rows, &UInt32Array::from(vec![1]), None)?;
    let rows: ArrayRef = interleave(&[rows.as_ref(), rows.as_ref()], &[(1, 0)])?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![rows])?;
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    let file = bytes::Bytes::from(writer.into_inner()?);
    let read = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let read: &Field = read.schema().field(0);
    Ok(read.data_type().clone())
}

/// The fields of kept columns. If a column is missing in this file, its type comes from the drop.
pub(crate) fn with_known_types(
    fields: &[FieldRef],
    known: &KeptTypes,
    columns: &mut [ArrayRef],
) -> Vec<FieldRef> {
    let typed = fields.iter().zip(columns).map(|(field, column)| {
        let known = known.get(field.name()).and_then(|known| known.parse().ok());
        match known.filter(|_| *field.data_type() == DataType::Null) {
            None | Some(DataType::Null) => field.clone(),
            Some(known) => {
                *column = new_null_array(&known, column.len());
                Arc::new(Field::new(field.name(), known, true))
            }
        }
    });
    typed.collect()
}
