//! Reads committed rows: finds the current entries at a number of the ledger, and opens their files.
//!
//! ```text
//! entries ── standing ── files_of ── open ── row groups ── RecordBatch
//! ```
//! Rows are read column by column and row group by row group, so a reader holds a few megabytes of a file of any size.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use futures::{Stream, TryStreamExt, future::BoxFuture};
use parquet::{
    arrow::{
        ARROW_SCHEMA_META_KEY, ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader,
    },
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData},
};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Ledger, Output,
    error::AGAIN,
    file::fetch::ObjectReader,
    ledger::entry::{Entry, EntryKind, FileRecord},
    part::Folder,
    paths::staged,
    store::object_ref::ObjectRef,
};

/// Upper bounds on the rows that are decoded at a time, and on their bytes.
const BATCH_ROWS_MAX: u64 = 8192;
const BATCH_BYTES: u64 = 16 << 20;

/// The newest entry of each drop up to a number, by the name of the drop.
///
/// If an object has two rows, the row of the drop with the later name counts. The map has that order.
pub fn standing(entries: &[Entry], sequence: u64) -> BTreeMap<&str, &Entry> {
    entries
        .iter()
        .take_while(|entry| entry.sequence <= sequence)
        .filter(|entry| entry.kind == EntryKind::Drop)
        .map(|entry| (entry.drop.as_str(), entry))
        .collect()
}

/// An entry that was current at a number of the ledger and has lost files since, and the entry that replaced it.
pub fn replaced_since(ledger: &Ledger, sequence: u64) -> Option<(&Entry, &Entry)> {
    let then = standing(ledger.entries(), sequence).into_values();
    let replaced = then.map(|entry| (entry, ledger.newest(&entry.drop)));
    replaced
        .filter_map(|(entry, newest)| Some((entry, newest?)))
        .find(|(entry, newest)| !is_kept(entry, newest))
}

/// The numbers of the entries, in order, at which all current entries still have all their files. For these numbers
/// [`replaced_since`] returns `None`.
pub fn kept(ledger: &Ledger) -> Vec<u64> {
    let newest = standing(ledger.entries(), u64::MAX);
    let (mut kept, mut replaced) = (Vec::new(), BTreeSet::new());
    let drops = ledger.entries().iter();
    for entry in drops.filter(|entry| entry.kind == EntryKind::Drop) {
        match is_kept(entry, newest[entry.drop.as_str()]) {
            true => replaced.remove(&entry.drop),
            false => replaced.insert(&entry.drop),
        };
        if replaced.is_empty() {
            kept.push(entry.sequence);
        }
    }
    kept
}

/// Whether the newest entry of a drop lists all files of an earlier entry of the drop.
fn is_kept(entry: &Entry, newest: &Entry) -> bool {
    entry.sequence == newest.sequence || entry.files.iter().all(|file| newest.files.contains(file))
}

/// A file that an entry lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedFile {
    /// The folder of the file, which tells the kind of its rows.
    pub folder: Folder,
    /// The path below the output when the file is published.
    pub path: String,
    /// The attempt that staged the file.
    pub attempt: String,
    /// The size.
    pub bytes: u64,
}

/// The files of an entry.
pub fn files_of(entry: &Entry) -> Vec<CommittedFile> {
    let files = entry.files.iter();
    files.filter_map(|record| file_of(entry, record)).collect()
}

pub(crate) fn file_of(entry: &Entry, record: &FileRecord) -> Option<CommittedFile> {
    Some(CommittedFile {
        folder: Folder::of(&record.path)?,
        path: record.path.clone(),
        attempt: entry.attempt.clone(),
        bytes: record.bytes,
    })
}

/// An open committed file, whose footer was read.
pub struct CommittedRows {
    name: String,
    builder: ParquetRecordBatchStreamBuilder<ObjectReader>,
}

impl CommittedFile {
    /// Opens the published file, or the staged file if it is not published yet.
    ///
    /// # Errors
    /// Errors of the store; [`Error::Ledger`] if the file is not as it was committed, or if a later entry of its drop has
    /// removed it.
    pub async fn open(&self, output: &Output) -> Result<CommittedRows, Error> {
        let location = output.location();
        let mut path = self.path.clone();
        let mut found = location.find(&path).await?.map(|meta| meta.size);
        if found.is_none() {
            path = staged(&self.attempt, &self.path);
            found = location.find(&path).await?.map(|meta| meta.size);
        }
        if found != Some(self.bytes) {
            let reason = match found {
                None => "is committed, and not there".to_owned(),
                Some(bytes) => format!("has {bytes} bytes, and {} were committed", self.bytes),
            };
            return Err(Error::Ledger {
                object: location.url_of(&self.path),
                reason: format!("{reason}; {AGAIN}"),
            });
        }
        let object = ObjectRef {
            path,
            etag: None,
            bytes: self.bytes,
        };
        let reader = ObjectReader::new(location, &object)?;
        let name = location.url_of(&self.path);
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await;
        let builder = builder.map_err(|error| failed(&name, error))?;
        Ok(CommittedRows { name, builder })
    }
}

impl CommittedRows {
    /// The footer.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.builder.metadata()
    }

    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.builder.schema().clone()
    }

    /// The metadata of the file, such as the meaning of the bits of `z_flags`. The schema is left out, because writers add
    /// their own.
    pub fn notes(&self) -> Vec<KeyValue> {
        let notes = self.builder.metadata().file_metadata().key_value_metadata();
        let notes = notes.into_iter().flatten().cloned();
        notes
            .filter(|note| note.key != ARROW_SCHEMA_META_KEY)
            .collect()
    }

    /// Reads these columns of the wanted row groups, a few thousand rows at a time.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or errors of the store.
    pub fn read(
        self,
        columns: &[&str],
        wanted: impl Fn(&RowGroupMetaData) -> bool,
    ) -> Result<impl Stream<Item = Result<RecordBatch, Error>> + Unpin, Error> {
        let Self { name, builder } = self;
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups = groups.filter(|(_, group)| wanted(group));
        let groups = groups.map(|(place, _)| place).collect();
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let builder = builder.with_row_groups(groups).with_projection(mask);
        rows_of(name, builder)
    }

    /// Reads all columns of all row groups, a few thousand rows at a time.
    ///
    /// # Errors
    /// The errors of [`CommittedRows::read`].
    pub fn read_all(
        self,
    ) -> Result<impl Stream<Item = Result<RecordBatch, Error>> + Unpin + use<>, Error> {
        rows_of(self.name, self.builder)
    }
}

fn rows_of(
    name: String,
    builder: ParquetRecordBatchStreamBuilder<ObjectReader>,
) -> Result<impl Stream<Item = Result<RecordBatch, Error>> + Unpin + use<>, Error> {
    let rows = batch_rows(builder.metadata());
    let builder = builder.with_batch_size(rows as usize);
    let rows = builder.build().map_err(|error| failed(&name, error))?;
    Ok(rows.map_err(move |error| failed(&name, error)))
}

/// The number of rows that are decoded at a time. It is smaller if rows are long. Each use of a text in a dictionary counts.
fn batch_rows(file: &ParquetMetaData) -> u64 {
    let rows = file.row_groups().iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let texts = column.unencoded_byte_array_data_bytes().unwrap_or(0);
            column.uncompressed_size().max(texts).max(0) as u64
        });
        let rows = group.num_rows().max(0) as u64;
        rows.saturating_mul(BATCH_BYTES) / columns.sum::<u64>().max(1)
    });
    rows.min().unwrap_or(0).clamp(1, BATCH_ROWS_MAX)
}

/// The number of null values in a column of a row group, or `None` if its statistics do not say.
pub fn nulls_of(group: &RowGroupMetaData, column: &str) -> Option<u64> {
    let chunk = group
        .columns()
        .iter()
        .find(|chunk| chunk.column_path().string() == column)?;
    chunk.statistics()?.null_count_opt()
}

/// Unwraps an error of the store that the decoder has wrapped. All other errors mean that the file is damaged.
fn failed(name: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => corrupt(name, inner.to_string()),
        },
        error => corrupt(name, error.to_string()),
    }
}

fn corrupt(name: &str, reason: String) -> Error {
    Error::Corrupt {
        object: name.to_owned(),
        reason,
    }
}

/// Fetches the ranges of a row group's columns in few requests, several at once.
impl AsyncFileReader for ObjectReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        Box::pin(async move { self.get(range).await.map_err(external) })
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        Box::pin(async move { self.get_each(ranges).await.map_err(external) })
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        Box::pin(async move { self.footer().await.map(Arc::new) })
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
