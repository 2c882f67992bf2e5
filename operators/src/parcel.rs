//! Sorts the rows of a chunk into parcels, each on its way to one part.
use std::panic::{AssertUnwindSafe, catch_unwind};

use connectors::part::{Outcomes, Piece, pieces};
use serde::{Deserialize, Serialize};

use crate::{Failure, Judged, ReadRows, Tally, offload::panic_message};

/// Rows of one part on their way to it, or why a split has no rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parcel {
    /// The drop.
    pub drop: String,
    /// The attempt at the drop.
    pub attempt: String,
    /// The part. Failures travel to the first part.
    pub part: u32,
    /// The object that the split is of, by its place among the objects of the drop.
    pub object_index: u32,
    /// The rows, or why the split has failed.
    pub content: Result<Piece, String>,
    /// Whether this is the last parcel of the last chunk of its split.
    pub ends_split: bool,
    /// The bytes and seconds spent on the chunk. Only the first parcel of a chunk has them.
    pub tally: Tally,
}

impl Parcel {
    /// The number of rows in the parcel.
    pub fn rows(&self) -> u64 {
        self.content
            .as_ref()
            .map_or(0, |piece| piece.rows.num_rows() as u64)
    }

    /// The parcel of a split that has failed.
    pub(crate) fn failed(Failure { split, reason }: Failure, ends_split: bool) -> Self {
        Self {
            ends_split,
            drop: split.drop,
            attempt: split.attempt,
            part: 0,
            object_index: split.object_index,
            content: Err(reason),
            tally: Tally::default(),
        }
    }

    /// The parcel of rows that have no predictions because of this error.
    pub(crate) fn unpredicted(rows: &ReadRows, error: &dyn std::fmt::Display) -> Self {
        let object = &rows.split.object.path;
        let failure = Failure {
            split: rows.split.clone(),
            reason: format!("{object}: {error}"),
        };
        Self::failed(failure, rows.is_last)
    }
}

/// The parcels of a chunk, by the photo-z of its rows. A chunk has rows, so it has at least one parcel.
pub(crate) fn parcels(judged: Judged, z_phot: &[f32], infer_seconds: f64) -> Vec<Parcel> {
    let Judged { rows, doors, flags } = judged;
    let answered = doors.into_iter().zip(z_phot);
    let doors: Vec<_> = answered
        .map(|(door, &z_phot)| door.after_prediction(z_phot))
        .collect();
    let outcomes = Outcomes {
        doors: &doors,
        flags: &flags,
        z_phot,
    };
    // A kept column may be of a type that Arrow cannot take rows of. That fails the drop of the file, not the run.
    let sorted = AssertUnwindSafe(|| pieces(&rows.chunk, outcomes, rows.split.parts));
    let pieces = match catch_unwind(sorted) {
        Ok(Ok(pieces)) => pieces,
        Ok(Err(error)) => return vec![Parcel::unpredicted(&rows, &error)],
        Err(panic) => {
            let message = panic_message(panic.as_ref());
            let reason = format!("its rows cannot be sorted by part: {message}");
            return vec![Parcel::unpredicted(&rows, &reason)];
        }
    };
    let mut tally = rows.tally;
    tally.infer_seconds += infer_seconds;
    let count = pieces.len();
    let parcel = |(n, piece): (usize, Piece)| Parcel {
        drop: rows.split.drop.clone(),
        attempt: rows.split.attempt.clone(),
        part: piece.part,
        object_index: rows.split.object_index,
        content: Ok(piece),
        ends_split: rows.is_last && n + 1 == count,
        tally: std::mem::take(&mut tally),
    };
    pieces.into_iter().enumerate().map(parcel).collect()
}
