//! Handles text, whose length the footer does not give. Text is read as views, which share the bytes of their dictionary,
//! and is then copied out, as many rows at a time as memory allows.
use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
};

/// Replaces text and bytes in a schema with views.
pub fn with_views(schema: &Schema) -> SchemaRef {
    let fields: Fields = schema.fields().iter().map(with_view).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn with_view(field: &FieldRef) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(inner) => DataType::List(with_view(inner)),
        DataType::LargeList(inner) => DataType::LargeList(with_view(inner)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_view).collect()),
        _ => return field.clone(),
    };
    Arc::new(Field::clone(field).with_data_type(kind))
}

/// Cuts a batch into runs of rows, in order. The text of a run takes at most `bytes_max`, or the run is one row.
pub fn runs(batch: &RecordBatch, bytes_max: u64) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows < 2 || batch.columns().iter().map(text_bytes).sum::<u64>() <= bytes_max {
        return vec![batch.clone()];
    }
    let half = rows / 2;
    let halves = [batch.slice(0, half), batch.slice(half, rows - half)];
    halves
        .iter()
        .flat_map(|half| runs(half, bytes_max))
        .collect()
}

/// The bytes of the text of a column when it is copied out.
pub fn text_bytes(array: &ArrayRef) -> u64 {
    let lengths = |views: &[u128]| views.iter().map(|view| u64::from(*view as u32)).sum();
    match array.data_type() {
        DataType::Utf8View => lengths(array.as_string_view().views()),
        DataType::BinaryView => lengths(array.as_binary_view().views()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            text_bytes(&list.values().slice(first as usize, (last - first) as usize))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            text_bytes(&list.values().slice(first as usize, (last - first) as usize))
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Copies out the text of a batch, so that the columns have the types of these fields.
///
/// # Errors
/// If the text of a column does not fit into one array (2 GiB).
pub fn written_out(batch: &RecordBatch, fields: &[FieldRef]) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(fields);
    let columns = columns.map(|(array, field)| cast(array, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Schema::new(fields.to_vec()));
    RecordBatch::try_new_with_options(
        schema,
        columns,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};

    use super::*;

    #[test]
    fn rows_with_much_text_are_written_out_a_few_at_a_time() {
        let texts = StringViewArray::from_iter_values((0..100).map(|_| "x".repeat(1000)));
        let ids = Int32Array::from_iter_values(0..100);
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("text", Arc::new(texts))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let runs = runs(&batch, 30_000);
        assert!(runs.iter().all(|run| run.num_rows() == 25), "{runs:?}");
        let fields = [
            Arc::new(Field::new("id", DataType::Int32, false)),
            Arc::new(Field::new("text", DataType::Utf8, false)),
        ];
        let written = written_out(&runs[1], &fields).unwrap();
        assert_eq!(
            written
                .column(0)
                .as_primitive::<arrow::datatypes::Int32Type>()
                .value(0),
            25
        );
        assert_eq!(written.column(1).as_string::<i32>().value(24).len(), 1000);
    }
}
