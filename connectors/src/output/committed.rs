//! Committed rows: the entries that stand at a number of the ledger, and the rows of their files.
//!
//! ```text
//! entries ── standing ── files_of ── open ── row groups ── RecordBatch
//! ```
//! Rows are read column by column and row group by row group, so a reader holds some megabytes whatever a file's size.
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

/// Rows that are decoded at a time, and about the bytes that they may have.
const BATCH_ROWS_MAX: u64 = 8192;
const BATCH_BYTES: u64 = 16 << 20;

/// The newest entry of each drop among those up to a number, by the names of the drops.
///
/// Of two rows of one object, the row of the drop with the later name counts. The map has that order.
pub fn standing(entries: &[Entry], sequence: u64) -> BTreeMap<&str, &Entry> {
    entries
        .iter()
        .take_while(|entry| entry.sequence <= sequence)
        .filter(|entry| entry.kind == EntryKind::Drop)
        .map(|entry| (entry.drop.as_str(), entry))
        .collect()
}

/// An entry that stood at a number of the ledger and whose files are not all kept, and the entry that took its place.
pub fn replaced_since(ledger: &Ledger, sequence: u64) -> Option<(&Entry, &Entry)> {
    let then = standing(ledger.entries(), sequence).into_values();
    let replaced = then.map(|entry| (entry, ledger.newest(&entry.drop)));
    replaced
        .filter_map(|(entry, newest)| Some((entry, newest?)))
        .find(|(entry, newest)| !is_kept(entry, newest))
}

/// The drops' entries, in order, at whose numbers all files of what stood are still kept: where [`replaced_since`] finds none.
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

/// Whether the newest entry of a drop lists all files that an entry of it does.
fn is_kept(entry: &Entry, newest: &Entry) -> bool {
    entry.sequence == newest.sequence || entry.files.iter().all(|file| newest.files.contains(file))
}

/// A file that an entry lists: where to find its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedFile {
    /// Whose rows they are.
    pub folder: Folder,
    /// Where it lies below the output, once it is published.
    pub path: String,
    /// The attempt that staged it.
    pub attempt: String,
    /// Its size.
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

/// A committed file that is open: its footer is read.
pub struct CommittedRows {
    name: String,
    builder: ParquetRecordBatchStreamBuilder<ObjectReader>,
}

impl CommittedFile {
    /// Opens the published file, or the staged file if it is not published yet.
    ///
    /// # Errors
    /// The store's; [`Error::Ledger`] where the file is not what was committed, or a later entry of its drop has taken it
    /// away.
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

    /// What the file says of itself, as what the bits of `z_flags` mean; but for the schema, which whoever writes it adds.
    pub fn notes(&self) -> Vec<KeyValue> {
        let notes = self.builder.metadata().file_metadata().key_value_metadata();
        let notes = notes.into_iter().flatten().cloned();
        notes
            .filter(|note| note.key != ARROW_SCHEMA_META_KEY)
            .collect()
    }

    /// The rows in these columns, a few thousand at a time, of the row groups that are asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or the store's.
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

    /// All rows in all columns, a few thousand at a time.
    ///
    /// # Errors
    /// As [`CommittedRows::read`].
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

/// How many rows are decoded at a time: fewer where rows are long. A dictionary's texts count as often as they come.
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

/// The store's own error, where the decoder has wrapped one; else the file is not what the ledger says.
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

/// The ranges of a row group's columns are fetched in few requests, several at once.
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
