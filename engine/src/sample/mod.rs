//! The sample survey: real SDSS photometry and redshifts, with cutouts rendered from them.
//!
//! It stands in where no real cutouts are at hand: for the demo, for tests and for benchmarks of any
//! size. No score on it is one on SDSS: its cutouts have no arms, bars or clumps, and their noise is
//! not correlated.
//!
//! ```text
//! photometry ─► survey ─► morphology ─► camera ─► render        streams: random numbers for all
//!  real rows    rows       disk, bulge   PSF, noise Gaussians    profile: mixtures of Gaussians
//!                 └────────────► write ─► OUT/drop-0001/part-0000.parquet …, _SUCCESS
//! ```
//!
//! What a survey holds:
//! - `drop-0001` … have cutouts; `drop-0004-specz` … follow them with `object_id` and `z_spec` alone.
//!   Objects are shared out evenly; from the second drop on, corrections and withdrawals of objects
//!   of earlier drops come on top, and rows are shuffled. No object is twice in a drop; one that was
//!   withdrawn may be observed again by a later drop.
//! - A correction has seeing and noise of its own, and colours halfway to the mean of the parent and
//!   its five nearest rows: r, position and redshift stay.
//! - Bad rows are rows of new objects, and take turns: a NaN pixel, an infinite pixel, `mag_u` of
//!   -9999, `mag_z` of 0, `dec` of 95, `ra` NaN.
//! - Fields are uniform on the sphere at 90 galaxies a square degree (those of the main galaxy
//!   sample) around RA 180, Dec +26, and grow with the survey up to the northern footprint (RA 120
//!   to 240, Dec 0 to 60), beyond which the density grows.
//!
//! The same arguments give the same files to the byte, however many threads there are.

mod camera;
mod morphology;
mod noise;
mod photometry;
mod profile;
mod render;
mod streams;
mod survey;
mod write;

pub use photometry::ParentSplit;
pub use write::ORIGIN;

use clap::Args;
use connectors::drop_writer::{
    PartWriter, ROWS_PER_PART, WriteError, mark_complete, part_path, rows_per_group,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, path::Path};
use photometry::Photometry;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use survey::{ImageDrop, Survey};

/// Row groups being rendered or waiting to be compressed.
const BATCHES_AHEAD: usize = 2;

/// Upper bound on the size of a table of real galaxies.
const PHOTOMETRY_BYTES_MAX: u64 = 1 << 30;

/// Another part is written at the same time for every so many threads that render.
const THREADS_PER_PART: usize = 3;

/// What survey to make.
#[derive(Args, Debug, Clone)]
pub struct SampleArgs {
    /// Objects in all drops with cutouts
    #[arg(long, default_value_t = 4_000)]
    pub galaxies: u64,
    /// Drops with cutouts
    #[arg(long, default_value_t = 3)]
    pub drops: u64,
    /// The same seed gives the same survey to the byte
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Side of a cutout in pixels of 0.396 arcsec
    #[arg(long, default_value_t = 64)]
    pub px: usize,
    /// Which real galaxies to draw from: train and test have none in common
    #[arg(long, value_enum, default_value_t = ParentSplit::All)]
    pub parents: ParentSplit,
    /// A table of real galaxies instead of the bundled one: a line "#zs u g r i z", then their rows
    #[arg(long, value_name = "FILE", value_parser = crate::settings::LocalPath)]
    pub photometry: Option<PathBuf>,
    /// Share of a drop's rows, from the second drop on, that correct an object of an earlier drop
    #[arg(long, default_value_t = 0.01)]
    pub corrections: f64,
    /// Share of a drop's rows, from the second drop on, that withdraw an object of an earlier drop
    #[arg(long, default_value_t = 0.0)]
    pub withdrawals: f64,
    /// Share of the rows that are unfit, to be rejected
    #[arg(long, default_value_t = 0.001)]
    pub bad_rows: f64,
    /// Share of the objects whose spec-z is not known to the drops with cutouts
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub without_spec_z: f64,
    /// Further drops of spec-z alone, for the objects without one (a tenth of all where none lacks it)
    #[arg(long, default_value_t = 0)]
    pub specz_drops: u64,
}

/// The defaults of the command line; whatever is to be different is a field.
///
/// ```
/// let args = engine::sample::SampleArgs { galaxies: 300, drops: 1, ..Default::default() };
/// assert_eq!(args.px, 64);
/// ```
impl Default for SampleArgs {
    fn default() -> Self {
        crate::settings::defaults(&[])
    }
}

impl SampleArgs {
    /// Refuses what no survey can have.
    fn check(&self) -> Result<(), SampleError> {
        let refuse = |message: String| Err(SampleError::Arguments(message));
        if self.drops == 0 || self.galaxies < self.drops {
            return refuse(format!(
                "{} galaxies cannot fill {} drops: every drop needs one",
                self.galaxies, self.drops
            ));
        }
        if self.galaxies > 1 << 40 || self.drops + self.specz_drops > 9_999 {
            return refuse("there can be 2^40 galaxies and 9,999 drops at most".into());
        }
        if !(render::STRIP_PX..=2_048).contains(&self.px) {
            return refuse(format!("--px {}: a side is 8 to 2,048 pixels", self.px));
        }
        for (flag, share) in [
            ("--corrections", self.corrections),
            ("--withdrawals", self.withdrawals),
            ("--bad-rows", self.bad_rows),
            ("--without-spec-z", self.without_spec_z),
            (
                "--corrections and --withdrawals together",
                self.corrections + self.withdrawals,
            ),
        ] {
            let is_all_of_a_drop = share == 1.0 && flag != "--without-spec-z";
            if !(0.0..=1.0).contains(&share) || is_all_of_a_drop {
                return refuse(format!("{flag}: {share} is no share from 0 to below 1"));
            }
        }
        Ok(())
    }
}

/// Why there is no sample survey.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The arguments contradict each other.
    #[error("{0}")]
    Arguments(String),
    /// The place to write to is taken.
    #[error("{0} is not empty: name a new place for the survey, or clear this one first")]
    NotEmpty(Path),
    /// The table of real galaxies could not be read.
    #[error("could not read the photometry {path}")]
    PhotometryFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The table of real galaxies is not one.
    #[error("photometry {name}, line {line}: {reason}")]
    Photometry {
        /// The table.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store refused.
    #[error("could not look at the place of the survey")]
    Store(#[from] object_store::Error),
    /// Rows could not be put together.
    #[error("could not lay out the survey's rows")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A drop could not be written.
    #[error("could not write a drop")]
    Drop(#[from] WriteError),
    /// Threads could not be started.
    #[error("could not start threads to render with")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A thread panicked, or was cancelled with the runtime.
    #[error("a thread that renders stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

impl SampleError {
    /// Whether the command is wrong, and not the store or this machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Arguments(_)
                | Self::NotEmpty(_)
                | Self::PhotometryFile { .. }
                | Self::Photometry { .. }
        )
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SampleSummary {
    /// Drops, those of spec-z too.
    pub drops: u64,
    /// Rows of drops with cutouts.
    pub rows: u64,
    /// Bytes of all Parquet objects.
    pub bytes: u64,
    /// Rows that correct an earlier object.
    pub corrections: u64,
    /// Rows that withdraw an earlier object.
    pub withdrawals: u64,
    /// Rows that are unfit.
    pub bad_rows: u64,
    /// Rows with a cutout and no spec-z.
    pub rows_without_spec_z: u64,
    /// Rows of spec-z drops.
    pub specz_rows: u64,
    /// Real galaxies that the survey was drawn from.
    pub parents: u64,
    /// What the cutouts are.
    pub origin: &'static str,
}

impl fmt::Display for SampleSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} drops, {} rows with cutouts, {} rows of spec-z, {:.1} MB",
            self.drops,
            self.rows,
            self.specz_rows,
            self.bytes as f64 / 1e6
        )?;
        writeln!(
            f,
            "{} corrections, {} withdrawals, {} bad rows, {} without spec-z",
            self.corrections, self.withdrawals, self.bad_rows, self.rows_without_spec_z
        )?;
        write!(
            f,
            "{}; drawn from {} real galaxies",
            self.origin, self.parents
        )
    }
}

/// Makes a survey below `prefix` of `store`, which must be empty.
///
/// `progress` is told, now and then, how many rows with cutouts are done. Memory is bounded whatever
/// the survey's size: some 600 MB, and 350 MB more for every three threads.
///
/// # Errors
/// Where the arguments contradict each other, the photometry is unfit, `prefix` is not empty or the
/// store fails. A drop that was not finished has no `_SUCCESS`.
pub async fn sample(
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    args: &SampleArgs,
    progress: impl Fn(u64),
) -> Result<SampleSummary, SampleError> {
    let threads = rayon::ThreadPoolBuilder::new().build()?;
    sample_on(threads, store, prefix, args, progress).await
}

async fn sample_on(
    threads: rayon::ThreadPool,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    args: &SampleArgs,
    progress: impl Fn(u64),
) -> Result<SampleSummary, SampleError> {
    args.check()?;
    if store.list(Some(&prefix)).try_next().await?.is_some() {
        return Err(SampleError::NotEmpty(prefix));
    }
    let (name, text) = read_photometry(args)?;
    let photometry = threads.install(|| Photometry::parse(&text, &name, args.parents))?;
    let survey = Survey::new(args, photometry)?;
    let mut maker = Maker {
        summary: SampleSummary {
            parents: survey.parents() as u64,
            origin: ORIGIN,
            ..SampleSummary::default()
        },
        survey: Arc::new(survey),
        threads: Arc::new(threads),
        store,
        prefix,
    };
    let survey = Arc::clone(&maker.survey);
    for drop in &survey.image_drops {
        maker.make_image_drop(drop, &progress).await?;
    }
    for number in 0..survey.specz_drops {
        maker.make_specz_drop(number).await?;
    }
    Ok(maker.summary)
}

fn read_photometry(args: &SampleArgs) -> Result<(String, String), SampleError> {
    let Some(path) = &args.photometry else {
        return Ok((photometry::BUNDLED_NAME.into(), photometry::BUNDLED.into()));
    };
    let text = connectors::text::read_text(path, PHOTOMETRY_BYTES_MAX).map_err(|source| {
        SampleError::PhotometryFile {
            path: path.clone(),
            source,
        }
    })?;
    Ok((path.display().to_string(), text))
}

/// What a part adds to the summary.
#[derive(Default)]
struct PartSummary {
    rows: u64,
    rows_without_spec_z: u64,
    bytes: u64,
}

/// A survey in the making.
struct Maker {
    survey: Arc<Survey>,
    threads: Arc<rayon::ThreadPool>,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    summary: SampleSummary,
}

impl Maker {
    /// All parts of a drop, some at a time: one thread encodes a part more slowly than a few render.
    async fn make_image_drop(
        &mut self,
        drop: &ImageDrop,
        progress: &impl Fn(u64),
    ) -> Result<(), SampleError> {
        let place = self.prefix.clone().join(drop_name(drop.number));
        let rows_done = AtomicU64::new(self.summary.rows);
        let tell = |rows: u64| progress(rows_done.fetch_add(rows, Ordering::Relaxed) + rows);
        let (maker, tell) = (&*self, &tell);
        let parts_at_once = 1 + self.threads.current_num_threads() / THREADS_PER_PART;
        let parts: Vec<PartSummary> = stream::iter(chunks(0..drop.rows(), ROWS_PER_PART))
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

    /// One Parquet object: its next row groups are rendered while one is compressed and sent.
    async fn make_image_part(
        &self,
        drop: &ImageDrop,
        rows: Range<u64>,
        path: &Path,
        tell: &impl Fn(u64),
    ) -> Result<PartSummary, SampleError> {
        let rows_per_group = rows_per_group(self.survey.side_px);
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

    async fn make_specz_drop(&mut self, number: u64) -> Result<(), SampleError> {
        let order = self.survey.image_drops.len() as u64 + number;
        let place = self
            .prefix
            .clone()
            .join(format!("{}-specz", drop_name(order)));
        let survey = Arc::clone(&self.survey);
        let mut rows = survey.specz_rows(number);
        for part in 0.. {
            let some: Vec<_> = rows.by_ref().take(ROWS_PER_PART as usize).collect();
            // A drop has one part at least, if it is an empty one.
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

/// The name of a drop: names in byte order are drops in the order of delivery.
fn drop_name(number: u64) -> String {
    format!("drop-{:04}", number + 1)
}

/// `range` in pieces of `size`, the last one shorter.
fn chunks(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range
        .step_by(size as usize)
        .map(move |start| start..end.min(start + size))
}

#[cfg(test)]
mod tests;
