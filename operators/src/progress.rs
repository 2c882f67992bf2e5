//! Counts the rows of all workers that have left the model, on the worker that settles drops.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use timely::dataflow::operators::vec::Map;
use timely::dataflow::{channels::pact::Exchange, operators::generic::Operator};

use crate::{Flow, Predictions};

/// The rows that have left the model, and the rows and bytes of the planned drops.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    rows: Arc<AtomicU64>,
    planned_rows: Arc<AtomicU64>,
    planned_bytes: Arc<AtomicU64>,
}

impl Progress {
    /// The number of rows that have left the model.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Adds a planned drop: its number of rows, and the bytes of its objects.
    pub fn plan(&self, rows: u64, bytes: u64) {
        self.planned_rows.fetch_add(rows, Ordering::Relaxed);
        self.planned_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The expected number of rows in objects of `bytes` bytes, by the rows per byte of the planned drops; `None` if
    /// nothing is planned.
    pub fn expected_rows(&self, bytes: u64) -> Option<u64> {
        let (rows, planned) = (
            self.planned_rows.load(Ordering::Relaxed),
            self.planned_bytes.load(Ordering::Relaxed),
        );
        (planned > 0).then(|| (u128::from(rows) * u128::from(bytes) / u128::from(planned)) as u64)
    }
}

/// Counts rows.
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// # use connectors::part::{Folder, Piece};
/// # use hubbleflow_operators::{ChunkResult, Predictions, Tally};
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::Night;
/// use hubbleflow_operators::{Progress, ShowProgress};
/// use timely::dataflow::operators::ToStream;
/// # let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// # let rows = RecordBatch::try_from_iter([("object_id", ids)]).unwrap();
/// # let piece = Piece { part: 0, folder: Folder::Photoz, object: String::new(), object_index: 0, rows };
/// # let split = Night::of_two_galaxies().splits().next().unwrap();
/// # let chunk = ChunkResult { split, is_last: true, pieces: Ok(vec![piece]), tally: Tally::default() };
///
/// let progress = Progress::default();
/// let shown = progress.clone();
/// timely::example(move |scope| [Predictions::Chunk(chunk)].to_stream(scope).container::<Vec<_>>().show_progress(&shown));
/// assert_eq!(progress.rows(), 3);
/// ```
pub trait ShowProgress<'s> {
    /// Adds the rows of all workers to the first worker's `progress`.
    fn show_progress(self, progress: &Progress);
}

impl<'s> ShowProgress<'s> for Flow<'s, Predictions> {
    fn show_progress(self, progress: &Progress) {
        let rows = progress.rows.clone();
        let counts = self.map(|predictions| predictions.rows());
        let first = Exchange::new(|_: &u64| 0);
        counts.sink(first, "Progress", move |(input, _frontier)| {
            input.for_each_time(|_time, data| {
                let more = data.flat_map(|items| items.drain(..)).sum();
                rows.fetch_add(more, Ordering::Relaxed);
            });
        });
    }
}
