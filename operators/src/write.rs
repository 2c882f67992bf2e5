//! Gathers results by part, sorts and encodes each part when its drop is complete, and stages the files.
//!
//! ```text
//! parcels ── by part ── gather ── finish ──► Staged
//! ```
use connectors::{
    Error, Output,
    ledger::{FileRecord, FlagCounts, RowCounts},
    part::{FinishedPart, PartLabel, finish},
};
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use tokio::runtime::Handle;
use twox_hash::XxHash3_64;

use crate::{
    Clock, Flow, Parcel, Tally,
    gather::gather,
    offload::{blocking, offload},
    parcel::Content,
};

/// Encodes and stages the parts of one process.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The output that the files are staged in.
    pub output: Output,
    /// The full id of the model.
    pub model_id: String,
    /// The band whose magnitude the predictions have, if they have one.
    pub reference_band: Option<String>,
    /// Upper bound on the kept columns of a part that are in memory while it is encoded, in bytes.
    pub held_bytes: u64,
    /// The runtime for encoding and requests.
    pub runtime: Handle,
    /// The engine's clock.
    pub clock: Clock,
}

/// A part whose files are staged, or why it has failed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Staged {
    /// The staged files.
    pub files: Vec<FileRecord>,
    /// The number of rows in the files, by door.
    pub rows: RowCounts,
    /// The number of predicted and withdrawn rows, by flag.
    pub flags: FlagCounts,
    /// The failures of splits and of the part itself. One failure fails the drop.
    pub failures: Vec<String>,
    /// The bytes and seconds spent on the rows of the part.
    pub tally: Tally,
}

impl std::ops::AddAssign for Staged {
    fn add_assign(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows += other.rows;
        self.flags += other.flags;
        self.failures.extend(other.failures);
        self.tally += other.tally;
    }
}

/// Kept columns of a part that may be in memory while it is encoded, however small `held_bytes` is: with less, they would be
/// decoded too often.
const KEPT_BYTES: u64 = 128 << 20;

/// Checkpoints of which a part's rows are read at once.
const READ_AT_ONCE: usize = 8;

/// A part of an attempt: the name of the drop, the name of the attempt, the number of the part.
type PartKey = (String, String, u32);

/// Writes predictions.
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
/// # use connectors::{Location, Output, part::{Folder, Piece}};
/// use hubbleflow_operators::{Content, Parcel, Tally, Write, Writer};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let columns: [(&str, ArrayRef); 4] = [
/// #     ("object_id", Arc::new(Int64Array::from(vec![1]))),
/// #     ("reason", Arc::new(StringArray::from(vec!["cutout is null"]))),
/// #     ("__row_group", Arc::new(UInt32Array::from(vec![0]))),
/// #     ("__row", Arc::new(UInt64Array::from(vec![0]))),
/// # ];
/// # let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, of)| (name, of, name == "object_id"))).unwrap();
/// # let piece = Piece { part: 0, folder: Folder::Rejects, object: "a.parquet".to_owned(), object_index: 0, rows };
/// # let (drop, attempt) = ("night-1".to_owned(), "first".to_owned());
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
///
/// let parcel = Parcel { drop, attempt, part: 0, content: Content::Rows(piece), tally: Tally::default() };
/// let (model_id, runtime) = ("0123456789ab".to_owned(), runtime.handle().clone());
/// let (reference_band, clock) = (None, || Duration::ZERO);
/// let writer = Writer { output, model_id, reference_band, held_bytes: 1 << 20, runtime, clock };
/// timely::example(move |scope| {
///     [parcel].to_stream(scope).container::<Vec<_>>().write(&writer).inspect(|staged| {
///         assert_eq!((staged.rows.rejected, staged.rows.written), (1, 0));
///         assert!(staged.files[0].path.starts_with("rejects/night-1/part-0000-"));
///     });
/// });
/// ```
pub trait Write<'s> {
    /// Brings the rows of a part together on one worker, and stages the files of the part when its drop is complete.
    fn write(self, writer: &Writer) -> Flow<'s, Staged>;
}

impl<'s> Write<'s> for Flow<'s, Parcel> {
    fn write(self, writer: &Writer) -> Flow<'s, Staged> {
        let by_part = Exchange::new(|parcel: &Parcel| {
            hash(&parcel.drop).wrapping_add(u64::from(parcel.part))
        });
        let key = |parcel: &Parcel| (parcel.drop.clone(), parcel.attempt.clone(), parcel.part);
        let parts = gather(self, by_part, "Parts", key);
        let writer = writer.clone();
        offload(parts, Pipeline, "Stage", 1, move |part, reply| {
            let of = writer.clone();
            writer.runtime.spawn(async move {
                reply.send(of.stage(part.key, part.items).await);
                reply.finish();
            });
        })
    }
}

/// A hash that is the same in every process, whichever compiler built it: all processes send a part to one worker.
fn hash(text: &str) -> u64 {
    XxHash3_64::oneshot(text.as_bytes())
}

impl Writer {
    /// Encodes a part and stages its files. An error fails the drop.
    async fn stage(&self, key: PartKey, parcels: Vec<Parcel>) -> Staged {
        let began = (self.clock)();
        let mut staged = Staged::default();
        let mut contents = Vec::new();
        for parcel in parcels {
            staged.tally += parcel.tally;
            match parcel.content {
                Content::Failed(reason) => staged.failures.push(reason),
                content => contents.push(content),
            }
        }
        if staged.failures.is_empty() {
            match self.stage_files(key, contents, &mut staged).await {
                Ok(()) => (),
                Err(error) => staged.failures.push(error.to_string()),
            }
        }
        staged.tally.write_seconds += ((self.clock)() - began).as_secs_f64();
        staged
    }

    async fn stage_files(
        &self,
        key: PartKey,
        contents: Vec<Content>,
        staged: &mut Staged,
    ) -> Result<(), Error> {
        let (drop, attempt, part) = key;
        let (mut pieces, mut stored) = (Vec::new(), Vec::new());
        for content in contents {
            match content {
                Content::Rows(piece) => pieces.push(piece),
                Content::Stored(part) => stored.push(part),
                Content::Failed(_) => (),
            }
        }
        let read = stored.into_iter().map(|part| {
            let output = self.output.clone();
            async move { output.read_stored(&part).await }
        });
        let read = futures::stream::iter(read).buffered(READ_AT_ONCE);
        let compressed = read.try_collect().await?;
        let label = PartLabel {
            drop,
            part,
            model_id: self.model_id.clone(),
            reference_band: self.reference_band.clone(),
        };
        let name = format!("photoz/{}, part {part}", label.drop);
        let held_bytes = self.held_bytes.max(KEPT_BYTES);
        let finish = move || finish(pieces, compressed, held_bytes, &label);
        let finished = blocking(&self.runtime, finish).await;
        let finished = finished.and_then(|encoded| encoded.map_err(|error| error.to_string()));
        let FinishedPart { files, rows, flags } = finished.map_err(|reason| Error::Encoding {
            object: self.output.location().url_of(&name),
            reason,
        })?;
        let mut records = Vec::new();
        for file in files {
            self.output
                .stage(&attempt, &file.record.path, file.bytes)
                .await?;
            records.push(file.record);
        }
        (staged.files, staged.rows, staged.flags) = (records, rows, flags);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_compiler_routes_parts_alike() {
        // The value of the XXH3 reference for the empty text.
        assert_eq!(super::hash(""), 0x2d06_8005_38d3_94c2);
    }
}
