//! Fetches byte ranges of an object, and makes sure that the object has not changed since its drop was listed.
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

/// Ranges with a smaller gap are fetched together, because a request costs more than the bytes of the gap.
const GAP_BYTES: u64 = 128 << 10;
/// Ranges with a gap smaller than this are also fetched together if the gap is no larger than the wanted bytes.
const GAP_BYTES_MAX: u64 = 1 << 20;
/// Longer ranges are fetched in several requests at once.
const REQUEST_BYTES_MAX: u64 = 16 << 20;
/// The number of concurrent long requests of one split.
const REQUESTS_MAX: usize = 4;
/// The number of concurrent short requests of one split. A short request is mostly waiting.
const SHORT_REQUESTS_MAX: usize = 16;
/// The number of bytes that are fetched at a time if pages are found one after another.
const BLOCK_BYTES: u64 = 2 << 20;
/// Upper bound on the size of a page header.
const HEADER_BYTES: u64 = 64 << 10;
/// The number of blocks that such a stream keeps, because columns are read in turn.
const BLOCKS_KEPT: usize = 4;
/// Upper bound on the bytes that such a stream keeps.
pub const STREAM_BYTES: u64 = BLOCK_BYTES * BLOCKS_KEPT as u64;

/// Reads one object of a drop. Each answer must be complete, and must come from the object as it was listed.
#[derive(Clone, Debug)]
pub struct ObjectReader {
    location: Location,
    path: Path,
    object: ObjectRef,
}

impl ObjectReader {
    /// Makes a reader for an object of a catalog.
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
    /// [`Error::Changed`] if the object has changed, [`Error::Store`] if the answer is cut short.
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
        // Some stores ignore If-Match, or write the same ETag in different ways. So the ETag of the answer is compared.
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

    /// Fetches ranges that [`coalesce`] has joined, several at once. The blocks come back in order and do not overlap.
    ///
    /// # Errors
    /// The errors of [`ObjectReader::get`].
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

    /// The bytes of each range, in the order of `ranges`.
    ///
    /// # Errors
    /// The errors of [`ObjectReader::get`].
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

    /// Fetches one block. A long block takes several requests.
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

/// Sorts ranges, and joins ranges that touch or have small gaps.
pub fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    // The wanted bytes of the last joined range, without its gaps.
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

/// The largest gap that is fetched between `wanted` bytes and the next `length` bytes.
fn gap_bytes(wanted: u64, length: u64) -> u64 {
    wanted.min(length).clamp(GAP_BYTES, GAP_BYTES_MAX)
}

/// The error of the store that ended a decoder. The decoder itself keeps only the text of the error.
pub type Failure = Arc<Mutex<Option<Error>>>;

/// Gives a decoder the bytes that it asks for. They are fetched ahead, or block by block while it goes through the pages.
pub struct SplitBytes {
    reader: ObjectReader,
    ahead: Vec<(u64, Bytes)>,
    runtime: Handle,
    blocks: Mutex<VecDeque<(u64, Bytes)>>,
    pages: Arc<Mutex<Pages>>,
    failure: Failure,
}

impl SplitBytes {
    /// `ahead` are the bytes that were fetched already. Other bytes are fetched by blocking on `runtime`. `pages` checks each
    /// page. An error of the store or of a page is put into `failure`.
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

    /// The bytes from `start` to the end of its block, or `None` unless `length` bytes were fetched ahead.
    fn ahead(&self, start: u64, length: u64) -> Option<Bytes> {
        let after = self.ahead.partition_point(|(first, _)| *first <= start);
        let block = self.ahead.get(after.checked_sub(1)?)?;
        slice_from(block, start, length)
    }

    /// Checks the bytes from `start` on before a decoder sees them. If a page does not say how many nulls it has, the number
    /// is set to 0, which decoders accept. `is_page` means that the bytes are one page, and not the rest of a block.
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

    /// The bytes from `start` on, at least `length` bytes. They are fetched unless a recent block has them.
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

/// The bytes of a block from `start` on, or `None` if there are fewer than `length` bytes.
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
