//! Converts columns from any accepted type to the type in [`Galaxies`](super::Galaxies).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::{IdKind, SchemaError};

/// The error for a column of a type that is not accepted.
pub(super) fn refusal(column: &str, array: &dyn Array, expected: &str) -> SchemaError {
    let found = array.data_type().to_string();
    SchemaError::Type {
        column: column.to_owned(),
        found,
        expected: expected.to_owned(),
    }
}

/// The kind of object ids with this type.
pub(super) fn id_kind(column: &str, data_type: &DataType) -> Result<IdKind, SchemaError> {
    let expected = match data_type {
        DataType::Int64 => return Ok(IdKind::Int64),
        DataType::UInt64 => return Ok(IdKind::UInt64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return Ok(IdKind::String),
        DataType::Dictionary(_, values) => return id_kind(column, values),
        data_type if data_type.is_floating() => {
            "int64, uint64 or string, and never a float: a float loses digits above 2^53, \
             and two objects become one. Write the ids anew from where they are whole"
        }
        _ => "int64, uint64 or string: cast it when the file is written",
    };
    let (column, found) = (column.to_owned(), data_type.to_string());
    Err(SchemaError::Type {
        column,
        found,
        expected: expected.to_owned(),
    })
}

/// Converts object ids to the type of their kind.
pub(super) fn object_id(
    column: &str,
    array: &ArrayRef,
    kind: IdKind,
) -> Result<ArrayRef, SchemaError> {
    if *array.data_type() == kind.arrow_type() {
        return Ok(Arc::clone(array));
    }
    cast(array, &kind.arrow_type()).map_err(|source| SchemaError::Convert {
        column: column.to_owned(),
        source,
    })
}

/// Converts numbers to float64. A column that holds only nulls may have the type null.
pub(super) fn float64(column: &str, array: &ArrayRef) -> Result<Float64Array, SchemaError> {
    match array.data_type() {
        DataType::Float64 => Ok(array.as_primitive().clone()),
        DataType::Float32 => Ok(array.as_primitive::<Float32Type>().unary(f64::from)),
        DataType::Null => Ok(Float64Array::new_null(array.len())),
        _ => Err(refusal(
            column,
            array,
            "float64: cast it when the file is written",
        )),
    }
}

/// Converts numbers to float32. A column that holds only nulls may have the type null.
pub(super) fn float32(column: &str, array: &ArrayRef) -> Result<Float32Array, SchemaError> {
    match array.data_type() {
        DataType::Float32 => Ok(array.as_primitive().clone()),
        DataType::Float64 => Ok(array
            .as_primitive::<Float64Type>()
            .unary(|value| value as f32)),
        DataType::Null => Ok(Float32Array::new_null(array.len())),
        _ => Err(refusal(
            column,
            array,
            "float32 or float64: cast it when the file is written",
        )),
    }
}

/// Converts flags. A null counts as not set.
pub(super) fn flags(column: &str, array: &ArrayRef) -> Result<BooleanArray, SchemaError> {
    match array.data_type() {
        DataType::Boolean => {
            let (values, nulls) = array.as_boolean().clone().into_parts();
            let set = nulls.map_or_else(|| values.clone(), |nulls| &values & nulls.inner());
            Ok(BooleanArray::new(set, None))
        }
        DataType::Null => Ok(no_flags(array.len())),
        _ => Err(refusal(
            column,
            array,
            "bool: cast it when the file is written",
        )),
    }
}

/// Makes flags of which no flag is set.
pub(super) fn no_flags(rows: usize) -> BooleanArray {
    BooleanArray::new(arrow::buffer::BooleanBuffer::new_unset(rows), None)
}
