//! Stores checkpoints in an output, and finds and removes them.
use std::ops::Range;

use arrow::error::ArrowError;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::format::{self, HEAD_AT, Head, SplitResult};
use crate::{
    Error, Output,
    ledger::entry::checksum,
    part::{Piece, codec::CompressedPieces},
    paths::{self, CHECKPOINTS},
};

/// The bytes of a checkpoint that are read first. They hold the heads of most checkpoints.
const FIRST_BYTES: u64 = 64 << 10;
/// Upper bound on concurrent requests.
const REQUESTS_AT_ONCE: usize = 16;

/// The digest of the model, the settings and the version of the engine.
pub fn digest(depends_on: &serde_json::Value) -> String {
    let mut digest = checksum(depends_on.to_string().as_bytes());
    digest.truncate(paths::DIGEST_DIGITS);
    digest
}

/// The checkpoints of an output whose results one job may adopt.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    pub(super) output: Output,
    pub(super) digest: String,
    model_id: String,
}

/// A stored checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its path below the output.
    pub(super) path: String,
    pub(super) head: Head,
    /// Where its segments begin.
    pub(super) segments_at: u64,
}

/// The rows of one part in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredPart {
    /// The part.
    pub part: u32,
    path: String,
    start: u64,
    end: u64,
    xxh3: u64,
}

impl Checkpoint {
    /// The rows of each part.
    pub fn parts(&self) -> impl Iterator<Item = StoredPart> {
        let parts = self.head.ranges();
        parts.map(|(segment, range)| StoredPart {
            part: segment.part,
            path: self.path.clone(),
            start: self.segments_at + range.start,
            end: self.segments_at + range.end,
            xxh3: segment.xxh3,
        })
    }

    /// Bytes of its rows in memory.
    pub fn decoded_bytes(&self) -> u64 {
        let segments = self.head.segments.iter();
        segments.map(|segment| segment.decoded_bytes).sum()
    }

    /// The whole id of the model that predicted its rows.
    pub fn model_id(&self) -> &str {
        &self.head.model_id
    }

    /// The digest of the model, the settings and the version of the engine.
    pub fn digest(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        paths::parse_checkpoint(name).map_or("", |(_, digest)| digest)
    }
}

/// The checkpoints of a drop.
#[derive(Debug)]
pub struct Found {
    /// Those that the job may adopt.
    pub adoptable: Vec<Checkpoint>,
    /// Whether the drop has any checkpoint, also of other settings.
    pub has_any: bool,
}

/// An encoded checkpoint on its way to the store.
#[derive(Debug)]
pub struct Encoded {
    head: Head,
    bytes: Bytes,
    path: String,
}

impl Checkpoints {
    /// The checkpoints in `output` that were made by this model with the settings of `digest`.
    pub fn new(output: Output, model_id: &str, digest: String) -> Self {
        Self {
            output,
            digest,
            model_id: model_id.to_owned(),
        }
    }

    /// Encodes results of one attempt at a drop; `number` tells apart the checkpoints of the attempt. `None` if there are
    /// no results.
    ///
    /// # Errors
    /// If Arrow cannot write a column as IPC.
    pub fn encode(
        &self,
        results: &[SplitResult],
        number: &str,
    ) -> Result<Option<Encoded>, ArrowError> {
        let Some(SplitResult { split, .. }) = results.first() else {
            return Ok(None);
        };
        let (drop, began, attempt) = (&split.drop, split.began, &split.attempt);
        let path = paths::checkpoint(drop, began, &self.digest, attempt, number);
        let (head, bytes) = format::encode(results, &self.model_id)?;
        let bytes = bytes.into();
        Ok(Some(Encoded { head, bytes, path }))
    }

    /// Stores a checkpoint.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn put(&self, encoded: Encoded) -> Result<Checkpoint, Error> {
        let Encoded { head, bytes, path } = encoded;
        let location = &self.output.location;
        let segments_at = bytes.len() as u64 - head.segment_bytes();
        let name = location.path(&path)?;
        let put = location.store.put(&name, bytes.into()).await;
        put.map_err(|source| Error::store(location.url_of(&path), source))?;
        Ok(Checkpoint {
            path,
            head,
            segments_at,
        })
    }

    /// Finds the checkpoints of a drop. Those that are damaged are left out, with a warning in the log.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Link`].
    pub async fn find(&self, drop: &str) -> Result<Found, Error> {
        let mut listed = self.output.list_of_drop(drop).await?;
        let has_any = !listed.is_empty();
        listed.retain(|meta| {
            let found = parse(self.output.location.relative(&meta.location));
            found.is_some_and(|(_, _, digest)| digest == self.digest)
        });
        Ok(Found {
            adoptable: self.output.heads(listed).await,
            has_any,
        })
    }

    /// Reads the pieces of a checkpoint, each with the place of its split among the checkpoint's splits.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Checkpoint`].
    pub async fn read(&self, checkpoint: &Checkpoint) -> Result<Vec<(u32, Piece)>, Error> {
        let (path, start) = (&checkpoint.path, checkpoint.segments_at);
        let bytes = self
            .output
            .get(path, start..start + checkpoint.head.segment_bytes())
            .await?;
        let (head, url) = (
            checkpoint.head.clone(),
            self.output.location.url_of(&checkpoint.path),
        );
        let decode = move || {
            let mut all = Vec::new();
            for (segment, range) in head.ranges() {
                let bytes = bytes.slice(range.start as usize..range.end as usize);
                all.extend(format::pieces(segment, &bytes).ok_or_else(|| damaged(&url))?);
            }
            Ok(all)
        };
        let decoded = tokio::task::spawn_blocking(decode).await;
        decoded.unwrap_or_else(|_panicked| Err(damaged(&self.output.location.url_of(path))))
    }
}

/// Parses the path of a checkpoint below the output: its drop, `began` and digest.
pub(super) fn parse(relative: &str) -> Option<(&str, u64, &str)> {
    let (drop, name) = relative
        .strip_prefix(CHECKPOINTS)?
        .strip_prefix('/')?
        .split_once('/')?;
    let (began, digest) = paths::parse_checkpoint(name)?;
    Some((drop, began, digest))
}

fn damaged(url: &str) -> Error {
    Error::Checkpoint {
        object: url.to_owned(),
    }
}

impl Output {
    /// Reads all intact checkpoints of a drop.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Link`].
    pub async fn checkpoints(&self, drop: &str) -> Result<Vec<Checkpoint>, Error> {
        let listed = self.list_of_drop(drop).await?;
        Ok(self.heads(listed).await)
    }

    /// Lists the checkpoints of a drop, in the order of their names.
    async fn list_of_drop(&self, drop: &str) -> Result<Vec<ObjectMeta>, Error> {
        let (location, folder) = (&self.location, paths::checkpoints_of(drop));
        location.check_no_link(&folder).await?;
        let listed = location.store.list(Some(&location.path(&folder)?));
        let listed: Result<Vec<ObjectMeta>, _> = listed.try_collect().await;
        let mut listed = listed.map_err(|source| Error::store(location.url_of(&folder), source))?;
        listed.retain(|meta| parse(location.relative(&meta.location)).is_some());
        listed.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(listed)
    }

    /// Reads the heads of checkpoints. Those that are damaged are left out.
    async fn heads(&self, listed: Vec<ObjectMeta>) -> Vec<Checkpoint> {
        let heads = listed.into_iter().map(|meta| async move {
            let path = self.location.relative(&meta.location).to_owned();
            let read = self.checkpoint(&path, meta.size).await;
            if let Err(error) = &read {
                tracing::warn!("{error}");
            }
            read.ok()
        });
        let heads = futures::stream::iter(heads).buffered(REQUESTS_AT_ONCE);
        heads.filter_map(std::future::ready).collect().await
    }

    /// Reads the head of a checkpoint.
    async fn checkpoint(&self, path: &str, bytes: u64) -> Result<Checkpoint, Error> {
        let damaged = || damaged(&self.location.url_of(path));
        let first = self.get(path, 0..bytes.min(FIRST_BYTES)).await?;
        let (length, xxh3) = format::head_length(&first).ok_or_else(damaged)?;
        let segments_at = (HEAD_AT + length) as u64;
        if segments_at > bytes {
            return Err(damaged());
        }
        let says = match first.get(HEAD_AT..HEAD_AT + length) {
            Some(_) => first.slice(HEAD_AT..HEAD_AT + length),
            None => self.get(path, HEAD_AT as u64..segments_at).await?,
        };
        let head = format::parse_head(&says, xxh3).ok_or_else(damaged)?;
        if segments_at + head.segment_bytes() != bytes {
            return Err(damaged());
        }
        Ok(Checkpoint {
            path: path.to_owned(),
            head,
            segments_at,
        })
    }

    /// Reads the rows of a part from a checkpoint.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Checkpoint`].
    pub async fn read_stored(&self, stored: &StoredPart) -> Result<CompressedPieces, Error> {
        let bytes = self.get(&stored.path, stored.start..stored.end).await?;
        if XxHash3_64::oneshot(&bytes) != stored.xxh3 {
            return Err(damaged(&self.location.url_of(&stored.path)));
        }
        Ok(CompressedPieces::of(bytes))
    }

    /// Reads a range of an object.
    async fn get(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (location, bytes) = (&self.location, range.end - range.start);
        let got = location.store.get_range(&location.path(path)?, range).await;
        let got = got.map_err(|source| Error::store(location.url_of(path), source))?;
        match got.len() as u64 == bytes {
            true => Ok(got),
            false => Err(damaged(&location.url_of(path))),
        }
    }
}
