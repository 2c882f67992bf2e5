//! Gathers predictions by part, sorts and encodes each part when its drop is complete, and stages the files.
//!
//! ```text
//! parcels ── by part ── gather ── spill ── gather ── finish ── Staged
//! ```
//! Rows of a part that grows too heavy wait in the stage, not in memory.
use arrow::error::ArrowError;
use connectors::{
    Error, Output,
    budget::Budget,
    codec::Spilled,
    ledger::{FileRecord, RowCounts},
    part::{PartLabel, Piece, finish},
};
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::{Exchange, Pipeline},
    operators::vec::Map,
};
use tokio::{runtime::Handle, task::JoinError};
use twox_hash::XxHash3_64;

use crate::{
    Clock, Flow, Parcel, Tally,
    gather::gather,
    offload::{offload, panic_message},
};

/// Encodes and stages the parts of one process.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The output that the files are staged in.
    pub output: Output,
    /// The full id of the model.
    pub model_id: String,
    /// Upper bound on the predictions that a worker keeps in memory, in bytes.
    pub held_bytes: u64,
    /// The bound on bytes in flight: nothing is read while too much waits to be put into the stage.
    pub budget: Budget,
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
    /// The failures of splits and of the part itself. One failure fails the drop.
    pub failures: Vec<String>,
    /// The bytes and seconds spent on the rows of the part.
    pub tally: Tally,
}

impl std::ops::AddAssign for Staged {
    fn add_assign(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows += other.rows;
        self.failures.extend(other.failures);
        self.tally += other.tally;
    }
}

/// Kept columns of a part that may be in memory while it is encoded, however small `held_bytes` is: with less, they would be
/// decoded too often.
const KEPT_BYTES: u64 = 128 << 20;

/// A part of an attempt: the name of the drop, the name of the attempt, the number of the part.
type PartKey = (String, String, u32);

/// Rows of a part that wait for the rest of the part.
#[derive(Debug)]
struct PendingRows {
    key: PartKey,
    /// The rows in memory.
    pieces: Vec<Piece>,
    /// The name of the staged object with the spilled rows.
    spilled: Option<String>,
    failures: Vec<String>,
    tally: Tally,
}

/// Writes predictions.
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
/// # use connectors::{Location, Output, part::{Folder, Piece}};
/// use connectors::budget::Budget;
/// use hubbleflow_operators::{Parcel, Tally, Write, Writer};
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
/// let parcel = Parcel { drop, attempt, part: 0, object_index: 0, content: Ok(piece), ends_split: true, tally: Tally::default() };
/// let (model_id, runtime) = ("0123456789ab".to_owned(), runtime.handle().clone());
/// let writer = Writer { output, model_id, held_bytes: 1 << 20, budget: Budget::new(1 << 20), runtime, clock: || Duration::ZERO };
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
        let weight = |parcel: &Parcel| {
            parcel
                .content
                .as_ref()
                .map_or(0, |piece| piece.rows.get_array_memory_size() as u64)
        };
        let groups = gather(self, by_part, "ByPart", key, weight, writer.held_bytes);
        let budget = writer.budget.clone();
        let groups = groups.map(move |group| {
            let bytes = match group.complete {
                true => 0,
                false => group.items.iter().map(weight).sum(),
            };
            (group, budget.wait_with(bytes))
        });

        let (spiller, mut spills) = (writer.clone(), 0_u64);
        let waiting = offload(
            groups,
            Pipeline,
            "Spill",
            2,
            move |(group, weight), reply| {
                let mut waiting = unpack(group.key, group.items);
                if group.complete {
                    reply.send(waiting);
                    return reply.finish();
                }
                let (writer, name) = (
                    spiller.clone(),
                    format!("spill/{:04}-{spills}", waiting.key.2),
                );
                spills += 1;
                spiller.runtime.spawn(async move {
                    if let Err(error) = writer.spill(&mut waiting, name).await {
                        waiting.failures.push(error.to_string());
                    }
                    drop(weight);
                    reply.send(waiting);
                    reply.finish();
                });
            },
        );

        let parts = gather(
            waiting,
            Pipeline,
            "Parts",
            |waiting| waiting.key.clone(),
            |_| 0,
            u64::MAX,
        );
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

fn unpack(key: PartKey, parcels: Vec<Parcel>) -> PendingRows {
    let mut waiting = PendingRows {
        key,
        pieces: Vec::new(),
        spilled: None,
        failures: Vec::new(),
        tally: Tally::default(),
    };
    for parcel in parcels {
        waiting.tally += parcel.tally;
        match parcel.content {
            Ok(piece) => waiting.pieces.push(piece),
            Err(reason) => waiting.failures.push(reason),
        }
    }
    waiting
}

impl Writer {
    /// Moves the rows from memory into the stage.
    async fn spill(&self, waiting: &mut PendingRows, name: String) -> Result<(), Error> {
        let pieces = std::mem::take(&mut waiting.pieces);
        let spilled = self.blocking(&name, move || Spilled::new(&pieces)).await;
        let bytes = spilled?.into_bytes();
        self.output.stage(&waiting.key.1, &name, bytes).await?;
        waiting.spilled = Some(name);
        Ok(())
    }

    /// Encodes a part and stages its files. An error fails the drop.
    async fn stage(&self, key: PartKey, waiting: Vec<PendingRows>) -> Staged {
        let began = (self.clock)();
        let mut staged = Staged::default();
        for waiting in &waiting {
            staged.failures.extend(waiting.failures.iter().cloned());
            staged.tally += waiting.tally;
        }
        if staged.failures.is_empty() {
            match self.stage_files(key, waiting).await {
                Ok((files, rows)) => (staged.files, staged.rows) = (files, rows),
                Err(error) => staged.failures.push(error.to_string()),
            }
        }
        staged.tally.write_seconds += ((self.clock)() - began).as_secs_f64();
        staged
    }

    async fn stage_files(
        &self,
        key: PartKey,
        waiting: Vec<PendingRows>,
    ) -> Result<(Vec<FileRecord>, RowCounts), Error> {
        let (drop, attempt, part) = key;
        let (mut pieces, mut spilled) = (Vec::new(), Vec::new());
        for waiting in waiting {
            pieces.extend(waiting.pieces);
            if let Some(name) = waiting.spilled {
                let bytes = self.output.read_staged(&attempt, &name).await?;
                spilled.push(Spilled::of(bytes));
            }
        }
        let label = PartLabel {
            drop,
            part,
            model_id: self.model_id.clone(),
        };
        let name = format!("photoz/{}, part {part}", label.drop);
        let held_bytes = self.held_bytes.max(KEPT_BYTES);
        let finish = move || finish(pieces, spilled, held_bytes, &label);
        let finished = self.blocking(&name, finish).await;
        let (files, rows) = finished?;
        let mut records = Vec::new();
        for file in files {
            self.output
                .stage(&attempt, &file.record.path, file.bytes)
                .await?;
            records.push(file.record);
        }
        Ok((records, rows))
    }

    /// Encodes or decodes on tokio's blocking threads. A panic becomes an error: it fails the drop whose rows caused it,
    /// and no other.
    async fn blocking<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T, ArrowError> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.runtime.spawn_blocking(work).await;
        let reason = match done.map_err(JoinError::try_into_panic) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.to_string(),
            Err(Ok(panic)) => format!("panicked: {}", panic_message(panic.as_ref())),
            Err(Err(cancelled)) => cancelled.to_string(),
        };
        Err(Error::Encoding {
            object: self.output.location().url_of(name),
            reason,
        })
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
