//! Learns what the inputs of a training are like.

use tch::{TchError, Tensor};

use super::{ApertureRange, CoreRange, MagRange, TrainingInputs};
use crate::preprocess::{Whitening, rounded};

/// The smallest number of rows from which the inputs of a training are learned: of fewer, a thousandth is no row.
pub const TRAINING_ROWS_MIN: i64 = 1000;
/// Of the rows of a training, one of this number is farther out than the largest distance.
const ONE_FARTHER_OUT_OF: usize = 1000;
/// And one of this number is brighter than the limits of the reference band, and one fainter.
const ONE_BEYOND_OUT_OF: usize = 2000;
/// The side of the aperture: in most surveys 2 to 5 arcsec, the brightest part of a galaxy and nearly all of a star.
const APERTURE_PX: usize = 12;
/// The side of its core: in most surveys about twice the full width at half maximum of the PSF, so that it holds most of a
/// star in any seeing, also if the star is half a pixel off the centre.
const CORE_PX: usize = 6;
/// Cutouts that are copied at a time.
const CUTOUTS_AT_ONCE: i64 = 8192;

/// The inputs of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Learned<'a> {
    /// `[rows, band]` float32, AB, if the model predicts from magnitudes.
    pub mags: Option<&'a Tensor>,
    /// The place of the reference band among them.
    pub reference: usize,
    /// `[rows, band, y, x]` float32, nanomaggies, corrected for dust if the model corrects them.
    pub cutouts: Option<&'a Tensor>,
    /// For each band of the cutouts, the noise of a pixel, in nanomaggies.
    pub noise: &'a [f64],
}

impl TrainingInputs {
    /// Learns from the inputs of a training. `None` if fewer than [`TRAINING_ROWS_MIN`] rows have finite numbers alone; the
    /// others teach nothing.
    pub(crate) fn learn(inputs: Learned<'_>) -> Result<Option<Self>, TchError> {
        let apertures = inputs
            .cutouts
            .map(|cutouts| apertures(cutouts, inputs.noise));
        let mags = inputs.mags.map(numbers).transpose()?;
        let fluxes = match (inputs.cutouts, &apertures) {
            (Some(cutouts), Some(apertures)) => Some(fluxes_nmgy(cutouts, apertures)?),
            _ => None,
        };
        let rows = rows(mags, fluxes, apertures.as_ref());
        if (rows.len() as i64) < TRAINING_ROWS_MIN {
            return Ok(None);
        }
        let vectors: Vec<&[f64]> = rows.iter().map(|row| row.vector.as_slice()).collect();
        let table = Tensor::f_from_slice(&vectors.concat())?;
        let table = table.f_view([vectors.len() as i64, -1])?;
        let Whitening { mean, matrix } = Whitening::of_core(&table)?;
        let learned = Self {
            mags: inputs.mags.map(|_| MagRange {
                reference: limits(&vectors, inputs.reference),
                distance_max: f64::INFINITY,
            }),
            apertures,
            mean,
            matrix,
        };
        Ok(Some(learned.with_limits_of(&rows)))
    }

    /// The same, with the distances and the share that a thousandth of these rows exceed.
    fn with_limits_of(mut self, rows: &[Row]) -> Self {
        let distances: Vec<[f64; 3]> = rows.iter().map(|row| self.distances(&row.vector)).collect();
        let [of_mags, of_apertures, of_cores] =
            [0, 1, 2].map(|part| exceeded(distances.iter().map(|parts| parts[part])));
        if let Some(mags) = &mut self.mags {
            mags.distance_max = of_mags;
        }
        if let Some(apertures) = &mut self.apertures {
            apertures.distance_max = of_apertures;
            if let Some(core) = &mut apertures.core {
                core.distance_max = of_cores;
                core.share_max = exceeded(rows.iter().map(|row| row.core_share));
            }
        }
        self
    }
}

/// A row of the training.
struct Row {
    /// The magnitudes, and the aperture magnitudes.
    vector: Vec<f64>,
    /// The share of the aperture's light that is in its core; 0 if there is no light, or less than none.
    core_share: f64,
}

/// The rows that have finite numbers alone.
fn rows(
    mags: Option<Vec<Vec<f64>>>,
    fluxes_nmgy: Option<Vec<Vec<f64>>>,
    apertures: Option<&ApertureRange>,
) -> Vec<Row> {
    let count = mags.as_ref().or(fluxes_nmgy.as_ref()).map_or(0, Vec::len);
    let [mut mags, mut fluxes_nmgy] =
        [mags, fluxes_nmgy].map(|table| table.unwrap_or_default().into_iter());
    let rows = (0..count).map(|_| {
        let mut vector = mags.next().unwrap_or_default();
        let fluxes_nmgy = fluxes_nmgy.next().unwrap_or_default();
        vector.extend(apertures.iter().flat_map(|range| range.mags(&fluxes_nmgy)));
        let core_share = apertures.and_then(|range| range.core_share(&fluxes_nmgy));
        Row {
            vector,
            core_share: core_share.unwrap_or(0.0).max(0.0),
        }
    });
    let is_finite = |row: &Row| row.vector.iter().all(|number| number.is_finite());
    rows.filter(is_finite).collect()
}

/// The aperture of `[rows, band, y, x]` and its core, for a noise of each band's pixels.
fn apertures(cutouts: &Tensor, noise: &[f64]) -> ApertureRange {
    let px = cutouts.size().last().copied().unwrap_or(0) as usize;
    // In a cutout of an odd side a square of an odd side is at the centre.
    let [side_px, core_px] = [APERTURE_PX, CORE_PX].map(|side_px| (side_px + px % 2).min(px));
    // The noise of a sum is that of a pixel times the root of the number of pixels.
    let softening = noise.iter().map(|noise| rounded(noise * side_px as f64));
    ApertureRange {
        side_px,
        softening: softening.collect(),
        distance_max: f64::INFINITY,
        core: (core_px < side_px).then_some(CoreRange {
            side_px: core_px,
            distance_max: f64::INFINITY,
            share_max: f64::INFINITY,
        }),
    }
}

/// The number that a thousandth of these exceed.
fn exceeded(numbers: impl Iterator<Item = f64>) -> f64 {
    let numbers: Vec<f64> = numbers.collect();
    let few = numbers.len() / ONE_FARTHER_OUT_OF;
    // Rounded up, so that the rounding puts no row beyond it.
    f64::from((nth_largest(numbers, few) as f32).next_up())
}

/// The values at `place` between which all vectors lie but a two-thousandth at either end.
fn limits(vectors: &[&[f64]], place: usize) -> [f64; 2] {
    let few = vectors.len() / ONE_BEYOND_OUT_OF;
    let of = |sign: f64| vectors.iter().map(|vector| sign * vector[place]).collect();
    [-nth_largest(of(-1.0), few), nth_largest(of(1.0), few)]
}

/// The largest number but `n`.
fn nth_largest(mut numbers: Vec<f64>, n: usize) -> f64 {
    let (_, found, _) = numbers.select_nth_unstable_by(n, |a, b| b.total_cmp(a));
    *found
}

/// The fluxes in the centres of cutouts, `[rows, band, y, x]`: for each row a list, by sides and then by bands.
fn fluxes_nmgy(cutouts: &Tensor, apertures: &ApertureRange) -> Result<Vec<Vec<f64>>, TchError> {
    let (rows, bands, side, _) = cutouts.size4()?;
    let mut all = vec![Vec::new(); rows as usize];
    for side_px in apertures.sides_px().map(|side_px| side_px as i64) {
        let start = (side - side_px) / 2;
        for first in (0..rows).step_by(CUTOUTS_AT_ONCE as usize) {
            let some = cutouts.f_narrow(0, first, CUTOUTS_AT_ONCE.min(rows - first))?;
            let centres = some
                .f_narrow(2, start, side_px)?
                .f_narrow(3, start, side_px)?;
            let pixels = Vec::<f32>::try_from(centres.f_contiguous()?.f_view([-1])?)?;
            let fluxes = pixels.chunks_exact((side_px * side_px) as usize);
            let fluxes: Vec<f64> = fluxes.map(flux_nmgy).collect();
            let of_rows = fluxes.chunks_exact(bands as usize);
            let into = all[first as usize..].iter_mut();
            into.zip(of_rows).for_each(|(all, more)| all.extend(more));
        }
    }
    Ok(all)
}

/// The flux of pixels, line by line: the order in which a run adds them, so that a row has the same distance in both.
fn flux_nmgy(pixels: &[f32]) -> f64 {
    pixels.iter().copied().map(f64::from).sum()
}

/// The rows of `[rows, columns]`.
fn numbers(of: &Tensor) -> Result<Vec<Vec<f64>>, TchError> {
    let columns = of.size2()?.1 as usize;
    let values = Vec::<f32>::try_from(of.f_contiguous()?.f_view([-1])?)?;
    let rows = values.chunks_exact(columns);
    Ok(rows
        .map(|row| row.iter().copied().map(f64::from).collect())
        .collect())
}
