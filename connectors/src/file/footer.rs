//! Reads footers and page indexes. They are checked before they are decoded: their counts must fit their bytes.
use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use parquet::{
    arrow::async_reader::MetadataFetch,
    errors::{ParquetError, Result},
    file::{
        FOOTER_SIZE,
        metadata::{
            ColumnChunkMetaData, FooterTail, PageIndexPolicy, ParquetMetaData,
            ParquetMetaDataReader, RowGroupMetaData,
        },
        page_index::offset_index::PageLocation,
    },
};

use tokio::sync::Semaphore;

use crate::file::{
    fetch::ObjectReader,
    thrift::{Event, walk},
};

/// Footers up to this size are read with one request.
const TAIL_BYTES: u64 = 64 << 10;
/// Upper bound on the size of a footer, and of a page index. Decoded, they are about ten times as large.
const METADATA_BYTES_MAX: u64 = 32 << 20;

/// A larger footer is decoded alone, because many large footers at once take too much memory.
const LARGE_BYTES: u64 = 1 << 20;

static LARGE: Semaphore = Semaphore::const_new(1);

/// Bytes of an object that were fetched and checked. A decoder can read no other bytes.
struct Checked {
    start: u64,
    bytes: Bytes,
}

impl MetadataFetch for &Checked {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        let offset = range.start.checked_sub(self.start);
        let within = offset.filter(|_| range.end <= self.start + self.bytes.len() as u64);
        let bytes = within.map(|offset| {
            let offset = offset as usize;
            self.bytes
                .slice(offset..offset + (range.end - range.start) as usize)
        });
        let missing = || ParquetError::EOF("its footer points beyond its end".to_owned());
        std::future::ready(bytes.ok_or_else(missing)).boxed()
    }
}

impl ObjectReader {
    /// The footer without the page index. A short footer is read with one request.
    ///
    /// # Errors
    /// Errors of the store, wrapped, or errors of the decoder.
    pub async fn footer(&self) -> Result<ParquetMetaData> {
        read(self, self.bytes(), false).await
    }
}

/// Reads the footer of an object of `bytes` bytes. If `indexed`, adds the offset index of its pages. A damaged index is
/// left out, and pages are then found one after another.
///
/// # Errors
/// Errors of the store, wrapped, or a message that says what is wrong with the footer.
pub async fn read(object: &ObjectReader, bytes: u64, indexed: bool) -> Result<ParquetMetaData> {
    let mut tail = fetch_tail(object, bytes).await?;
    let footer_bytes = footer_bytes(&tail, bytes)?;
    // The semaphore is never closed, so a permit always comes.
    let _alone = match footer_bytes > LARGE_BYTES {
        true => LARGE.acquire().await.ok(),
        false => None,
    };
    if footer_bytes > tail.bytes.len() as u64 {
        let start = bytes - footer_bytes;
        tail = Checked {
            start,
            bytes: fetch(object, start..bytes).await?,
        };
    }
    check_schema(&tail.bytes[tail.bytes.len() - footer_bytes as usize..])?;
    let footer = ParquetMetaDataReader::new()
        .with_prefetch_hint(Some(tail.bytes.len()))
        .with_page_index_policy(PageIndexPolicy::Skip)
        .load_and_finish(&tail, bytes)
        .await?;
    if indexed {
        return with_offset_index(object, footer, tail).await;
    }
    Ok(footer)
}

async fn fetch_tail(object: &ObjectReader, bytes: u64) -> Result<Checked> {
    if bytes < FOOTER_SIZE as u64 {
        let said = format!("an object of {bytes} bytes is too short for Parquet");
        return Err(ParquetError::EOF(said));
    }
    let start = bytes.saturating_sub(TAIL_BYTES);
    let bytes = fetch(object, start..bytes).await?;
    Ok(Checked { start, bytes })
}

/// The size of the footer and of the bytes after it, in an object of `bytes` bytes.
fn footer_bytes(tail: &Checked, bytes: u64) -> Result<u64> {
    let last = tail.bytes[tail.bytes.len() - FOOTER_SIZE..].try_into();
    let last = FooterTail::try_new(last.map_err(|_| refused("it is cut short"))?)?;
    let footer_bytes = last.metadata_length() as u64 + FOOTER_SIZE as u64;
    if footer_bytes > bytes {
        return Err(refused("its footer is longer than the file"));
    }
    if footer_bytes > METADATA_BYTES_MAX {
        return Err(ParquetError::General(format!(
            "its footer has {footer_bytes} bytes, more than {METADATA_BYTES_MAX}; write it with larger row groups or fewer columns"
        )));
    }
    Ok(footer_bytes)
}

async fn fetch(object: &ObjectReader, range: Range<u64>) -> Result<Bytes> {
    let fetched = object.get(range).await;
    fetched.map_err(|error| ParquetError::External(Box::new(error)))
}

fn refused(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}

/// Makes sure that the groups of a schema have no more children than there are columns and groups. Decoders allocate
/// memory for the numbers in the footer.
fn check_schema(footer: &[u8]) -> Result<()> {
    let (mut elements, mut children) = (0_u64, 0_i64);
    let walked = walk(footer, |path, event| match (path, event) {
        ([2], Event::List(size)) => elements = size,
        ([2, 5], Event::Int(count, _)) => {
            children = children.saturating_add(if count < 0 { i64::MAX } else { count });
        }
        _ => {}
    });
    if walked.is_none() {
        return Err(refused("its footer is damaged"));
    }
    match u64::try_from(children) {
        Ok(children) if children < elements.max(1) => Ok(()),
        _ => Err(refused("its footer promises columns that are not in it")),
    }
}

/// Adds the offset index. It is fetched unless the tail has it.
async fn with_offset_index(
    object: &ObjectReader,
    footer: ParquetMetaData,
    tail: Checked,
) -> Result<ParquetMetaData> {
    let chunks = footer.row_groups().iter().flat_map(|group| group.columns());
    let ranges: Vec<Range<u64>> = chunks.filter_map(offset_index).collect();
    let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let file_end = tail.start + tail.bytes.len() as u64;
    if start >= end || end > file_end || end - start > METADATA_BYTES_MAX {
        return Ok(footer);
    }
    let checked = if start >= tail.start {
        tail
    } else {
        Checked {
            start,
            bytes: fetch(object, start..end).await?,
        }
    };
    let sound = |range: &Range<u64>| {
        let offset = |place: u64| (place - checked.start) as usize;
        walk(
            &checked.bytes[offset(range.start)..offset(range.end)],
            |_, _| {},
        )
        .is_some()
    };
    if !ranges.iter().all(sound) {
        return Ok(footer);
    }
    let mut reader = ParquetMetaDataReader::new_with_metadata(footer.clone())
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    match reader.load_page_index(&checked).await {
        Ok(()) => reader.finish(),
        Err(_damaged) => Ok(footer),
    }
}

fn offset_index(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let range = chunk.offset_index_range()?;
    (range.start < range.end).then_some(range)
}

/// Whether the offset index of these leaf columns agrees with the footer: the pages follow each other to the end of the
/// column chunk, and the numbers of their first rows rise from 0.
pub fn is_index_sound(footer: &ParquetMetaData, leaves: &[usize]) -> bool {
    (0..footer.num_row_groups()).all(|group| {
        let index = footer.page_index_for_row_group(group);
        let row_group = footer.row_group(group);
        leaves.iter().all(|&leaf| {
            let pages = index.page_locations(leaf);
            pages.is_none_or(|pages| fit(pages, row_group, row_group.column(leaf)))
        })
    })
}

fn fit(pages: &[PageLocation], group: &RowGroupMetaData, chunk: &ColumnChunkMetaData) -> bool {
    let (start, bytes) = chunk.byte_range();
    let (Ok(start), Ok(end)) = (i64::try_from(start), i64::try_from(start + bytes)) else {
        return false;
    };
    let Some(first) = pages.first() else {
        return group.num_rows() == 0;
    };
    let follow = |two: &[PageLocation]| {
        let end = two[0].offset + i64::from(two[0].compressed_page_size);
        end == two[1].offset && two[0].first_row_index < two[1].first_row_index
    };
    let last = &pages[pages.len() - 1];
    let inside =
        |page: &PageLocation| page.compressed_page_size > 0 && (start..end).contains(&page.offset);
    pages.iter().all(inside)
        && pages.windows(2).all(follow)
        && first.first_row_index == 0
        && (first.offset == start || first.offset == chunk.data_page_offset())
        && last.first_row_index < group.num_rows()
        && last.offset + i64::from(last.compressed_page_size) == end
}

/// The start of each page of a column chunk, and its number of rows according to the index.
pub fn page_rows(pages: &[PageLocation], group_rows: u64) -> Vec<(u64, u64)> {
    let ends = pages.iter().skip(1).map(|page| page.first_row_index as u64);
    let ends = ends.chain(std::iter::once(group_rows));
    let rows = pages
        .iter()
        .zip(ends)
        .map(|(page, end)| (page.offset as u64, end - page.first_row_index as u64));
    rows.collect()
}

/// Removes the page index of a footer.
pub fn without_index(footer: ParquetMetaData) -> Arc<ParquetMetaData> {
    Arc::new(footer.into_builder().set_page_index(None).build())
}
