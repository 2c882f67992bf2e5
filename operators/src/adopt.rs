//! Takes the results of splits from checkpoints, instead of predicting their rows again.
use std::collections::HashMap;

use connectors::{
    Error, Split,
    checkpoint::{SplitResult, StoredSplits, Task},
    part::Piece,
};
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{ok_err::OkErr, vec::Map},
};

use crate::{Checkpointer, Flow, Predictions, Tally, offload::offload, predictions::Bundle};

/// Upper bound on the checkpoints that a worker reads concurrently.
const READ_AT_ONCE: usize = 2;

/// Loads the stored results of earlier attempts.
/// ```
/// # use std::time::Duration;
/// # use connectors::{Location, Output, checkpoint::{Checkpoints, Task}};
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use hubbleflow_operators::{Adopt, Checkpointer, Shutdown};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let night = Night::of_two_galaxies();
/// # let (splits, reader) = (night.splits(), night.reader());
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
/// # let checkpointer = Checkpointer {
/// #     checkpoints: Checkpoints::new(output, "a tenth of r", "0123456789abcdef".to_owned()),
/// #     every: Duration::from_secs(30), held_bytes: 1 << 20, budget: reader.budget.clone(),
/// #     shutdown: Shutdown::default(), runtime: reader.runtime.clone(), clock: reader.clock,
/// # };
///
/// let tasks = splits.map(Task::Read);
/// timely::example(move |scope| {
///     // No checkpoint holds the split, so it is to be read.
///     let (adopted, splits) = tasks.to_stream(scope).container::<Vec<_>>().adopt(&checkpointer);
///     adopted.inspect(|_| panic!("nothing is there to adopt"));
///     splits.inspect(|split| assert_eq!(split.cut.rows, 0..2));
/// });
/// ```
pub trait Adopt<'s> {
    /// Returns two streams: the results that checkpoints hold, and the splits to predict. The splits of a checkpoint that
    /// cannot be read go to the second.
    fn adopt(self, checkpointer: &Checkpointer) -> (Flow<'s, Predictions>, Flow<'s, Split>);
}

impl<'s> Adopt<'s> for Flow<'s, Task> {
    fn adopt(self, checkpointer: &Checkpointer) -> (Flow<'s, Predictions>, Flow<'s, Split>) {
        let checkpointer = checkpointer.clone();
        let done = offload(self, Pipeline, "Adopt", READ_AT_ONCE, move |task, reply| {
            let stored = match task {
                Task::Adopt(stored) => stored,
                Task::Read(split) => {
                    reply.send(Err(Box::new(split)));
                    return reply.finish();
                }
            };
            let of = checkpointer.clone();
            checkpointer.runtime.spawn(async move {
                match of.read(&stored).await {
                    Ok(bundle) => reply.send(Ok(Predictions::Adopted(bundle))),
                    Err(error) => {
                        tracing::warn!(
                            "{error}; {} splits are predicted again",
                            stored.splits.len()
                        );
                        for (_, split) in stored.splits {
                            reply.send(Err(Box::new(split)));
                        }
                    }
                }
                reply.finish();
            });
        });
        let (adopted, splits) = done.ok_err(|done| done);
        (adopted, splits.map(|split| *split))
    }
}

impl Checkpointer {
    /// Reads the results of some splits.
    async fn read(&self, stored: &StoredSplits) -> Result<Bundle, Error> {
        let checkpoint = &stored.checkpoint;
        let _permit = self.budget.acquire(checkpoint.decoded_bytes()).await;
        let mut pieces: HashMap<u32, Vec<Piece>> = HashMap::new();
        for (place, piece) in self.checkpoints.read(checkpoint).await? {
            pieces.entry(place).or_default().push(piece);
        }
        let splits = stored.splits.iter();
        let results = splits.map(|(place, split)| {
            let mut pieces = pieces.remove(place).unwrap_or_default();
            for piece in &mut pieces {
                piece.object_index = split.object_index;
            }
            SplitResult {
                split: split.clone(),
                is_whole: true,
                pieces,
            }
        });
        let results = results.collect();
        let first = stored.splits.first().map(|(_, split)| split);
        Ok(Bundle {
            drop: first.map_or_else(String::new, |split| split.drop.clone()),
            attempt: first.map_or_else(String::new, |split| split.attempt.clone()),
            parts: first.map_or(1, |split| split.parts),
            results,
            stored: stored.is_all().then(|| checkpoint.clone()),
            tally: Tally {
                adopted_rows: stored.rows(),
                checkpoints: 1,
                ..Tally::default()
            },
            ..Bundle::default()
        })
    }
}
