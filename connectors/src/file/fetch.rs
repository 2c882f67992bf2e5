//! Byte ranges of one object, as it was when its drop was listed.
use std::{
    collections::VecDeque,
    io::Cursor,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, path::Path};
use parquet::{
    errors::{ParquetError, Result as ParquetResult},
    file::reader::{ChunkReader, Length},
};
use tokio::runtime::Handle;

use crate::{
    Error, Location,
    file::pages::Pages,
    store::{
        etag::{differ, version},
        object_ref::ObjectRef,
    },
};

/// Ranges closer than this are fetched as one: a request costs more than the bytes between them.
const GAP_BYTES: u64 = 128 << 10;
/// So are ranges closer than this, where the bytes between them are no more than those that are wanted.
const GAP_BYTES_MAX: u64 = 1 << 20;
/// A longer range is fetched in several requests at once.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// Long requests of one split that are out at once.
const REQUESTS_MAX: usize = 4;
/// Short requests of one split that are out at once: each is a wait and little else.
const SHORT_REQUESTS_MAX: usize = 16;
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
    /// [`Error::Url`] if its path is not valid.
    pub fn new(catalog: &Location, object: &ObjectRef) -> Result<Self, Error> {
        Ok(Self {
            location: catalog.clone(),
            path: catalog.path(&object.path)?,
            object: object.clone(),
        })
    }

    /// The URL of the object, for messages.
    pub fn name(&self) -> String {
        self.location.url_of(&self.object.path)
    }

    /// The size of the object as it was listed.
    pub fn bytes(&self) -> u64 {
        self.object.bytes
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

    /// Fetches ranges that [`coalesce`] has joined, several at once; the blocks come back in order and without overlap.
    ///
    /// # Errors
    /// As [`ObjectReader::get`].
    pub async fn get_joined(&self, joined: Vec<Range<u64>>) -> Result<Vec<(u64, Bytes)>, Error> {
        let is_short = |range: &Range<u64>| range.end - range.start <= GAP_BYTES_MAX;
        let at_once = match joined.iter().all(is_short) {
            true => SHORT_REQUESTS_MAX,
            false => REQUESTS_MAX,
        };
        let requests: Vec<_> = joined
            .into_iter()
            .map(|range| self.get_large(range))
            .collect();
        futures::stream::iter(requests)
            .buffered(at_once)
            .try_collect()
            .await
    }

    /// The bytes of each range, in the order they were asked for.
    ///
    /// # Errors
    /// As [`ObjectReader::get`].
    pub async fn get_each(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, Error> {
        let blocks = self.get_joined(coalesce(ranges.clone())).await?;
        let bytes_of = |range: Range<u64>| {
            let length = range.end - range.start;
            let found = blocks
                .iter()
                .find_map(|block| slice_from(block, range.start, length));
            found.map_or_else(Bytes::new, |bytes| bytes.slice(..length as usize))
        };
        Ok(ranges.into_iter().map(bytes_of).collect())
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

/// Sorts ranges and joins those that touch, and those that are nearer to each other than a request is worth.
pub fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    // Of the last range, the bytes that are not between two that are wanted.
    let mut wanted = 0;
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        let length = range.end - range.start;
        match joined.last_mut() {
            Some(last) if range.start <= last.end + gap_bytes(wanted, length) => {
                wanted += range.end.saturating_sub(last.end.max(range.start));
                last.end = last.end.max(range.end);
            }
            _ => {
                wanted = length;
                joined.push(range);
            }
        }
    }
    joined
}

/// The bytes that may lie between what is `wanted` so far and the next `length` bytes, to be fetched with them.
fn gap_bytes(wanted: u64, length: u64) -> u64 {
    wanted.min(length).clamp(GAP_BYTES, GAP_BYTES_MAX)
}

/// The store's error that ended a decoder, which keeps but its text.
pub type Failure = Arc<Mutex<Option<Error>>>;

/// The bytes that a decoder asks for: fetched ahead, or block by block as it walks through the pages.
pub struct SplitBytes {
    reader: ObjectReader,
    ahead: Vec<(u64, Bytes)>,
    runtime: Handle,
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
    pages: Arc<Mutex<Pages>>,
    failure: Failure,
}

impl SplitBytes {
    /// `ahead` is what was fetched already; what lies elsewhere is fetched by blocking on `runtime`. Each page is looked at
    /// with `pages`. A failure of the store, or of a page, is left in `failure`.
    pub fn new(
        reader: ObjectReader,
        ahead: Vec<(u64, Bytes)>,
        runtime: Handle,
        pages: Arc<Mutex<Pages>>,
        failure: Failure,
    ) -> Self {
        let blocks = Mutex::default();
        Self {
            reader,
            ahead,
            runtime,
            blocks,
            pages,
            failure,
        }
    }

    /// The bytes from `start` to the end of the block that was fetched ahead, where `length` of them were.
    fn ahead(&self, start: u64, length: u64) -> Option<Bytes> {
        let after = self.ahead.partition_point(|(first, _)| *first <= start);
        let block = self.ahead.get(after.checked_sub(1)?)?;
        slice_from(block, start, length)
    }

    /// What a decoder is to see of the bytes from `start` on: of a page that does not know its nulls, that it has none,
    /// which a decoder takes for "at most". `is_page` says that the bytes are one page, and not all to the end of a block.
    fn looked_at(&self, start: u64, bytes: Bytes, is_page: bool) -> ParquetResult<Bytes> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        match pages.look(start, &bytes) {
            Ok(None) => Ok(bytes),
            Ok(Some(nulls)) => {
                let end = if is_page {
                    bytes.len()
                } else {
                    nulls.header_bytes
                };
                let mut copy = bytes[..end].to_vec();
                copy[nulls.place] = 0;
                Ok(copy.into())
            }
            Err(refusal) => {
                let error = refusal.of(&self.reader.name());
                let text = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(ParquetError::General(text))
            }
        }
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
        let end = start.saturating_add(length.max(BLOCK_BYTES));
        let end = end.min(self.reader.object.bytes);
        if start.saturating_add(length) > end {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} of an object of {end}"
            )));
        }
        let fetched = self.runtime.block_on(self.reader.get(start..end));
        let bytes = fetched.map_err(|error| {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            ParquetError::General(text)
        })?;
        blocks.push_back((start, bytes.clone()));
        let held = |blocks: &VecDeque<(u64, Bytes)>| {
            let bytes = blocks.iter().map(|(_, bytes)| bytes.len() as u64);
            bytes.sum::<u64>()
        };
        while blocks.len() > 1 && (blocks.len() > BLOCKS_KEPT || held(&blocks) > STREAM_BYTES) {
            blocks.pop_front();
        }
        Ok(bytes)
    }
}

/// What a block holds from `start` on, where that is `length` bytes at least.
fn slice_from((first, bytes): &(u64, Bytes), start: u64, length: u64) -> Option<Bytes> {
    let offset = start.checked_sub(*first)?;
    let end = offset.checked_add(length)?;
    (end <= bytes.len() as u64).then(|| bytes.slice(offset as usize..))
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
        let bytes = self
            .ahead(start, 1)
            .map_or_else(|| self.on_demand(start, header), Ok)?;
        self.looked_at(start, bytes, false).map(Cursor::new)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let length = length as u64;
        let bytes = self
            .ahead(start, length)
            .map_or_else(|| self.on_demand(start, length), Ok)?;
        self.looked_at(start, bytes.slice(..length as usize), true)
    }
}

#[cfg(test)]
mod tests {
    use super::coalesce;

    #[test]
    fn ranges_are_joined_where_that_costs_less_than_a_request() {
        let (kib, mib) = (1 << 10, 1 << 20);
        // Small columns of many row groups, with large ones between them.
        let small = |group: u64| group * 800 * kib..group * 800 * kib + 2 * kib;
        let ranges: Vec<_> = (0..50).map(small).collect();
        assert_eq!(coalesce(ranges.clone()), ranges);
        // A small column between large ones is worth no request.
        let joined = coalesce(vec![0..4 * mib, 4 * mib + 900 * kib..9 * mib]);
        assert_eq!(joined, std::slice::from_ref(&(0..9 * mib)));
    }

    #[test]
    fn near_ranges_are_one_request() {
        assert_eq!(
            coalesce(vec![9_000_000..9_000_010, 100..200, 0..50, 5..5]),
            [0..200, 9_000_000..9_000_010]
        );
    }
}
