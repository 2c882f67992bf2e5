//! Helpers for the columns of batches that parts are made of.
use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::{SortColumn, SortOptions},
    datatypes::{Field, FieldRef, Schema},
    error::ArrowError,
};

pub(super) use crate::galaxy::reserved::{
    OBJECT, OF_EMBEDDINGS, PLACE, REFERENCE_MAG, ROW, ROW_GROUP, Z_HIGH68, Z_HIGH95, Z_LOW68,
    Z_LOW95, Z_QUANTILES,
};

/// A column of a batch.
pub(super) type Column = (FieldRef, ArrayRef);

/// Where the values of a column of a file come from.
pub(super) enum Source {
    /// The values.
    Own(ArrayRef),
    /// The place among the long columns.
    Long(usize),
}

/// Makes a column with this name. `nullable` says whether it may hold nulls.
pub(super) fn named(name: &str, values: ArrayRef, nullable: bool) -> Column {
    let field = Field::new(name, values.data_type().clone(), nullable);
    (Arc::new(field), values)
}

pub(super) fn batch(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

pub(super) fn with_columns(
    rows: &RecordBatch,
    more: Vec<Column>,
) -> Result<RecordBatch, ArrowError> {
    let mine = rows.schema_ref().fields().iter().cloned();
    let mine = mine.zip(rows.columns().iter().cloned());
    batch(mine.chain(more).collect())
}

pub(super) fn column(rows: &RecordBatch, name: &str) -> ArrayRef {
    rows.column_by_name(name)
        .unwrap_or_else(|| panic!("pieces carry the column {name}"))
        .clone()
}

pub(super) const ASCENDING: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

pub(super) fn ascending(rows: &RecordBatch, names: &[&str]) -> Vec<SortColumn> {
    names
        .iter()
        .map(|name| SortColumn {
            values: column(rows, name),
            options: Some(ASCENDING),
        })
        .collect()
}
