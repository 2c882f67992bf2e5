//! Compares the columns and the metadata of a committed file with its entry in the ledger.
use std::collections::HashSet;

use arrow::array::AsArray;
use futures::TryStreamExt;

use crate::{
    Error,
    ledger::entry::Entry,
    output::committed::{CommittedRows, nulls_of},
    part::Folder,
};

/// Says how a file contradicts its entry, or returns `None` if the two agree.
///
/// # Errors
/// Errors of the store.
pub(crate) async fn contradiction(
    entry: &Entry,
    folder: Folder,
    rows: CommittedRows,
) -> Result<Option<String>, Error> {
    let found = match folder {
        Folder::Photoz => model(entry, &rows)
            .or_else(|| ids(entry, &rows))
            .or_else(|| kept(entry, &rows)),
        Folder::Embeddings => model(entry, &rows).or_else(|| ids(entry, &rows)),
        Folder::SpecZ => ids(entry, &rows),
        Folder::Rejects => None,
    };
    match engine(entry, &rows).or(found) {
        None if folder == Folder::Rejects => objects(entry, rows).await,
        found => Ok(found),
    }
}

fn engine(entry: &Entry, rows: &CommittedRows) -> Option<String> {
    let by = rows.metadata().file_metadata().created_by()?;
    let (engine, told) = (by.strip_prefix("hubbleflow ")?, &entry.engine);
    (engine != told).then(|| format!("was written by engine {engine}, and the entry says {told}"))
}

fn model(entry: &Entry, rows: &CommittedRows) -> Option<String> {
    let notes = rows.notes();
    let note = notes
        .iter()
        .find(|note| note.key == "hubbleflow.model_id")?;
    let (model, told) = (note.value.as_deref().unwrap_or_default(), &entry.model_id);
    (model != told)
        .then(|| format!("was predicted by model {model:.12}, and the entry says {told:.12}"))
}

fn ids(entry: &Entry, rows: &CommittedRows) -> Option<String> {
    let schema = rows.schema();
    let ids = schema.field_with_name("object_id").ok()?.data_type();
    let told = entry.object_id?;
    (*ids != told.arrow_type())
        .then(|| format!("its object_id is {ids}, and the entry says {told}"))
}

/// Checks that the file has the kept columns. A file that only withdraws objects need not have them.
fn kept(entry: &Entry, rows: &CommittedRows) -> Option<String> {
    let mut groups = rows.metadata().row_groups().iter();
    if groups.all(|group| nulls_of(group, "z_phot") == Some(group.num_rows() as u64)) {
        return None;
    }
    let told = entry.settings.get("keep")?.as_array()?;
    let mut told = told.iter().filter_map(|column| column.as_str());
    let schema = rows.schema();
    let missing = told.find(|column| schema.field_with_name(column).is_err())?;
    Some(format!(
        "has no column {missing}, and the entry's settings keep it"
    ))
}

/// Checks that the objects of rejected rows are inputs of the entry.
async fn objects(entry: &Entry, rows: CommittedRows) -> Result<Option<String>, Error> {
    let inputs = entry.inputs.iter().map(|input| input.path.as_str());
    let inputs: HashSet<&str> = inputs.collect();
    let mut rows = rows.read(&["object"], |_| true)?;
    while let Some(batch) = rows.try_next().await? {
        let column = batch.column_by_name("object");
        let objects = column.and_then(|column| column.as_string_opt::<i32>());
        let mut objects = objects.into_iter().flatten().flatten();
        if let Some(object) = objects.find(|object| !inputs.contains(object)) {
            let fault = format!("has a row of {object}, and the entry has no such input");
            return Ok(Some(fault));
        }
    }
    Ok(None)
}
