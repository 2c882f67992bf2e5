//! Reads a split: fetches its bytes, decodes its rows and passes them on as galaxies, within the budget.
use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::FieldRef};
use tokio::runtime::Handle;

use crate::{
    Catalog, Error,
    budget::{Budget, Permit},
    catalog::split::Split,
    file::{
        File,
        cut::Cut,
        fetch::{STREAM_BYTES, coalesce},
        views,
    },
    galaxy::{Galaxies, Layout, kept::with_known_types},
};

/// Decoded rows of a split, and the permit to hold them.
#[derive(Debug)]
pub struct Chunk {
    /// The rows.
    pub galaxies: Galaxies,
    /// Where the rows were found.
    pub origin: Origin,
    /// The fields of the columns in [`Galaxies::keep`].
    pub keep: Vec<FieldRef>,
    /// The number of bytes that were fetched for the rows.
    pub fetched_bytes: u64,
    _permit: Permit,
}

/// Where the rows of a chunk were found in the catalog.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The path of the object below the catalog.
    pub object: String,
    /// The place of the object among the drop's objects.
    pub object_index: u32,
    first_row_group: usize,
    row_group_rows: Vec<usize>,
    first_row: usize,
}

impl Origin {
    /// The row group of a row of the chunk, and the place of the row in it.
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

/// The bytes that a split may take beyond the whole budget, while no other split is read. A page may be of any size, and a
/// row cannot be cut.
const STEP_BYTES: u64 = 256 << 20;
/// The number of attempts without progress after which the drop fails.
const ATTEMPTS: u32 = 4;

impl Catalog {
    /// Reads a split and passes its chunks to `emit`, in order, each as soon as the budget allows.
    ///
    /// After a transient error the split is read again, from the first row that was not passed on.
    ///
    /// # Errors
    /// Errors of the store, [`Error::Corrupt`], [`Error::Memory`], [`Error::Changed`], [`Error::Schema`].
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
        let memory_max = budget.bytes() + STEP_BYTES;
        let (mut done, mut attempt, mut step_bytes) = (0, 0, 0);
        loop {
            // Goes on at the first row of a chunk, so that the following chunks end at the same rows as before.
            let step_done = done - done % split.cut.chunk_rows.max(1);
            let rows = split.cut.rows.start + step_done..split.cut.rows.end;
            let cut = Cut {
                rows,
                ..split.cut.clone()
            };
            let (taken, mut repeated) = (emit.clone(), done - step_done);
            let take = move |chunk: Chunk| {
                if let Some(left) = repeated.checked_sub(chunk.galaxies.rows) {
                    repeated = left;
                    return;
                }
                let (emit, done) = &mut *lock(&taken);
                *done += chunk.galaxies.rows;
                emit(chunk);
            };
            let error = match self.read_cut(split, cut, step_bytes, budget, take).await {
                Err(Error::Memory { needs, .. }) if needs <= memory_max => {
                    // The need is found while pages are read, so it may grow more than once.
                    step_bytes = needs.max(2 * step_bytes).min(memory_max);
                    done = lock(&emit).1;
                    continue;
                }
                Err(Error::Memory {
                    object,
                    what,
                    needs,
                    ..
                }) => {
                    return Err(Error::Memory {
                        object,
                        what,
                        needs,
                        allowed: memory_max,
                    });
                }
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

    /// Reads the rows of a cut. At least `step_bytes` are set aside while a chunk is decoded.
    async fn read_cut(
        self: &Arc<Self>,
        split: &Split,
        cut: Cut,
        step_bytes: u64,
        budget: &Budget,
        mut emit: impl FnMut(Chunk) + Send + 'static,
    ) -> Result<(), Error> {
        let file = self.file(&split.object).await?;
        file.found(step_bytes);
        let ranges = coalesce(file.ranges(&cut));
        let ahead_bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        let encoded_bytes = if cut.streamed {
            STREAM_BYTES
        } else {
            ahead_bytes
        };
        let chunk_rows = cut.chunk_rows.min(cut.rows.len());
        let step_bytes = file.step_bytes(&cut, chunk_rows);
        let all_bytes = encoded_bytes.saturating_add(step_bytes);
        if all_bytes > budget.bytes() + STEP_BYTES {
            return Err(Error::Memory {
                object: file.name(),
                what: format!("{chunk_rows} rows"),
                needs: all_bytes,
                allowed: budget.bytes(),
            });
        }
        let mut permit = Some(budget.acquire(all_bytes).await);
        let ahead = file.fetch(ranges).await?;
        let split_path = split.object.path.clone();
        let (runtime, budget, split) = (Handle::current(), budget.clone(), split.clone());
        let decode = move || {
            let mut decoder = file.decoder(&cut, ahead, step_bytes, runtime.clone())?;
            let mut first_row = cut.rows.start;
            while first_row < cut.rows.end {
                let acquire = || runtime.block_on(budget.acquire(all_bytes));
                let mut permit_of_run = Some(permit.take().unwrap_or_else(acquire));
                for rows in decoder.next()? {
                    let mut permit = permit_of_run.take().unwrap_or_else(acquire);
                    let mut galaxies = file.galaxies(&rows)?;
                    permit.shrink_to(file.decoded_bytes(&cut, galaxies.rows) + text_of(&rows));
                    let origin = origin(&file, &split, &cut, first_row);
                    first_row += galaxies.rows;
                    let fetched_bytes = file.stored_bytes(&cut, galaxies.rows);
                    let fields = file.layout().map_or(&[][..], Layout::keep_fields);
                    let keep = with_known_types(fields, &split.keep, &mut galaxies.keep);
                    emit(Chunk {
                        galaxies,
                        origin,
                        keep,
                        fetched_bytes,
                        _permit: permit,
                    });
                }
            }
            Ok(())
        };
        match tokio::task::spawn_blocking(decode).await {
            Ok(decoded) => decoded,
            // A decoder may panic on damaged pages.
            Err(_panicked) => Err(Error::Corrupt {
                object: self.location().url_of(&split_path),
                reason: "the decoder gave up on it".to_owned(),
            }),
        }
    }
}

/// The bytes of the text of rows.
fn text_of(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(views::text_bytes).sum()
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
