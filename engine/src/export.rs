//! `hubbleflow export`: the survey as it stands, as plain Parquet: of each object the latest row, and no withdrawn one.
//!
//! ```text
//! committed files ── latest entry of each object ── the same files, without the rows that a later drop took over
//! ```
//! The files are read three times: for their checksums, and twice row group by row group; between, an object takes twelve
//! bytes and the map around them.
use std::{collections::HashMap, fmt};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int32Type,
};
use connectors::{
    Error as StoreError, Ledger, Location, Output,
    committed::{CommittedFile, damage, files_of, replaced_since, standing},
    ledger::{Entry, FileRecord},
    part::{DELETED, Folder},
};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};
use operators::score::{Key, keys};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde::Serialize;

use crate::{Error, job::StoreOptions, status::sequence_of};

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Exported {
    /// The entry of the ledger up to which drops count.
    pub sequence: u64,
    /// Objects.
    pub rows: u64,
    /// Rows left out: a later drop took their object over, or withdrew it.
    pub rows_superseded: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            rows,
            rows_superseded,
            files,
            bytes,
        } = self;
        let megabytes = *bytes as f64 / 1e6;
        write!(
            f,
            "{rows} objects in {files} files, {megabytes:.1} MB, as of entry {sequence}; {rows_superseded} rows were superseded or withdrawn"
        )
    }
}

/// Writes the objects of an output as they stand, or stood after the newest entry of `as_of`, to an empty place.
///
/// # Errors
/// [`Error::Output`] where the place is not empty or lies in the output, there is no such drop, or a file is not what was
/// committed, or was replaced since; the store's.
pub async fn export(
    out: &str,
    to: &str,
    as_of: Option<&str>,
    options: &StoreOptions,
) -> Result<Exported, Error> {
    let (from, place) = (Location::open(out, options)?, Location::open(to, options)?);
    if from.overlaps(&place) {
        return Err(Error::Output(format!(
            "{to} and the output {out} lie in each other, so one would be read as the other; choose another --to"
        )));
    }
    let ledger = Ledger::open(&from).await?;
    let sequence = sequence_of(&ledger, out, as_of)?;
    let below = Some(&place.prefix).filter(|prefix| !prefix.is_root());
    let there = place.store.list(below).next().await.transpose();
    if there
        .map_err(|source| StoreError::store(to, source))?
        .is_some()
    {
        return Err(Error::Output(format!(
            "{to} is not empty; an export goes to a place of its own"
        )));
    }
    if let Some((entry, by)) = replaced_since(&ledger, sequence) {
        let (drop, entry, by) = (&entry.drop, entry.sequence, by.sequence);
        return Err(Error::Output(format!(
            "{out} cannot be exported as it was then: the files of drop {drop} (entry {entry}) were replaced by entry {by}"
        )));
    }
    let output = Output::new(from);
    for entry in standing(ledger.entries(), sequence).into_values() {
        check_photoz(&output, entry).await?;
    }
    let files: Vec<(u64, CommittedFile)> = standing(ledger.entries(), sequence)
        .into_values()
        .flat_map(|entry| {
            files_of(entry)
                .into_iter()
                .map(|file| (entry.sequence, file))
        })
        .filter(|(_, file)| file.folder == Folder::Photoz)
        .collect();
    let latest = latest(&output, &files).await?;
    let mut exported = Exported {
        sequence,
        ..Exported::default()
    };
    for (entry, file) in &files {
        let current = |key| latest[&key] == *entry;
        let part = current_rows(&output, file, current, &mut exported).await?;
        if let Some(bytes) = part {
            exported.bytes += bytes.len() as u64;
            let name = format!("part-{:05}.parquet", exported.files);
            exported.files += 1;
            put(&place, &name, bytes).await?;
        }
    }
    // Last, and passed over by readers: what is there is whole.
    put(&place, "_SUCCESS", Vec::new()).await?;
    Ok(exported)
}

/// Makes sure that the predictions of an entry are what was committed: damage is not carried on.
async fn check_photoz(output: &Output, entry: &Entry) -> Result<(), Error> {
    let photoz = |file: &&FileRecord| Folder::of(&file.path) == Some(Folder::Photoz);
    for file in entry.files.iter().filter(photoz) {
        if let Some(fault) = damage(output, file).await? {
            let (drop, file) = (&entry.drop, output.location().url_of(&file.path));
            return Err(Error::Output(format!("drop {drop}: {file}: {fault}")));
        }
    }
    Ok(())
}

/// The entry that each object's latest row is in. Files come in the order of their drops' names.
async fn latest(
    output: &Output,
    files: &[(u64, CommittedFile)],
) -> Result<HashMap<Key, u64>, Error> {
    let mut latest = HashMap::new();
    for (entry, file) in files {
        let rows = file.open(output).await?.read(&["object_id"], |_| true)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(batch) = rows.try_next().await? {
            let keys = keys(&batch).map_err(|reason| misread(output, file, reason))?;
            latest.extend(keys.into_iter().map(|key| (key, *entry)));
        }
    }
    Ok(latest)
}

/// The rows of a file that are current, as Parquet; none where no row is.
async fn current_rows(
    output: &Output,
    file: &CommittedFile,
    current: impl Fn(Key) -> bool,
    exported: &mut Exported,
) -> Result<Option<Vec<u8>>, Error> {
    let rows = file.open(output).await?;
    let notes = rows.notes();
    let mut rows = rows.read_all()?;
    let mut part = None;
    while let Some(batch) = rows.try_next().await? {
        let keys = keys(&batch).map_err(|reason| misread(output, file, reason))?;
        let flags = batch["z_flags"].as_primitive::<Int32Type>().values();
        let keep = keys
            .into_iter()
            .zip(flags)
            .map(|(key, flags)| Some(current(key) && flags & DELETED == 0));
        let kept = filter_record_batch(&batch, &keep.collect::<BooleanArray>())
            .map_err(|error| misread(output, file, error))?;
        exported.rows += kept.num_rows() as u64;
        exported.rows_superseded += (batch.num_rows() - kept.num_rows()) as u64;
        if kept.num_rows() > 0 {
            let writer = match &mut part {
                Some(writer) => writer,
                None => {
                    let made = new_part(&kept, notes.clone());
                    part.insert(made.map_err(|error| misread(output, file, error))?)
                }
            };
            writer
                .write(&kept)
                .map_err(|error| misread(output, file, error))?;
        }
    }
    let bytes = part.map(ArrowWriter::into_inner).transpose();
    bytes.map_err(|error| misread(output, file, error))
}

fn new_part(
    rows: &RecordBatch,
    notes: Vec<KeyValue>,
) -> parquet::errors::Result<ArrowWriter<Vec<u8>>> {
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(notes))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))
}

async fn put(place: &Location, name: &str, bytes: Vec<u8>) -> Result<(), Error> {
    let path: Path = place.path(name)?;
    let put = place.store.put(&path, bytes.into()).await;
    put.map_err(|source| StoreError::store(place.url_of(name), source))?;
    Ok(())
}

fn misread(output: &Output, file: &CommittedFile, reason: impl fmt::Display) -> Error {
    Error::Connectors(StoreError::Corrupt {
        object: output.location().url_of(&file.path),
        reason: reason.to_string(),
    })
}
