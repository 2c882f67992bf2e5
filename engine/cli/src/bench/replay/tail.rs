//! What a replay appends to a file: the pages of new columns, and a footer that names them in place of the file's own.
//!
//! ```text
//! the file as it is | pages of object_id | pages of z_spec | offset index | footer
//!                   ^ start                                ^ footer_start
//! ```
//! Only the footer is kept in memory. Pages are made when they are read.
use std::{collections::HashMap, ops::Range};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::metadata::{ParquetMetaData, RowGroupMetaData},
};

use super::{
    footer::{NewChunk, NewChunks, NewPage, new_footer},
    new_column::NewColumn,
};

/// The number of rows of a page, at most.
const PAGE_ROWS: u64 = 20_000;

/// Bytes that are appended to a file.
#[derive(Debug)]
pub struct Tail {
    columns: Vec<NewColumn>,
    /// In the order in which they lie.
    pages: Vec<Page>,
    footer_start: u64,
    footer: Bytes,
}

/// A page that is made when it is read.
#[derive(Debug)]
struct Page {
    column: usize,
    /// The place of its first row in the file.
    first_row: u64,
    page: NewPage,
}

impl Tail {
    /// Lays out the tail of a file of `start` bytes with this footer.
    ///
    /// # Errors
    /// Those of Parquet's writer.
    pub fn new(
        own: &ParquetMetaData,
        start: u64,
        columns: Vec<NewColumn>,
    ) -> Result<Self, ParquetError> {
        let (mut pages, mut chunks, mut at) = (Vec::new(), Vec::new(), start);
        for (number, column) in columns.iter().enumerate() {
            let (mut groups, mut sizes, mut first_row) = (Vec::new(), HashMap::new(), 0);
            for rows in own.row_groups().iter().map(rows_of) {
                let of_group = pages_of(column, rows, at, &mut sizes)?;
                let end = of_group.last().map_or(at, |page| page.start + page.bytes);
                for page in &of_group {
                    pages.push(Page {
                        column: number,
                        first_row,
                        page: *page,
                    });
                    first_row += page.rows;
                }
                groups.push(NewChunk {
                    range: at..end,
                    pages: of_group,
                });
                at = end;
            }
            chunks.push(NewChunks {
                leaf: column.leaf,
                groups,
            });
        }
        Ok(Self {
            columns,
            pages,
            footer_start: at,
            footer: new_footer(own, &chunks, at)?,
        })
    }

    /// The size of the file with its tail.
    pub fn end(&self) -> u64 {
        self.footer_start + self.footer.len() as u64
    }

    /// The memory that the tail takes.
    pub fn memory_bytes(&self) -> usize {
        self.footer.len() + self.pages.len() * size_of::<Page>()
    }

    /// The bytes of a range of the tail, in pieces. The first row of the file has the id `first_id`.
    ///
    /// # Errors
    /// Those of Parquet's writer.
    pub fn read(&self, range: Range<u64>, first_id: u64) -> Result<Vec<Bytes>, ParquetError> {
        let first = self
            .pages
            .partition_point(|page| page.page.start + page.page.bytes <= range.start);
        let mut pieces = Vec::new();
        for Page {
            column,
            first_row,
            page,
        } in &self.pages[first..]
        {
            if page.start >= range.end {
                break;
            }
            let made = self.columns[*column].page(first_id + first_row, page.rows as usize)?;
            if made.len() as u64 != page.bytes {
                let (found, expected) = (made.len(), page.bytes);
                let reason = format!("a page of {found} bytes in place of {expected}");
                return Err(ParquetError::General(reason));
            }
            pieces.push(within(&made, page.start, &range));
        }
        pieces.push(within(&self.footer, self.footer_start, &range));
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    group.num_rows().max(0) as u64
}

/// The pages of a column in a row group of `rows` rows, which lie at `start`. `sizes` has those of pages by their rows.
fn pages_of(
    column: &NewColumn,
    rows: u64,
    mut start: u64,
    sizes: &mut HashMap<u64, u64>,
) -> Result<Vec<NewPage>, ParquetError> {
    let firsts = (0..rows).step_by(PAGE_ROWS as usize);
    let pages = firsts.map(|first| {
        let rows = PAGE_ROWS.min(rows - first);
        let bytes = match sizes.get(&rows) {
            Some(&bytes) => bytes,
            None => column.page(0, rows as usize)?.len() as u64,
        };
        sizes.insert(rows, bytes);
        let page = NewPage { start, bytes, rows };
        start += bytes;
        Ok(page)
    });
    pages.collect()
}

/// The part of some bytes, which begin at `start`, that lies in a range.
fn within(bytes: &Bytes, start: u64, range: &Range<u64>) -> Bytes {
    let end = start + bytes.len() as u64;
    let first = range.start.clamp(start, end);
    let last = range.end.clamp(first, end);
    bytes.slice((first - start) as usize..(last - start) as usize)
}
