//! The sample survey: real SDSS photometry and redshifts, with cutouts rendered from them.
//!
//! It replaces real cutouts in the demo, in tests and in benchmarks of any size. A score on a sample survey is not a score
//! on SDSS: its galaxies are sums of Gaussians, without bars, rings, dust lanes or mergers.
//!
//! ```text
//! photometry ─► survey ─► morphology ─► camera ─► render        streams: all random numbers
//!  real rows    objects    disk, bulge,  PSF, noise Gaussians    profile: mixtures of Gaussians
//!                 │        arms
//!                 └─ image_drop ─► write ─► maker ─► OUT/drop-0001/part-0000.parquet …, _SUCCESS
//! ```
//!
//! The content of a survey:
//! - `drop-0001` … have cutouts. `drop-0004-specz` … follow and have only `object_id` and `z_spec`. Objects are distributed
//!   evenly over the drops. From the second drop on, corrections and withdrawals of objects of earlier drops are added. The
//!   rows of a drop are shuffled. An object is at most once in a drop. A withdrawn object may be observed again later.
//! - Cutouts are rendered from the true magnitudes of a galaxy, dimmed by its E(B-V), the column `ebv`. Rows have measured
//!   magnitudes: true ones with errors as large as the SDSS's, times [`SampleSettings::mag_noise`].
//! - A correction has its own seeing and noise. Its magnitudes have half the errors, and its colours are halfway to the mean
//!   of the parent and the five nearest rows. Position and redshift stay the same.
//! - Bad rows are rows of new objects, with these faults in turn: a NaN pixel, an infinite pixel, -9999 as the bluest
//!   magnitude, 0 as the reddest, `dec` of 95, `ra` NaN. The pixel is in r, or in the bluest band if there is no r.
//! - The bands are any of ugriz, in any order. A band has the same pixels and magnitudes whatever the other bands are,
//!   except in bad rows.
//! - Positions are uniform on the sphere around RA 180, Dec +26, with 90 galaxies per square degree as in the main galaxy
//!   sample. The field grows with the survey up to the northern footprint (RA 120 to 240, Dec 0 to 60). Larger surveys are
//!   denser.
//!
//! The same settings give the same files, byte for byte, on any number of threads.

mod bands;
mod camera;
mod covariance;
mod error;
mod galaxy;
mod image_drop;
mod mag_noise;
mod maker;
mod morphology;
mod noise;
mod parent_split;
mod photometry;
mod profile;
mod render;
mod settings;
mod streams;
mod summary;
mod survey;
mod write;

pub use bands::SampleBands;
pub use error::SampleError;
pub use parent_split::ParentSplit;
pub use settings::SampleSettings;
pub use summary::SampleSummary;
pub use write::ORIGIN;

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectStore, path::Path};

use crate::{maker::Maker, photometry::Photometry, survey::SampleSurvey};

/// Upper bound on the size of a table of real galaxies.
const PHOTOMETRY_BYTES_MAX: u64 = 1 << 30;

/// Writes a sample survey below `prefix` of `store`.
///
/// `progress` receives the number of rows with cutouts that are written so far. Memory is about 600 MB, and 350 MB more for
/// every three threads, whatever the size of the survey.
///
/// ```
/// use std::sync::Arc;
///
/// use hubbleflow_sample::{SampleSettings, sample};
/// use object_store::memory::InMemory;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), hubbleflow_sample::SampleError> {
/// let settings = SampleSettings { galaxies: 6, drops: 1, px: 8, ..SampleSettings::default() };
/// let summary = sample(Arc::new(InMemory::new()), "survey".into(), &settings, |_rows| ()).await?;
/// assert_eq!((summary.drops, summary.rows), (1, 6));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// - [`SampleError::Arguments`] if the settings contradict each other.
/// - [`SampleError::NotEmpty`] if there are objects below `prefix`.
/// - [`SampleError::PhotometryFile`] or [`SampleError::Photometry`] if the table of real galaxies cannot be used.
/// - Another [`SampleError`] if the store fails or a thread cannot be started.
///
/// After an error, an unfinished drop has no `_SUCCESS`.
pub async fn sample(
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    settings: &SampleSettings,
    progress: impl Fn(u64),
) -> Result<SampleSummary, SampleError> {
    let threads = rayon::ThreadPoolBuilder::new().build()?;
    sample_on(threads, store, prefix, settings, progress).await
}

async fn sample_on(
    threads: rayon::ThreadPool,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    settings: &SampleSettings,
    progress: impl Fn(u64),
) -> Result<SampleSummary, SampleError> {
    settings.check()?;
    if store.list(Some(&prefix)).try_next().await?.is_some() {
        return Err(SampleError::NotEmpty(prefix));
    }
    let (name, text) = read_photometry(settings)?;
    let photometry = threads.install(|| Photometry::parse(&text, &name, settings.parents))?;
    let survey = SampleSurvey::new(settings, photometry)?;
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

/// Reads the table of real galaxies. Returns its name and its text.
fn read_photometry(settings: &SampleSettings) -> Result<(String, String), SampleError> {
    let Some(path) = &settings.photometry else {
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

#[cfg(test)]
mod tests;
