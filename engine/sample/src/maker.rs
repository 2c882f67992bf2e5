//! Writes the drops of a survey one after the other, several parts of a drop at a time.
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use connectors::drop_writer::{PartWriter, ROWS_PER_PART, mark_complete, part_path};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, path::Path};

use crate::{
    error::SampleError, image_drop::ImageDrop, summary::SampleSummary, survey::SampleSurvey, write,
};

/// Row groups that are rendered or wait to be compressed.
const BATCHES_AHEAD: usize = 2;

/// Threads that render for each part that is written at the same time, after the first part.
const THREADS_PER_PART: usize = 3;

/// The share of a part in the summary.
#[derive(Default)]
struct PartSummary {
    rows: u64,
    rows_without_spec_z: u64,
    bytes: u64,
}

/// A survey that is being written.
pub(crate) struct Maker {
    pub survey: Arc<SampleSurvey>,
    pub threads: Arc<rayon::ThreadPool>,
    pub store: Arc<dyn ObjectStore>,
    pub prefix: Path,
    pub summary: SampleSummary,
}

impl Maker {
    /// Writes an image drop. Several parts are written at a time because encoding a part on one thread is slower than
    /// rendering the part on a few.
    pub async fn make_image_drop(
        &mut self,
        drop: &ImageDrop,
        progress: &impl Fn(u64),
    ) -> Result<(), SampleError> {
        let place = self.prefix.clone().join(drop_name(drop.number));
        let rows_done = AtomicU64::new(self.summary.rows);
        let tell = |rows: u64| progress(rows_done.fetch_add(rows, Ordering::Relaxed) + rows);
        let (maker, tell) = (&*self, &tell);
        let parts_at_once = 1 + self.threads.current_num_threads() / THREADS_PER_PART;
        let rows_per_part = self.survey.cutout_shape().rows_per_part();
        let parts: Vec<PartSummary> = stream::iter(chunks(0..drop.rows(), rows_per_part))
            .enumerate()
            .map(|(part, rows)| {
                let path = part_path(&place, part);
                async move { maker.make_image_part(drop, rows, &path, tell).await }
            })
            .buffer_unordered(parts_at_once)
            .try_collect()
            .await?;
        for part in parts {
            self.summary.rows += part.rows;
            self.summary.rows_without_spec_z += part.rows_without_spec_z;
            self.summary.bytes += part.bytes;
        }
        self.summary.corrections += drop.corrections;
        self.summary.withdrawals += drop.withdrawals;
        self.summary.bad_rows += drop.bad_rows;
        self.finish_drop(&place).await
    }

    /// Writes one Parquet object. The next row groups are rendered while a row group is compressed and sent.
    async fn make_image_part(
        &self,
        drop: &ImageDrop,
        rows: Range<u64>,
        path: &Path,
        tell: &impl Fn(u64),
    ) -> Result<PartSummary, SampleError> {
        let rows_per_group = self.survey.cutout_shape().rows_per_group();
        let schema = write::image_schema(&self.survey);
        let mut part = PartWriter::create(&self.store, path, schema, rows_per_group).await?;
        let mut summary = PartSummary::default();
        let mut batches = stream::iter(chunks(rows, rows_per_group))
            .map(|group| {
                let (survey, threads) = (Arc::clone(&self.survey), Arc::clone(&self.threads));
                let drop = drop.clone();
                tokio::task::spawn_blocking(move || {
                    threads.install(|| write::image_batch(&survey, &drop, group))
                })
            })
            .buffered(BATCHES_AHEAD);
        while let Some(batch) = batches.next().await {
            let batch = batch??;
            let rows = batch.num_rows() as u64;
            summary.rows += rows;
            summary.rows_without_spec_z += write::rows_without_spec_z(&batch);
            part = part.write(batch).await?;
            tell(rows);
        }
        summary.bytes = part.finish().await?;
        Ok(summary)
    }

    /// Writes the spec-z drop `number`, from 0.
    pub async fn make_specz_drop(&mut self, number: u64) -> Result<(), SampleError> {
        let order = self.survey.image_drops.len() as u64 + number;
        let place = self
            .prefix
            .clone()
            .join(format!("{}-specz", drop_name(order)));
        let survey = Arc::clone(&self.survey);
        let mut rows = survey.specz_rows(number);
        for part in 0.. {
            let some: Vec<_> = rows.by_ref().take(ROWS_PER_PART as usize).collect();
            // A drop has at least one part, even an empty part.
            if some.is_empty() && part > 0 {
                break;
            }
            let path = part_path(&place, part);
            let schema = write::specz_schema();
            let mut writer = PartWriter::create(&self.store, &path, schema, ROWS_PER_PART).await?;
            writer = writer.write(write::specz_batch(&survey, &some)?).await?;
            self.summary.specz_rows += some.len() as u64;
            self.summary.bytes += writer.finish().await?;
        }
        self.finish_drop(&place).await
    }

    async fn finish_drop(&mut self, place: &Path) -> Result<(), SampleError> {
        mark_complete(self.store.as_ref(), place).await?;
        self.summary.drops += 1;
        Ok(())
    }
}

/// The name of a drop. The byte order of names is the order of delivery.
fn drop_name(number: u64) -> String {
    format!("drop-{:04}", number + 1)
}

/// Cuts `range` into pieces of `size`; the last piece may be shorter.
fn chunks(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(size as usize)
        .map(move |start| start..end.min(start + size))
}
