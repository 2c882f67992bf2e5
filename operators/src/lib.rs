//! The steps of the dataflow, one operator a file.
//!
//! ```text
//! feed ── deal ── read ── validate ── infer ── write ── commit ── score ── publish
//! ```
//! The timestamp of the dataflow is the order in which this run took the drops in ([`DropId`]); a drop's identity, its
//! name, travels in the data. `read → validate → infer` stay on one worker, so that a cutout never moves; predictions are
//! exchanged to the parts they belong to. A split that fails travels on as a [`Failure`], so that its drop is settled as
//! failed at its own time and holds back no other.
pub mod commit;
pub mod deal;
pub mod feed;
pub mod gather;
pub mod infer;
pub mod metrics;
pub mod offload;
pub mod progress;
pub mod publish;
pub mod read;
pub mod score;
pub mod tally;
pub mod validate;
pub mod write;

use std::time::Duration;

use connectors::Split;
use timely::dataflow::Stream;

pub use commit::{Commit, Committer, Outcome, Settled, Unfinished};
pub use deal::{Deal, HandBack, HandedBack};
pub use infer::{Infer, Inference, Parcel};
pub use metrics::Metrics;
pub use progress::{Progress, ShowProgress};
pub use publish::{Publish, Published};
pub use read::{Read, Reader, Rows};
pub use score::{Score, Scored, Scorer};
pub use tally::Tally;
pub use validate::{Judged, Rules, Validate};
pub use write::{Staged, Write, Writer};

/// The order in which this run took the drops in.
pub type DropId = u64;

/// Items on their way through the dataflow.
pub type Flow<'s, D> = Stream<'s, DropId, Vec<D>>;

/// Time since some fixed moment; the engine has the clock.
pub type Clock = fn() -> Duration;

/// Why a split could not be taken through.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The split.
    pub split: Split,
    /// What happened, to which object, and what to do.
    pub reason: String,
}
