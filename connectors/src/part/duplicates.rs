//! Removes duplicates: if an `object_id` comes twice in a part, the first row stays.
use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array},
    compute::{
        concat_batches, filter_record_batch, lexsort_to_indices, partition, take_record_batch,
    },
    datatypes::{UInt32Type, UInt64Type},
    error::ArrowError,
};

use super::{
    columns::{Column, OBJECT, PLACE, ROW, ROW_GROUP, ascending, batch, column, named},
    reject_reason::RejectReason,
};

/// Moves all rows of an id but the first from the two batches to the rejected rows.
pub(super) fn settle_duplicates(
    photoz: &mut Option<RecordBatch>,
    specz: &mut Option<RecordBatch>,
    rejected: &mut Vec<RecordBatch>,
    objects: &HashMap<u32, String>,
) -> Result<(), ArrowError> {
    let mut keys = Vec::new();
    for (folder, rows) in [(0_u32, &*photoz), (1, &*specz)] {
        if let Some(rows) = rows {
            let mut columns: Vec<Column> = ["object_id", OBJECT, ROW_GROUP, ROW]
                .map(|name| named(name, column(rows, name), false))
                .into();
            let folders = UInt32Array::from_value(folder, rows.num_rows());
            columns.push(named("folder", Arc::new(folders), false));
            let indices = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
            columns.push(named("index", Arc::new(indices), false));
            keys.push(batch(columns)?);
        }
    }
    let Some(first) = keys.first() else {
        return Ok(());
    };
    let keys = concat_batches(&first.schema(), &keys)?;
    let order = lexsort_to_indices(
        &ascending(&keys, &["object_id", OBJECT, ROW_GROUP, ROW]),
        None,
    )?;
    let keys = take_record_batch(&keys, &order)?;
    let runs = partition(&[column(&keys, "object_id")])?.ranges();
    let losers: Vec<(u32, String)> = runs
        .into_iter()
        .flat_map(|run| {
            let reason = reason_duplicate(&keys, run.start, run.len(), objects);
            run.skip(1).map(move |row| (row as u32, reason.clone()))
        })
        .collect();
    if losers.is_empty() {
        return Ok(());
    }
    let lost = take_record_batch(
        &keys,
        &losers.iter().map(|(row, _)| *row).collect::<UInt32Array>(),
    )?;
    let reasons: ArrayRef = Arc::new(StringArray::from_iter_values(
        losers.iter().map(|(_, reason)| reason),
    ));
    rejected.push(batch(vec![
        named("object_id", column(&lost, "object_id"), true),
        named("reason", reasons, false),
        named(ROW_GROUP, column(&lost, ROW_GROUP), false),
        named(ROW, column(&lost, ROW), false),
        named(OBJECT, column(&lost, OBJECT), false),
        // Nobody reads this column, because rejected rows have no kept columns. But all rejected rows need the same columns.
        named(PLACE, column(&lost, "index"), false),
    ])?);
    for (folder, rows) in [(0, photoz), (1, specz)] {
        *rows = rows
            .take()
            .map(|rows| without(&rows, &lost, folder))
            .transpose()?;
    }
    Ok(())
}

fn reason_duplicate(
    keys: &RecordBatch,
    first: usize,
    rows: usize,
    objects: &HashMap<u32, String>,
) -> String {
    if rows < 2 {
        return String::new();
    }
    let index = column(keys, OBJECT)
        .as_primitive::<UInt32Type>()
        .value(first);
    let row_group = column(keys, ROW_GROUP)
        .as_primitive::<UInt32Type>()
        .value(first);
    let row = column(keys, ROW).as_primitive::<UInt64Type>().value(first);
    let object = objects.get(&index).map_or("?", String::as_str).to_owned();
    let reason = RejectReason::Duplicate {
        object,
        row_group,
        row,
    };
    reason.to_string()
}

/// Removes the lost rows from the rows of a folder.
fn without(rows: &RecordBatch, lost: &RecordBatch, folder: u32) -> Result<RecordBatch, ArrowError> {
    let (folders, indices) = (column(lost, "folder"), column(lost, "index"));
    let mut stays = vec![true; rows.num_rows()];
    for (lost_folder, index) in folders
        .as_primitive::<UInt32Type>()
        .values()
        .iter()
        .zip(indices.as_primitive::<UInt32Type>().values())
    {
        if *lost_folder == folder {
            stays[*index as usize] = false;
        }
    }
    filter_record_batch(rows, &stays.into())
}
