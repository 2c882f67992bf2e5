//! Reads splits into rows. The budget bounds the bytes that are in flight at once.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use connectors::{Catalog, Chunk, Error, Split, budget::Budget};
use timely::dataflow::channels::pact::Pipeline;
use tokio::runtime::Handle;

use crate::{Clock, Failure, Flow, Shutdown, Tally, offload::offload};

/// Reads splits on the threads of one process.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The bound on bytes in flight, shared by the workers of a process.
    pub budget: Budget,
    /// The runtime for requests and decoding.
    pub runtime: Handle,
    /// The number of splits that a worker has in hand, from reading to prediction. It is large enough that the model
    /// never waits.
    pub splits_in_hand: usize,
    /// Tells when the process is about to leave, and reads nothing new.
    pub shutdown: Shutdown,
    /// The engine's clock.
    pub clock: Clock,
}

/// Decoded rows of a split.
#[derive(Debug)]
pub struct ReadRows {
    /// The split.
    pub split: Split,
    /// All rows of the split, or the rows of one step of decoding.
    pub chunk: Chunk,
    /// Whether these are the last rows of the split.
    pub is_last: bool,
    /// The bytes and seconds spent on these rows so far.
    pub tally: Tally,
}

/// Reads splits.
/// ```
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use hubbleflow_operators::Read;
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let night = Night::of_two_galaxies();
/// # let (mut split, reader) = (night.splits().next().unwrap(), night.reader());
///
/// split.object.path = "night-1/gone.parquet".to_owned();
/// timely::example(move |scope| {
///     [split].to_stream(scope).container::<Vec<_>>().read(&reader).inspect(|rows| {
///         let failure = rows.as_ref().unwrap_err();
///         assert!(failure.reason.contains("night-1/gone.parquet: not found"), "{}", failure.reason);
///     });
/// });
/// ```
pub trait Read<'s> {
    /// Reads the splits of this worker. A split that cannot be read to its end ends with a [`Failure`].
    fn read(self, reader: &Reader) -> Flow<'s, Result<ReadRows, Failure>>;
}

impl<'s> Read<'s> for Flow<'s, Split> {
    fn read(self, reader: &Reader) -> Flow<'s, Result<ReadRows, Failure>> {
        let reader = reader.clone();
        // Splits that are left for the next start. Their drop stays open.
        let mut left = Vec::new();
        offload(
            self,
            Pipeline,
            "Read",
            reader.splits_in_hand,
            move |split, reply| {
                if reader.shutdown.is_asked() {
                    left.push(reply);
                    return;
                }
                reader.shutdown.begin();
                let Reader {
                    catalog,
                    budget,
                    clock,
                    ..
                } = reader.clone();
                reader.runtime.spawn(async move {
                    let reply = Arc::new(reply);
                    let (answers, of) = (reply.clone(), split.clone());
                    let (mut since, promised) = (clock(), split.cut.rows.len());
                    let came = Arc::new(AtomicUsize::new(0));
                    let so_far = came.clone();
                    let emit = move |chunk: Chunk| {
                        let rows = chunk.galaxies.rows;
                        let came = so_far.fetch_add(rows, Ordering::Relaxed) + rows;
                        let tally = Tally {
                            fetched_bytes: chunk.fetched_bytes,
                            ..read_since(&mut since, clock)
                        };
                        answers.send(Ok(ReadRows {
                            split: of.clone(),
                            chunk,
                            is_last: came == promised,
                            tally,
                        }));
                    };
                    let read = catalog.read(&split, &budget, emit).await;
                    if let Some(reason) = shortfall(&split, read, came.load(Ordering::Relaxed)) {
                        reply.send(Err(Failure { split, reason }));
                    }
                    Arc::into_inner(reply)
                        .expect("invariant: the reader lets go of its reply when it ends")
                        .finish();
                });
            },
        )
    }
}

/// Why rows of a split are missing, by how reading ended and the number of rows that came; `None` if all came.
fn shortfall(split: &Split, read: Result<(), Error>, came: usize) -> Option<String> {
    let (object, promised) = (&split.object.path, split.cut.rows.len());
    match read {
        Err(error) => Some(error.to_string()),
        Ok(()) if came != promised => Some(format!(
            "{object}: {promised} rows were promised by the footer, and {came} came; replace the object and run again"
        )),
        Ok(()) => None,
    }
}

fn read_since(since: &mut Duration, clock: Clock) -> Tally {
    let now = clock();
    let read_seconds = (now - std::mem::replace(since, now)).as_secs_f64();
    Tally {
        read_seconds,
        ..Tally::default()
    }
}
