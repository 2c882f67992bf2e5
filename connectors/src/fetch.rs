//! Byte ranges of one object, as it was when its drop was listed.
use std::{
    collections::VecDeque,
    io::Cursor,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::BoxFuture};
use object_store::{GetOptions, GetRange, path::Path};
use parquet::{
    arrow::async_reader::MetadataFetch,
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
    },
};
use tokio::runtime::Handle;

use crate::{
    Error, Location,
    etag::{differ, version},
    split::ObjectRef,
};

/// Ranges closer than this are fetched as one: a request costs more than the bytes between them.
const GAP_BYTES_MAX: u64 = 1 << 20;
/// A longer range is fetched in several requests at once.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// Requests of one split that are out at once.
const REQUESTS_MAX: usize = 4;
/// Footers are read with one request where they are no longer than this.
pub const FOOTER_BYTES: usize = 64 << 10;
/// What is fetched at a time where pages are found one after another.
const BLOCK_BYTES: u64 = 2 << 20;
/// A page's header is shorter than this.
const HEADER_BYTES: u64 = 64 << 10;
/// Blocks kept of such a stream: columns are read in turn.
const BLOCKS_KEPT: usize = 4;
/// What a stream of pages holds.
pub const STREAM_BYTES: u64 = BLOCK_BYTES * BLOCKS_KEPT as u64;

/// One object of a drop. Every answer is checked to come from the object that was listed, and to be whole.
#[derive(Clone, Debug)]
pub struct ObjectReader {
    location: Location,
    path: Path,
    object: ObjectRef,
}

impl ObjectReader {
    /// The object at its place below the catalog.
    ///
    /// # Errors
    /// [`Error::Url`] where its path is none.
    pub fn new(catalog: &Location, object: &ObjectRef) -> Result<Self, Error> {
        Ok(Self {
            location: catalog.clone(),
            path: catalog.path(&object.path)?,
            object: object.clone(),
        })
    }

    /// What messages call the object.
    pub fn name(&self) -> String {
        self.location.url_of(&self.object.path)
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// [`Error::Changed`] where the object is another by now, [`Error::Store`] where the answer is cut short.
    pub async fn get(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            ..Default::default()
        };
        let fail = |source| Error::store(self.name(), source);
        let answer = self
            .location
            .store
            .get_opts(&self.path, options)
            .await
            .map_err(fail)?;
        // Not every store heeds If-Match, or writes an ETag the same way everywhere: the answer's own is compared.
        let is_other = |listed: &String| differ(listed, &version(&answer.meta));
        if answer.meta.size != self.object.bytes || self.object.etag.as_ref().is_some_and(is_other)
        {
            return Err(Error::Changed {
                object: self.name(),
            });
        }
        let bytes = answer.bytes().await.map_err(fail)?;
        if bytes.len() as u64 != range.end - range.start {
            let reason = format!(
                "answered {} bytes of {}",
                bytes.len(),
                range.end - range.start
            );
            return Err(fail(object_store::Error::Generic {
                store: "object",
                source: reason.into(),
            }));
        }
        Ok(bytes)
    }

    /// Fetches ranges in few large requests, several at once; the blocks come back in order and without overlap.
    ///
    /// # Errors
    /// As [`ObjectReader::get`].
    pub async fn get_all(&self, ranges: Vec<Range<u64>>) -> Result<Vec<(u64, Bytes)>, Error> {
        let requests: Vec<_> = coalesce(ranges)
            .into_iter()
            .map(|range| self.get_large(range))
            .collect();
        futures::stream::iter(requests)
            .buffered(REQUESTS_MAX)
            .try_collect()
            .await
    }

    /// The bytes of each range, in the order they were asked for.
    ///
    /// # Errors
    /// As [`ObjectReader::get`].
    pub async fn get_each(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, Error> {
        let blocks = self.get_all(ranges.clone()).await?;
        let bytes_of = |range: Range<u64>| {
            let length = range.end - range.start;
            let found = blocks
                .iter()
                .find_map(|block| slice_from(block, range.start, length));
            found.map_or_else(Bytes::new, |bytes| bytes.slice(..length as usize))
        };
        Ok(ranges.into_iter().map(bytes_of).collect())
    }

    /// The footer, read with one request where it is short, without the page index.
    ///
    /// # Errors
    /// The store's, wrapped, or the decoder's.
    pub async fn footer(&self) -> ParquetResult<ParquetMetaData> {
        ParquetMetaDataReader::new()
            .with_prefetch_hint(Some(FOOTER_BYTES))
            .with_page_index_policy(PageIndexPolicy::Skip)
            .load_and_finish(self, self.object.bytes)
            .await
    }

    /// One contiguous block, in several requests where it is long.
    async fn get_large(&self, range: Range<u64>) -> Result<(u64, Bytes), Error> {
        if range.end - range.start <= REQUEST_BYTES_MAX {
            return Ok((range.start, self.get(range).await?));
        }
        let starts = (range.start..range.end).step_by(REQUEST_BYTES_MAX as usize);
        let requests: Vec<_> = starts
            .map(|start| self.get(start..(start + REQUEST_BYTES_MAX).min(range.end)))
            .collect();
        let mut block = Vec::with_capacity((range.end - range.start) as usize);
        let mut answers = futures::stream::iter(requests).buffered(REQUESTS_MAX);
        while let Some(bytes) = answers.try_next().await? {
            block.extend_from_slice(&bytes);
        }
        Ok((range.start, block.into()))
    }
}

/// Sorts ranges and joins those that touch or nearly do.
fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + GAP_BYTES_MAX => {
                last.end = last.end.max(range.end)
            }
            _ => joined.push(range),
        }
    }
    joined
}

impl MetadataFetch for &ObjectReader {
    fn fetch(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        Box::pin(async move {
            self.get(range)
                .await
                .map_err(|error| ParquetError::External(Box::new(error)))
        })
    }
}

/// The store's error that ended a decoder, which keeps but its text.
pub type Failure = Arc<Mutex<Option<Error>>>;

/// The bytes that a decoder asks for: fetched ahead, or block by block as it walks through the pages.
pub struct SplitBytes {
    reader: ObjectReader,
    ahead: Vec<(u64, Bytes)>,
    runtime: Handle,
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
    failure: Failure,
}

impl SplitBytes {
    /// `ahead` is what was fetched already; what lies elsewhere is fetched by blocking on `runtime`.
    /// A failure of the store is left in `failure`.
    pub fn new(
        reader: ObjectReader,
        ahead: Vec<(u64, Bytes)>,
        runtime: Handle,
        failure: Failure,
    ) -> Self {
        let blocks = Mutex::default();
        Self {
            reader,
            ahead,
            runtime,
            blocks,
            failure,
        }
    }

    /// The bytes from `start` to the end of the block that was fetched ahead, where `length` of them were.
    fn ahead(&self, start: u64, length: u64) -> Option<Bytes> {
        self.ahead
            .iter()
            .find_map(|block| slice_from(block, start, length))
    }

    /// The bytes from `start` on, at least `length` of them, fetched now unless a recent block holds them.
    fn on_demand(&self, start: u64, length: u64) -> ParquetResult<Bytes> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = blocks
            .iter()
            .find_map(|block| slice_from(block, start, length))
        {
            return Ok(bytes);
        }
        let end = (start + length.max(BLOCK_BYTES)).min(self.reader.object.bytes);
        if start + length > end {
            return Err(ParquetError::EOF(format!(
                "bytes {start}..{} of an object of {end}",
                start + length
            )));
        }
        let fetched = self.runtime.block_on(self.reader.get(start..end));
        let bytes = fetched.map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            ParquetError::General(text)
        })?;
        blocks.push_back((start, bytes.clone()));
        if blocks.len() > BLOCKS_KEPT {
            blocks.pop_front();
        }
        Ok(bytes)
    }
}

/// What a block holds from `start` on, where that is `length` bytes at least.
fn slice_from((first, bytes): &(u64, Bytes), start: u64, length: u64) -> Option<Bytes> {
    let offset = start.checked_sub(*first)?;
    (offset + length <= bytes.len() as u64).then(|| bytes.slice(offset as usize..))
}

impl Length for SplitBytes {
    fn len(&self) -> u64 {
        self.reader.object.bytes
    }
}

impl ChunkReader for SplitBytes {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let header = HEADER_BYTES.min(self.len().saturating_sub(start));
        self.ahead(start, 1)
            .map_or_else(|| self.on_demand(start, header), Ok)
            .map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let length = length as u64;
        let bytes = self
            .ahead(start, length)
            .map_or_else(|| self.on_demand(start, length), Ok)?;
        Ok(bytes.slice(..length as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::coalesce;

    #[test]
    fn near_ranges_are_one_request() {
        assert_eq!(
            coalesce(vec![9_000_000..9_000_010, 100..200, 0..50, 5..5]),
            [0..200, 9_000_000..9_000_010]
        );
    }
}
