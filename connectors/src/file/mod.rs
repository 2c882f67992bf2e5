//! One Parquet file of a drop: its footer, the columns that are read, and the byte ranges of its rows.
mod chunk_size;
pub mod cut;
mod decoder;
pub(crate) mod fetch;
mod footer;
pub(crate) mod footer_cache;
mod pages;
mod thrift;
pub(crate) mod views;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::datatypes::SchemaRef;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector},
    },
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        page_index::offset_index::PageLocation,
    },
};

use self::{
    chunk_size::{decoded_bytes, encoded_bytes, encoded_text_bytes, holds, lies_inside},
    cut::{Cut, RowGroupShape},
    fetch::ObjectReader,
};
use crate::{
    Error, Location,
    galaxy::{Layout, Request, kept},
    store::object_ref::ObjectRef,
};

/// Upper bound on the rows for each byte of a file. Files of ids that count up have a thousandth of it.
const ROWS_PER_BYTE_MAX: u64 = 4096;
/// The usual size of a page. Pages with long rows are larger.
const PAGE_BYTES: u64 = 1 << 20;

/// A file whose footer was read and whose columns were checked.
#[derive(Debug)]
pub struct File {
    reader: ObjectReader,
    /// The metadata for reading batches, with text as views.
    metadata: ArrowReaderMetadata,
    /// The schema, as the file describes it.
    schema: SchemaRef,
    /// Maps the columns to those of galaxies. `None` if the file has no rows and not these columns.
    layout: Option<Layout>,
    /// The leaf columns that are read.
    leaves: Vec<usize>,
    /// The bytes of the footer in memory.
    memory_bytes: u64,
    /// The bytes that a split was found to take at once, if more than the footer says.
    found_bytes: AtomicU64,
}

impl File {
    /// Reads the footer and checks the columns.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is not Parquet, [`Error::Schema`] if its columns do not fit, or errors of the store.
    pub async fn open(reader: ObjectReader, bytes: u64, request: &Request) -> Result<Self, Error> {
        let footer = footer::read(&reader, bytes, true)
            .await
            .map_err(|error| corrupt(&reader, error))?;
        let metadata = described(Arc::new(footer)).map_err(|error| corrupt(&reader, error))?;
        let schema = metadata.schema().clone();
        let is_empty = metadata
            .metadata()
            .row_groups()
            .iter()
            .all(|group| group.num_rows() == 0);
        let layout = match Layout::resolve(&schema, request) {
            Ok(layout) => Some(layout),
            // A writer without rows may not know the types of the columns.
            Err(_) if is_empty => None,
            Err(source) => {
                let object = reader.name();
                return Err(Error::Schema { object, source });
            }
        };
        let kept = layout.as_ref().map_or(&[][..], Layout::keep_fields);
        kept::check_intervals(kept, metadata.metadata().file_metadata()).map_err(|source| {
            let object = reader.name();
            Error::Schema { object, source }
        })?;
        let parquet = metadata.parquet_schema();
        let columns = layout.iter().flat_map(|layout| layout.columns());
        let mask = ProjectionMask::roots(parquet, columns.copied());
        let leaves: Vec<usize> = (0..parquet.num_columns())
            .filter(|&leaf| mask.leaf_included(leaf))
            .collect();
        let mut file = Self {
            reader,
            metadata,
            schema,
            layout,
            leaves,
            memory_bytes: 0,
            found_bytes: AtomicU64::new(0),
        };
        file.check_footer(bytes)?;
        file.metadata = file.prepared();
        file.memory_bytes = file.metadata.metadata().memory_size() as u64;
        Ok(file)
    }

    /// The metadata for reading batches: without an index that cannot be trusted, and with text as views.
    fn prepared(&self) -> ArrowReaderMetadata {
        let mut footer = self.metadata.metadata().clone();
        if !footer::is_index_sound(&footer, &self.leaves) {
            tracing::warn!(
                "{}: its page index contradicts its footer and is not used; it is read from front to back",
                self.name()
            );
            footer = footer::without_index(ParquetMetaData::clone(&footer));
        }
        let views = ArrowReaderOptions::new().with_schema(views::with_views(&self.schema));
        ArrowReaderMetadata::try_new(footer.clone(), views)
            .or_else(|_no_views| described(footer))
            .unwrap_or_else(|_| self.metadata.clone())
    }

    /// Refuses a footer with impossible numbers, because decoders trust the footer.
    fn check_footer(&self, bytes: u64) -> Result<(), Error> {
        let groups = self.metadata.metadata().row_groups();
        let possible = groups.iter().all(|group| {
            let rows = group.num_rows();
            let chunks = || self.leaves.iter().map(|&leaf| group.column(leaf));
            rows >= 0 && chunks().all(|chunk| lies_inside(chunk, bytes) && holds(chunk, rows))
        });
        let total = self.total_rows();
        if possible && total <= bytes.saturating_mul(ROWS_PER_BYTE_MAX) && !self.chunks_overlap() {
            return Ok(());
        }
        Err(impossible(self.name()))
    }

    /// Whether two column chunks that are read share bytes.
    fn chunks_overlap(&self) -> bool {
        let groups = 0..self.metadata.metadata().num_row_groups();
        let chunks = groups.flat_map(|group| self.chunks(group));
        let mut ranges: Vec<(u64, u64)> = chunks
            .map(ColumnChunkMetaData::byte_range)
            .filter(|(_, bytes)| *bytes > 0)
            .collect();
        ranges.sort_unstable();
        let overlap = |two: &[(u64, u64)]| two[0].0.saturating_add(two[0].1) > two[1].0;
        ranges.windows(2).any(overlap)
    }

    fn total_rows(&self) -> u64 {
        rows_of(self.metadata.metadata())
    }

    /// Maps the columns to those of galaxies. Returns `None` if the file has no rows and not these columns.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// The schema, as the file describes it.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The bytes of the footer in memory.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// The name of the file in messages.
    pub fn name(&self) -> String {
        self.reader.name()
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.total_rows()
    }

    /// The origin of the rows, if the schema names it.
    pub fn origin(&self) -> Option<String> {
        self.schema.metadata().get("origin").cloned()
    }

    /// The sizes of the row groups, in the columns that are read.
    pub fn shapes(&self) -> Vec<RowGroupShape> {
        let footer = self.metadata.metadata();
        (0..footer.num_row_groups())
            .map(|group| RowGroupShape {
                rows: footer.row_group(group).num_rows() as usize,
                decoded_bytes: self
                    .chunks(group)
                    .map(decoded_bytes)
                    .fold(0, u64::saturating_add),
                seekable: self
                    .leaves
                    .iter()
                    .all(|&leaf| self.pages(group, leaf).is_some()),
            })
            .collect()
    }

    /// The number of rows in each row group of a cut.
    pub fn row_group_rows(&self, row_groups: &Range<usize>) -> Vec<usize> {
        row_groups
            .clone()
            .map(|group| self.metadata.metadata().row_group(group).num_rows() as usize)
            .collect()
    }

    /// The decoded size of a number of rows of a cut, from the averages of the row groups.
    pub fn decoded_bytes(&self, cut: &Cut, rows: usize) -> u64 {
        self.share(cut, rows, decoded_bytes)
    }

    /// The bytes that a decoder of a cut holds at once, according to the footer: `rows` rows and a page of each column. Fetched
    /// bytes are not counted.
    pub fn step_bytes(&self, cut: &Cut, rows: usize) -> u64 {
        let step = |chunk: &ColumnChunkMetaData| {
            let values = chunk.num_values().max(0) as u64;
            let levels = values.saturating_mul(pages::level_bytes(chunk));
            decoded_bytes(chunk).saturating_add(levels)
        };
        let in_groups = cut.row_groups.clone().flat_map(|group| self.chunks(group));
        let encoded: u64 = in_groups.map(encoded_bytes).fold(0, u64::saturating_add);
        let pages = encoded.min(PAGE_BYTES * self.leaves.len() as u64);
        let step = self.share(cut, rows, step).saturating_add(pages);
        step.max(self.found_bytes.load(Ordering::Relaxed))
    }

    /// Records how many bytes a split of the file took at once.
    pub fn found(&self, step_bytes: u64) {
        self.found_bytes.fetch_max(step_bytes, Ordering::Relaxed);
    }

    /// The size in the file of a number of rows of a cut, from the averages of the row groups.
    pub fn stored_bytes(&self, cut: &Cut, rows: usize) -> u64 {
        self.share(cut, rows, |chunk| chunk.compressed_size().max(0) as u64)
    }

    fn share(&self, cut: &Cut, rows: usize, bytes_of: impl Fn(&ColumnChunkMetaData) -> u64) -> u64 {
        let all: usize = self.row_group_rows(&cut.row_groups).iter().sum();
        let chunks = cut.row_groups.clone().flat_map(|group| self.chunks(group));
        let bytes = chunks.map(bytes_of).fold(0, u64::saturating_add);
        u64::try_from(u128::from(bytes) * rows as u128 / all.max(1) as u128).unwrap_or(u64::MAX)
    }

    /// The byte ranges of the rows of a cut, or no ranges if pages must be found one after another.
    pub fn ranges(&self, cut: &Cut) -> Vec<Range<u64>> {
        if cut.streamed {
            return Vec::new();
        }
        let rows_of = self.row_group_rows(&cut.row_groups);
        let whole = cut.rows.len() == rows_of.iter().sum::<usize>();
        let chunk_range = |group: usize, leaf: usize| {
            let (start, length) = self
                .metadata
                .metadata()
                .row_group(group)
                .column(leaf)
                .byte_range();
            start..start + length
        };
        let groups = cut
            .row_groups
            .clone()
            .flat_map(|group| self.leaves.iter().map(move |&leaf| (group, leaf)));
        if whole || cut.row_groups.len() > 1 {
            return groups
                .map(|(group, leaf)| chunk_range(group, leaf))
                .collect();
        }
        let selection = RowSelection::from(select(cut, rows_of[0]));
        groups
            .flat_map(|(group, leaf)| {
                let (pages, chunk) = (
                    self.pages(group, leaf).unwrap_or_default(),
                    chunk_range(group, leaf),
                );
                let Some(first) = pages.first() else {
                    return vec![chunk];
                };
                // The dictionary lies before the first page of rows, and every page may need it.
                let dictionary = chunk.start..first.offset as u64;
                std::iter::once(dictionary)
                    .chain(selection.scan_ranges(&pages))
                    .collect()
            })
            .collect()
    }

    /// Fetches ranges of the file that [`crate::file::fetch::coalesce`] has joined.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn fetch(&self, joined: Vec<Range<u64>>) -> Result<Vec<(u64, bytes::Bytes)>, Error> {
        self.reader.get_joined(joined).await
    }

    fn chunks(&self, group: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
        self.leaves
            .iter()
            .map(move |&leaf| self.metadata.metadata().row_group(group).column(leaf))
    }

    /// The places of the pages of a column chunk, or `None` if the file has no index.
    fn pages(&self, group: usize, leaf: usize) -> Option<Vec<PageLocation>> {
        self.metadata
            .metadata()
            .page_index_for_row_group(group)
            .page_locations(leaf)
            .cloned()
    }
}

/// The number of rows of a footer. Negative numbers count as endless.
fn rows_of(footer: &ParquetMetaData) -> u64 {
    let groups = footer.row_groups().iter();
    let rows = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    rows.fold(0, u64::saturating_add)
}

/// Reads the footer of an object, with the offset index of its pages. A damaged index is left out.
///
/// # Errors
/// [`Error::Corrupt`] if the object is not Parquet, [`Error::Changed`], or errors of the store.
pub async fn read_footer(
    location: &Location,
    object: &ObjectRef,
) -> Result<ParquetMetaData, Error> {
    let reader = ObjectReader::new(location, object)?;
    let footer = footer::read(&reader, object.bytes, true).await;
    let footer = footer.map_err(|error| corrupt(&reader, error))?;
    match rows_of(&footer) <= object.bytes.saturating_mul(ROWS_PER_BYTE_MAX) {
        true => Ok(footer),
        false => Err(impossible(reader.name())),
    }
}

fn impossible(object: String) -> Error {
    Error::Corrupt {
        object,
        reason: "its footer has impossible numbers of rows or bytes".to_owned(),
    }
}

/// The footer with its schema. If the schema that Arrow's writer stored contradicts the columns, the columns count. That
/// happens if a tool that does not know the stored schema has changed the columns.
fn described(footer: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, ParquetError> {
    let taken = ArrowReaderMetadata::try_new(footer.clone(), ArrowReaderOptions::new()).or_else(
        |_stale| {
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
            ArrowReaderMetadata::try_new(footer.clone(), options)
        },
    )?;
    match kept::reading_schema(taken.schema(), footer.file_metadata()) {
        Some(schema) => {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(footer, options)
        }
        None => Ok(taken),
    }
}

/// Selects the rows of a cut among all rows of its row groups.
fn select(cut: &Cut, all: usize) -> Vec<RowSelector> {
    vec![
        RowSelector::skip(cut.rows.start),
        RowSelector::select(cut.rows.len()),
        RowSelector::skip(all.saturating_sub(cut.rows.end)),
    ]
}

/// Unwraps an error of the store that a decoder has wrapped. All other errors mean that the file is damaged.
fn corrupt(reader: &ObjectReader, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => Error::Corrupt {
                object: reader.name(),
                reason: inner.to_string(),
            },
        },
        error => Error::Corrupt {
            object: reader.name(),
            reason: error.to_string(),
        },
    }
}
