//! Reading a split: fetch its bytes, decode its rows, hand them on as galaxies, never beyond the budget.
use std::{sync::Arc, time::Duration};

use arrow::datatypes::FieldRef;
use tokio::runtime::Handle;

use crate::{
    Catalog, Error,
    budget::{Budget, Permit},
    fetch::STREAM_BYTES,
    file::File,
    galaxy::{Galaxies, kept::with_known_types},
    split::{Cut, Split},
};

/// Rows of a split, decoded, and the right to hold them.
#[derive(Debug)]
pub struct Chunk {
    /// The rows.
    pub galaxies: Galaxies,
    /// Where each of them was found.
    pub origin: Origin,
    /// The columns of [`Galaxies::keep`].
    pub keep: Vec<FieldRef>,
    /// Bytes fetched for them.
    pub fetched_bytes: u64,
    _permit: Permit,
}

/// Where rows of a chunk were found in the catalog.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The object, below the catalog.
    pub object: String,
    /// Its place among the drop's objects.
    pub object_index: u32,
    first_row_group: usize,
    row_group_rows: Vec<usize>,
    first_row: usize,
}

impl Origin {
    /// The row group of a row of the chunk, and the row in it.
    pub fn locate(&self, row: usize) -> (u32, u64) {
        let mut row = self.first_row + row;
        let mut group = self.first_row_group;
        for &rows in &self.row_group_rows {
            if row < rows {
                break;
            }
            row -= rows;
            group += 1;
        }
        (group as u32, row as u64)
    }
}

/// How often a split is read without getting any further before its drop fails.
const ATTEMPTS: u32 = 4;

impl Catalog {
    /// Reads a split and hands its chunks to `emit`, in order, each as soon as the budget allows it.
    ///
    /// What is transient is tried again, from the first row that has not been handed on.
    ///
    /// # Errors
    /// The store's, [`Error::Corrupt`], [`Error::Changed`], [`Error::Schema`].
    pub async fn read<F>(
        self: &Arc<Self>,
        split: &Split,
        budget: &Budget,
        emit: F,
    ) -> Result<(), Error>
    where
        F: FnMut(Chunk) + Send + 'static,
    {
        let emit = Arc::new(std::sync::Mutex::new((emit, 0_usize)));
        let (mut done, mut attempt) = (0, 0);
        loop {
            let rows = split.cut.rows.start + done..split.cut.rows.end;
            let cut = Cut {
                rows,
                ..split.cut.clone()
            };
            let taken = emit.clone();
            let take = move |chunk: Chunk| {
                let (emit, done) = &mut *lock(&taken);
                *done += chunk.galaxies.rows;
                emit(chunk);
            };
            let error = match self.read_cut(split, cut, budget, take).await {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            let before = std::mem::replace(&mut done, lock(&emit).1);
            attempt = if done > before { 1 } else { attempt + 1 };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            tracing::warn!(attempt, "{error}; reading the split again");
            tokio::time::sleep(Duration::from_millis(50 << (2 * attempt))).await;
        }
    }

    async fn read_cut(
        self: &Arc<Self>,
        split: &Split,
        cut: Cut,
        budget: &Budget,
        mut emit: impl FnMut(Chunk) + Send + 'static,
    ) -> Result<(), Error> {
        let file = self.file(&split.object).await?;
        let ranges = file.ranges(&cut);
        let ahead_bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let encoded_bytes = if cut.streamed {
            STREAM_BYTES
        } else {
            ahead_bytes
        };
        let decoded_bytes = file.decoded_bytes(&cut, cut.chunk_rows.min(cut.rows.len()));
        let mut permit = Some(budget.acquire(encoded_bytes + decoded_bytes).await);
        let ahead = file.fetch(ranges).await?;
        let split_path = split.object.path.clone();
        let (runtime, budget, split) = (Handle::current(), budget.clone(), split.clone());
        let decode = move || {
            let mut decoder = file.decoder(&cut, ahead, runtime.clone())?;
            let mut first_row = cut.rows.start;
            while first_row < cut.rows.end {
                let acquire = || runtime.block_on(budget.acquire(encoded_bytes + decoded_bytes));
                let mut permit = permit.take().unwrap_or_else(acquire);
                let mut galaxies = decoder.next()?;
                permit.shrink_to(decoded_bytes);
                let origin = origin(&file, &split, &cut, first_row);
                first_row += galaxies.rows;
                let fetched_bytes = file.stored_bytes(&cut, galaxies.rows);
                let fields = file.layout.keep_fields();
                let keep = with_known_types(fields, &split.keep, &mut galaxies.keep);
                emit(Chunk {
                    galaxies,
                    origin,
                    keep,
                    fetched_bytes,
                    _permit: permit,
                });
            }
            Ok(())
        };
        match tokio::task::spawn_blocking(decode).await {
            Ok(decoded) => decoded,
            // Decoders of damaged pages are not ours to trust.
            Err(_panicked) => Err(Error::Corrupt {
                object: self.location().url_of(&split_path),
                reason: "the decoder gave up on it".to_owned(),
            }),
        }
    }
}

fn origin(file: &File, split: &Split, cut: &Cut, first_row: usize) -> Origin {
    Origin {
        object: split.object.path.clone(),
        object_index: split.object_index,
        first_row_group: cut.row_groups.start,
        row_group_rows: file.row_group_rows(&cut.row_groups),
        first_row,
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
