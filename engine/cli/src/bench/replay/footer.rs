//! The footer of a file some of whose columns lie elsewhere, made of the file's own footer.
use std::{
    io::{self, Write},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::{
            ColumnChunkMetaData, OffsetIndexBuilder, ParquetMetaData, ParquetMetaDataBuilder,
            ParquetMetaDataWriter, RowGroupMetaData,
            page_index::{PageIndexBuilder, PageIndexProvider},
        },
        writer::TrackedWrite,
    },
};

use super::new_column::ENCODINGS;

/// A page of a new column chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewPage {
    /// Where it begins in the file.
    pub start: u64,
    /// Its size with its header.
    pub bytes: u64,
    /// The number of rows.
    pub rows: u64,
}

/// The column chunks that take the place of those of one of the file's own columns.
#[derive(Clone, Debug)]
pub struct NewChunks {
    /// The place of the column among the leaves of the schema.
    pub leaf: usize,
    /// One for each row group.
    pub groups: Vec<NewChunk>,
}

/// A new column chunk.
#[derive(Clone, Debug)]
pub struct NewChunk {
    /// Where it lies in the file.
    pub range: Range<u64>,
    /// Its pages, in order.
    pub pages: Vec<NewPage>,
}

/// The bytes from `start` to the end of the file: the offset index of the pages if the file had one, and the footer.
/// Statistics and filters of the columns that are replaced are left out.
///
/// # Errors
/// Those of Parquet's writer.
pub fn new_footer(
    own: &ParquetMetaData,
    columns: &[NewChunks],
    start: u64,
) -> Result<Bytes, ParquetError> {
    let find = |group: usize, leaf| {
        let column = columns.iter().find(|column| column.leaf == leaf)?;
        column.groups.get(group)
    };
    let groups = own.row_groups().iter().enumerate();
    let groups = groups.map(|(number, group)| {
        let leaves = group.columns().iter().enumerate();
        let columns = leaves.map(|(leaf, column)| match find(number, leaf) {
            Some(chunk) => new_column_chunk(column, chunk),
            None => Ok(column.clone()),
        });
        new_row_group(group, columns.collect::<Result<_, _>>()?)
    });
    let footer = ParquetMetaDataBuilder::new(own.file_metadata().clone())
        .set_row_groups(groups.collect::<Result<_, _>>()?)
        .set_page_index(own.page_index().map(|index| {
            let columns = own.file_metadata().schema_descr().num_columns();
            offset_index(index.as_ref(), own.num_row_groups(), columns, find)
        }))
        .build();
    let mut written = Appended {
        skip: start,
        bytes: Vec::new(),
    };
    let mut file = TrackedWrite::new(&mut written);
    // The writer takes the place of the page indexes from the number of bytes written before.
    let zeros = [0; 1 << 16];
    let mut left = start;
    while left > 0 {
        let step = left.min(zeros.len() as u64);
        file.write_all(&zeros[..step as usize])?;
        left -= step;
    }
    ParquetMetaDataWriter::new_with_tracked(file, &footer).finish()?;
    Ok(written.bytes.into())
}

fn new_column_chunk(
    own: &ColumnChunkMetaData,
    chunk: &NewChunk,
) -> Result<ColumnChunkMetaData, ParquetError> {
    let bytes = (chunk.range.end - chunk.range.start) as i64;
    let rows: u64 = chunk.pages.iter().map(|page| page.rows).sum();
    ColumnChunkMetaData::builder(own.column_descr_ptr())
        .set_encodings(ENCODINGS.to_vec())
        .set_num_values(rows as i64)
        .set_total_compressed_size(bytes)
        .set_total_uncompressed_size(bytes)
        .set_data_page_offset(chunk.range.start as i64)
        .build()
}

fn new_row_group(
    own: &RowGroupMetaData,
    columns: Vec<ColumnChunkMetaData>,
) -> Result<RowGroupMetaData, ParquetError> {
    let bytes = columns.iter().map(ColumnChunkMetaData::uncompressed_size);
    let bytes = bytes.fold(0, i64::saturating_add);
    let group = own.clone().into_builder();
    group
        .set_column_metadata(columns)
        .set_total_byte_size(bytes)
        .set_sorting_columns(None)
        .build()
}

/// The offset index of a file's own pages and of the new pages. A new chunk has one if the chunk that it replaces had one.
fn offset_index<'a>(
    own: &dyn PageIndexProvider,
    groups: usize,
    columns: usize,
    find: impl Fn(usize, usize) -> Option<&'a NewChunk>,
) -> Arc<dyn PageIndexProvider> {
    let mut index = PageIndexBuilder::new(groups, columns);
    let places = (0..groups).flat_map(|group| (0..columns).map(move |leaf| (group, leaf)));
    for (group, leaf) in places {
        let Some(pages) = own.offset_index(group, leaf) else {
            continue;
        };
        let pages = match find(group, leaf) {
            None => pages.clone(),
            Some(chunk) => {
                let mut pages = OffsetIndexBuilder::new();
                for page in &chunk.pages {
                    pages.append_row_count(page.rows as i64);
                    pages.append_offset_and_size(page.start as i64, page.bytes as i32);
                }
                pages.build()
            }
        };
        index.put_offset_index(pages, group, leaf);
    }
    Arc::new(index.build())
}

/// Keeps what is written after the first `skip` bytes.
struct Appended {
    skip: u64,
    bytes: Vec<u8>,
}

impl Write for Appended {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        self.bytes.extend_from_slice(&bytes[skipped as usize..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
