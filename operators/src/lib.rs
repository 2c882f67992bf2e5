//! The steps of the dataflow, one operator a file.
//!
//! ```text
//! feed ── deal ── read ── validate ── infer ── checkpoint ── write ── commit ── score ── publish
//!          └────────────── adopt ───────────────┘
//! ```
//! The timestamp of the dataflow is the number of the drop in this run ([`DropId`]). The name of the drop travels in the
//! data. `read → validate → infer → checkpoint` stay on one worker, so a cutout never moves. Results are
//! exchanged to the workers that write their parts. A split that fails travels on as a [`Failure`], so its drop is
//! settled as failed at its own time, and no other drop waits for it.
pub mod adopt;
pub mod checkpoint;
pub mod collectives;
pub mod commit;
pub mod deal;
pub mod feed;
pub mod gather;
pub mod infer;
pub mod inputs;
pub mod metrics;
pub mod offload;
mod parcel;
mod predictions;
pub mod progress;
pub mod publish;
pub mod read;
pub mod score;
mod shutdown;
pub mod tally;
mod unlike;
pub mod validate;
pub mod write;

use std::time::Duration;

use connectors::Split;
use timely::dataflow::Stream;

pub use adopt::Adopt;
pub use checkpoint::{Checkpoint, Checkpointer};
pub use commit::{Commit, Committer, Outcome, Settled, Unfinished};
pub use deal::{Deal, HandBack, HandedBack};
pub use infer::{Infer, Inference};
pub use metrics::Metrics;
pub use parcel::{Content, Parcel};
pub use predictions::{Bundle, ChunkResult, Predictions};
pub use progress::{Progress, ShowProgress};
pub use publish::{Publish, Published};
pub use read::{Read, ReadRows, Reader};
pub use score::{Score, Scored, Scorer};
pub use shutdown::Shutdown;
pub use tally::Tally;
pub use validate::{Judged, Rules, Validate};
pub use write::{Staged, Write, Writer};

/// The number of a drop in this run: 0 for the first drop that the run took.
pub type DropId = u64;

/// A stream of items whose timestamps are drops.
pub type Flow<'s, D> = Stream<'s, DropId, Vec<D>>;

/// A clock: the time since a fixed moment. The engine provides it.
pub type Clock = fn() -> Duration;

/// Why a split has failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The split.
    pub split: Split,
    /// What happened, to which object, and what to do.
    pub reason: String,
}
