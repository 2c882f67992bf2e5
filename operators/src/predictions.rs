//! What leaves the model, split by split, and how it is kept together until its drop is complete.
use connectors::{
    Split,
    checkpoint::{Checkpoint, SplitResult},
    part::{ModelColumn, Outcomes, Piece, pieces},
};

use crate::{Failure, Judged, ReadRows, Tally, offload::caught};

/// Rows that have left the model.
#[derive(Clone, Debug)]
pub enum Predictions {
    /// The rows of a chunk.
    Chunk(ChunkResult),
    /// The rows of a checkpoint.
    Adopted(Bundle),
}

/// The rows of a chunk, by door and part, or why its split has failed.
#[derive(Clone, Debug)]
pub struct ChunkResult {
    /// The split of the chunk.
    pub split: Split,
    /// Whether this is the last chunk of its split.
    pub is_last: bool,
    /// The rows, or why the split has failed.
    pub pieces: Result<Vec<Piece>, String>,
    /// The bytes and seconds spent on the chunk.
    pub tally: Tally,
}

/// Results of an attempt at a drop that are kept together.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// The drop.
    pub drop: String,
    /// The attempt at the drop.
    pub attempt: String,
    /// The number of parts of the drop.
    pub parts: u32,
    /// The results that are in memory.
    pub results: Vec<SplitResult>,
    /// The checkpoint that holds the results.
    pub stored: Option<Checkpoint>,
    /// Why splits have failed.
    pub failures: Vec<String>,
    /// The number of splits that this worker has begun and that end with this bundle.
    pub ended: u64,
    /// The bytes and seconds spent on the results.
    pub tally: Tally,
}

impl Predictions {
    /// The number of rows.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => chunk.pieces.as_deref().map_or(0, rows),
            Self::Adopted(bundle) => bundle.rows(),
        }
    }

    /// The result of a split that has failed.
    pub(crate) fn failed(Failure { split, reason }: Failure, is_last: bool) -> Self {
        Self::Chunk(ChunkResult {
            split,
            is_last,
            pieces: Err(reason),
            tally: Tally::default(),
        })
    }

    /// The result of rows that have no predictions because of this error.
    pub(crate) fn missing(rows: &ReadRows, error: &dyn std::fmt::Display) -> Self {
        let object = &rows.split.object.path;
        let failure = Failure {
            split: rows.split.clone(),
            reason: format!("{object}: {error}"),
        };
        Self::failed(failure, rows.is_last)
    }

    /// The result of judged rows and the model's outputs for them.
    pub(crate) fn of(
        judged: Judged,
        columns: &[ModelColumn],
        mag_bands: &[String],
        infer_seconds: f64,
    ) -> Self {
        let Judged { rows, doors, flags } = judged;
        let doors = doors.into_iter().enumerate();
        let doors: Vec<_> = doors
            .map(|(row, door)| door.after_prediction(row, columns))
            .collect();
        let outcomes = Outcomes {
            doors: &doors,
            flags: &flags,
            columns,
            mag_bands,
        };
        // A kept column may be of a type that Arrow cannot take rows of. That fails the drop of the file, not the run.
        let pieces = match caught(|| pieces(&rows.chunk, outcomes, rows.split.parts)) {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(error)) => return Self::missing(&rows, &error),
            Err(panic) => {
                let reason = format!("its rows cannot be sorted by part: {panic}");
                return Self::missing(&rows, &reason);
            }
        };
        let mut tally = rows.tally;
        tally.infer_seconds += infer_seconds;
        Self::Chunk(ChunkResult {
            split: rows.split,
            is_last: rows.is_last,
            pieces: Ok(pieces),
            tally,
        })
    }
}

impl Bundle {
    /// The number of rows in memory.
    pub fn rows(&self) -> u64 {
        let results = self.results.iter();
        results.map(|result| rows(&result.pieces)).sum()
    }

    /// Bytes of the rows in memory.
    pub fn bytes(&self) -> u64 {
        self.results.iter().map(SplitResult::bytes).sum()
    }
}

fn rows(pieces: &[Piece]) -> u64 {
    let pieces = pieces.iter();
    pieces.map(|piece| piece.rows.num_rows() as u64).sum()
}
