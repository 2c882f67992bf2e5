//! Columns that a replay makes itself, page by page: `object_id`, and a `z_spec` without values.
//!
//! | column | type in the file | values |
//! |---|---|---|
//! | `object_id` | INT64 | numbers that count up |
//! | `object_id` | BYTE_ARRAY | the same numbers, as text of 20 digits |
//! | `z_spec` | FLOAT, DOUBLE | null; NaN if the column has no nulls |
//!
//! The size of a page depends on its number of rows alone, so the size of a file is known before its pages are made.
use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, Encoding, Type as PhysicalType},
    data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type},
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};

/// The encodings of pages: of values, and of whether a value is null.
pub const ENCODINGS: [Encoding; 2] = [Encoding::PLAIN, Encoding::RLE];

/// The values of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    IdNumbers,
    IdTexts,
    NoFloats,
    NoDoubles,
}

/// A column that takes the place of a file's own.
#[derive(Clone, Debug)]
pub struct NewColumn {
    /// The place of the column among the leaves of the file's schema.
    pub leaf: usize,
    field: TypePtr,
    is_nullable: bool,
    values: Values,
}

impl NewColumn {
    /// New ids for the column of this name. `None` if the file has no such column, or ids of a type that no catalog has.
    pub fn ids(footer: &ParquetMetaData, name: &str) -> Option<Self> {
        Self::find(footer, name, |physical| match physical {
            PhysicalType::INT64 => Some(Values::IdNumbers),
            PhysicalType::BYTE_ARRAY => Some(Values::IdTexts),
            _ => None,
        })
    }

    /// Nulls for the column of this name. `None` if the file has no such column, or one that holds no floats.
    pub fn without_values(footer: &ParquetMetaData, name: &str) -> Option<Self> {
        Self::find(footer, name, |physical| match physical {
            PhysicalType::FLOAT => Some(Values::NoFloats),
            PhysicalType::DOUBLE => Some(Values::NoDoubles),
            _ => None,
        })
    }

    fn find(
        footer: &ParquetMetaData,
        name: &str,
        values: impl Fn(PhysicalType) -> Option<Values>,
    ) -> Option<Self> {
        let columns = footer.file_metadata().schema_descr().columns();
        let is_named = |path: &[String]| path.len() == 1 && path[0] == name;
        let leaf = columns
            .iter()
            .position(|column| is_named(column.path().parts()))?;
        let column = &columns[leaf];
        Some(Self {
            leaf,
            field: column.self_type_ptr(),
            is_nullable: column.max_def_level() > 0,
            values: (column.max_rep_level() == 0).then(|| values(column.physical_type()))??,
        })
    }

    /// A page of this number of rows, with its header. The first row has the id `first_id`.
    ///
    /// # Errors
    /// Those of Parquet's writer.
    pub fn page(&self, first_id: u64, rows: usize) -> Result<Bytes, ParquetError> {
        let fields = vec![self.field.clone()];
        let schema = Type::group_type_builder("replay").with_fields(fields);
        let mut file = Vec::new();
        let properties = Arc::new(properties(rows));
        let mut writer =
            SerializedFileWriter::new(&mut file, Arc::new(schema.build()?), properties)?;
        let mut group = writer.next_row_group()?;
        let column = group.next_column()?;
        let mut column =
            column.ok_or_else(|| ParquetError::General("a schema of one column".to_owned()))?;
        self.write(&mut column, first_id, rows)?;
        column.close()?;
        group.close()?;
        let written = writer.close()?;
        let (start, bytes) = written.row_group(0).column(0).byte_range();
        Ok(Bytes::from(file).slice(start as usize..(start + bytes) as usize))
    }

    fn write(
        &self,
        column: &mut SerializedColumnWriter<'_>,
        first_id: u64,
        rows: usize,
    ) -> Result<(), ParquetError> {
        let ids = first_id..first_id + rows as u64;
        match self.values {
            Values::IdNumbers => {
                let ids: Vec<i64> = ids.map(|id| id as i64).collect();
                self.write_values::<Int64Type>(column, &ids, rows)
            }
            Values::IdTexts => {
                let texts = ids.map(|id| ByteArray::from(format!("{id:020}").into_bytes()));
                self.write_values::<ByteArrayType>(column, &texts.collect::<Vec<_>>(), rows)
            }
            Values::NoFloats => {
                let values = vec![f32::NAN; if self.is_nullable { 0 } else { rows }];
                self.write_values::<FloatType>(column, &values, rows)
            }
            Values::NoDoubles => {
                let values = vec![f64::NAN; if self.is_nullable { 0 } else { rows }];
                self.write_values::<DoubleType>(column, &values, rows)
            }
        }
    }

    /// Writes a value for each row, or nulls alone if there are no values.
    fn write_values<T: DataType>(
        &self,
        column: &mut SerializedColumnWriter<'_>,
        values: &[T::T],
        rows: usize,
    ) -> Result<(), ParquetError> {
        let level = i16::from(!values.is_empty());
        let levels = self.is_nullable.then(|| vec![level; rows]);
        column
            .typed::<T>()
            .write_batch(values, levels.as_deref(), None)?;
        Ok(())
    }
}

/// Settings that write all rows as one page, whose size the values do not change.
fn properties(rows: usize) -> WriterProperties {
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::PLAIN)
        .set_compression(Compression::UNCOMPRESSED)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(rows + 1)
        .set_data_page_size_limit(1 << 30)
        .build()
}
