//! Rows on their way to the worker that writes their part.
use connectors::{checkpoint::StoredPart, part::Piece};
use serde::{Deserialize, Serialize};

use crate::Tally;

/// Rows of one part of a drop, or why the drop has failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// The drop.
    pub drop: String,
    /// The attempt at the drop.
    pub attempt: String,
    /// The part. Failures travel to the first part.
    pub part: u32,
    /// What is in the parcel.
    pub content: Content,
    /// The bytes and seconds spent on a bundle of results. Only the first parcel of the bundle has them.
    pub tally: Tally,
}

/// The content of a parcel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Content {
    /// Rows.
    Rows(Piece),
    /// The place of rows in a checkpoint.
    Stored(StoredPart),
    /// Why a split has failed.
    Failed(String),
}
