//! One Parquet file of a drop: its footer, which of its columns make galaxies, and its rows, decoded in chunks.
use std::{
    ops::Range,
    sync::{Arc, PoisonError},
};

use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
        },
    },
    basic::Type,
    errors::ParquetError,
    file::{
        metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaDataReader},
        page_index::offset_index::PageLocation,
    },
};
use tokio::runtime::Handle;

use crate::{
    Error,
    fetch::{FOOTER_BYTES, Failure, ObjectReader, SplitBytes},
    galaxy::{Galaxies, Layout, Request, kept},
    split::{Cut, RowGroupShape},
};

/// A file whose footer has been read and whose columns have been found good.
#[derive(Debug)]
pub struct File {
    reader: ObjectReader,
    metadata: ArrowReaderMetadata,
    /// How its columns make galaxies.
    pub layout: Layout,
    /// The leaf columns that are read.
    leaves: Vec<usize>,
}

impl File {
    /// Reads the footer and checks the columns.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where it is no Parquet file, [`Error::Schema`] where its columns do not fit, or the store's.
    pub async fn open(reader: ObjectReader, bytes: u64, request: &Request) -> Result<Self, Error> {
        let footer = ParquetMetaDataReader::new()
            .with_prefetch_hint(Some(FOOTER_BYTES))
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Optional)
            .load_and_finish(&reader, bytes)
            .await
            .map_err(|error| corrupt(&reader, error))?;
        let mut metadata =
            ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new())
                .map_err(|error| corrupt(&reader, error))?;
        if let Some(schema) =
            kept::reading_schema(metadata.schema(), metadata.metadata().file_metadata())
        {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
                .map_err(|error| corrupt(&reader, error))?;
        }
        let layout =
            Layout::resolve(metadata.schema(), request).map_err(|source| Error::Schema {
                object: reader.name(),
                source,
            })?;
        kept::check_intervals(layout.keep_fields(), metadata.metadata().file_metadata()).map_err(
            |source| Error::Schema {
                object: reader.name(),
                source,
            },
        )?;
        let schema = metadata.parquet_schema();
        let mask = ProjectionMask::roots(schema, layout.columns().iter().copied());
        let leaves = (0..schema.num_columns())
            .filter(|&leaf| mask.leaf_included(leaf))
            .collect();
        let file = Self {
            reader,
            metadata,
            layout,
            leaves,
        };
        file.check_footer(bytes)?;
        Ok(file)
    }

    /// Refuses a footer that tells of what cannot be: decoders trust it.
    fn check_footer(&self, bytes: u64) -> Result<(), Error> {
        let lies_inside = |chunk: &ColumnChunkMetaData| {
            let start = chunk
                .dictionary_page_offset()
                .unwrap_or(chunk.data_page_offset());
            let (start, size) = (
                u64::try_from(start).ok(),
                u64::try_from(chunk.compressed_size()).ok(),
            );
            let end = start
                .zip(size)
                .and_then(|(start, size)| start.checked_add(size));
            end.is_some_and(|end| end <= bytes) && chunk.data_page_offset() >= 0
        };
        let groups = self.metadata.metadata().row_groups();
        let possible = groups.iter().all(|group| group.num_rows() >= 0)
            && (0..groups.len()).all(|group| {
                self.chunks(group).all(lies_inside) && self.pages_lie_inside(group, bytes)
            });
        if possible {
            return Ok(());
        }
        Err(Error::Corrupt {
            object: self.name(),
            reason: "its footer tells of rows that cannot be in it".to_owned(),
        })
    }

    /// Whether the pages of which the offset index tells, where there is one, lie in a file of so many bytes.
    fn pages_lie_inside(&self, group: usize, bytes: u64) -> bool {
        let lies_inside = |page: PageLocation| {
            let (start, size) = (
                u64::try_from(page.offset),
                u64::try_from(page.compressed_page_size),
            );
            let end = start
                .ok()
                .zip(size.ok())
                .and_then(|(start, size)| start.checked_add(size));
            end.is_some_and(|end| end <= bytes) && page.first_row_index >= 0
        };
        let pages = |&leaf: &usize| self.pages(group, leaf).unwrap_or_default();
        self.leaves.iter().flat_map(pages).all(lies_inside)
    }

    /// What messages call the file.
    pub fn name(&self) -> String {
        self.reader.name()
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.metadata
            .metadata()
            .row_groups()
            .iter()
            .map(|group| group.num_rows() as u64)
            .sum()
    }

    /// What its schema says of where the rows are from.
    pub fn origin(&self) -> Option<String> {
        self.metadata.schema().metadata().get("origin").cloned()
    }

    /// Its row groups, in the columns that are read.
    pub fn shapes(&self) -> Vec<RowGroupShape> {
        let footer = self.metadata.metadata();
        (0..footer.num_row_groups())
            .map(|group| RowGroupShape {
                rows: footer.row_group(group).num_rows() as usize,
                decoded_bytes: self.chunks(group).map(decoded_bytes).sum(),
                seekable: self
                    .leaves
                    .iter()
                    .all(|&leaf| self.pages(group, leaf).is_some()),
            })
            .collect()
    }

    /// The rows of each of a cut's row groups.
    pub fn row_group_rows(&self, row_groups: &Range<usize>) -> Vec<usize> {
        row_groups
            .clone()
            .map(|group| self.metadata.metadata().row_group(group).num_rows() as usize)
            .collect()
    }

    /// Decoded bytes of so many rows of a cut, by the average of its row groups.
    pub fn decoded_bytes(&self, cut: &Cut, rows: usize) -> u64 {
        self.share(cut, rows, decoded_bytes)
    }

    /// Bytes that so many rows of a cut take in the file, by the average of its row groups.
    pub fn stored_bytes(&self, cut: &Cut, rows: usize) -> u64 {
        self.share(cut, rows, |chunk| chunk.compressed_size().max(0) as u64)
    }

    fn share(&self, cut: &Cut, rows: usize, bytes_of: impl Fn(&ColumnChunkMetaData) -> u64) -> u64 {
        let all: usize = self.row_group_rows(&cut.row_groups).iter().sum();
        let bytes: u64 = cut
            .row_groups
            .clone()
            .flat_map(|group| self.chunks(group))
            .map(bytes_of)
            .sum();
        (u128::from(bytes) * rows as u128 / all.max(1) as u128) as u64
    }

    /// The byte ranges that hold a cut's rows, and where they cannot be known but page by page, none.
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
                // Before the first page of rows lies the dictionary, which every page may need.
                let dictionary = chunk.start..first.offset as u64;
                std::iter::once(dictionary)
                    .chain(selection.scan_ranges(&pages))
                    .collect()
            })
            .collect()
    }

    /// A decoder of a cut's rows, `chunk_rows` at a time; `ahead` is what was fetched of them.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or the store's where pages are fetched one after another.
    pub fn decoder(
        self: &Arc<Self>,
        cut: &Cut,
        ahead: Vec<(u64, bytes::Bytes)>,
        runtime: Handle,
    ) -> Result<Decoder, Error> {
        let failure = Failure::default();
        let bytes = SplitBytes::new(self.reader.clone(), ahead, runtime, failure.clone());
        let mask =
            ProjectionMask::leaves(self.metadata.parquet_schema(), self.leaves.iter().copied());
        let all: usize = self.row_group_rows(&cut.row_groups).iter().sum();
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
                .with_row_groups(cut.row_groups.clone().collect())
                .with_projection(mask)
                .with_batch_size(cut.chunk_rows);
        let part = cut.rows.len() < all;
        let builder = if part {
            builder.with_row_selection(select(cut, all).into())
        } else {
            builder
        };
        let batches = builder
            .build()
            .map_err(|error| self.failed(&failure, error))?;
        Ok(Decoder {
            file: self.clone(),
            batches,
            failure,
        })
    }

    /// What ended a decoder: the store, or the file is not what its name says.
    fn failed(&self, failure: &Failure, error: impl std::fmt::Display) -> Error {
        let stores = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        stores.unwrap_or_else(|| Error::Corrupt {
            object: self.name(),
            reason: error.to_string(),
        })
    }

    /// Fetches ranges of the file.
    ///
    /// # Errors
    /// The store's.
    pub async fn fetch(&self, ranges: Vec<Range<u64>>) -> Result<Vec<(u64, bytes::Bytes)>, Error> {
        self.reader.get_all(ranges).await
    }

    fn chunks(&self, group: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
        self.leaves
            .iter()
            .map(move |&leaf| self.metadata.metadata().row_group(group).column(leaf))
    }

    /// Where the pages of a column chunk lie, where the file says so.
    fn pages(&self, group: usize, leaf: usize) -> Option<Vec<PageLocation>> {
        self.metadata
            .metadata()
            .page_index_for_row_group(group)
            .page_locations(leaf)
            .cloned()
    }
}

/// The rows of a cut, in chunks.
pub struct Decoder {
    file: Arc<File>,
    batches: ParquetRecordBatchReader,
    failure: Failure,
}

impl Decoder {
    /// The next rows, which must come: the footer has promised them.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Schema`], or the store's.
    pub fn next(&mut self) -> Result<Galaxies, Error> {
        let file = &self.file;
        let batch = match self.batches.next() {
            Some(batch) => batch.map_err(|error| file.failed(&self.failure, error))?,
            None => return Err(file.failed(&self.failure, "fewer rows than its footer says")),
        };
        file.layout.decode(&batch).map_err(|source| Error::Schema {
            object: file.name(),
            source,
        })
    }
}

/// The rows of a cut out of all rows of its row groups.
fn select(cut: &Cut, all: usize) -> Vec<RowSelector> {
    vec![
        RowSelector::skip(cut.rows.start),
        RowSelector::select(cut.rows.len()),
        RowSelector::skip(all.saturating_sub(cut.rows.end)),
    ]
}

/// What a column chunk takes once decoded: dictionaries make it far more than its pages.
fn decoded_bytes(chunk: &ColumnChunkMetaData) -> u64 {
    let values = chunk.num_values().max(0) as u64;
    let encoded = chunk.uncompressed_size().max(0) as u64;
    match chunk.column_type() {
        Type::BOOLEAN => values.div_ceil(8),
        Type::INT32 | Type::FLOAT => values * 4,
        Type::INT64 | Type::DOUBLE => values * 8,
        Type::INT96 => values * 12,
        Type::FIXED_LEN_BYTE_ARRAY => values * chunk.column_descr().type_length().max(0) as u64,
        // Text: of unknown length behind a dictionary; what is kept of it is short.
        Type::BYTE_ARRAY => encoded + values * 16,
    }
}

/// The store's own error, where a decoder has wrapped one; else the file is not what its name says.
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
