//! Learns what the inputs of a training are like.

use tch::{TchError, Tensor};

use super::{ApertureRange, MagRange, TrainingInputs};
use crate::preprocess::{Whitening, rounded};

/// The smallest number of rows from which the inputs of a training are learned: of fewer, a thousandth is no row.
pub const TRAINING_ROWS_MIN: i64 = 1000;
/// Of the rows of a training, one of this number is farther out than the largest distance.
const ONE_FARTHER_OUT_OF: usize = 1000;
/// And one of this number is brighter than the limits of the reference band, and one fainter.
const ONE_BEYOND_OUT_OF: usize = 2000;
/// The side of the aperture: in most surveys 2 to 3 arcsec, the brightest part of a galaxy.
const APERTURE_PX: usize = 8;
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
        let parts = [inputs.mags, inputs.cutouts].into_iter().flatten();
        let rows = parts.map(|part| part.size()[0]).min().unwrap_or(0);
        let side_px = inputs.cutouts.map_or(0, |cutouts| {
            let side = cutouts.size().last().copied().unwrap_or(0);
            APERTURE_PX.min(side as usize)
        });
        // The noise of a sum is that of a pixel times the root of the number of pixels.
        let softening = inputs
            .noise
            .iter()
            .map(|noise| rounded(noise * side_px as f64));
        let apertures = inputs.cutouts.map(|_| ApertureRange {
            side_px,
            softening: softening.collect(),
            distance_max: f64::INFINITY,
        });
        let mags = inputs.mags.map(numbers).transpose()?;
        let aperture_mags = match (inputs.cutouts, &apertures) {
            (Some(cutouts), Some(apertures)) => Some(aperture_mags(cutouts, apertures)?),
            _ => None,
        };
        let vectors = side_by_side(rows as usize, [mags, aperture_mags]);
        let is_finite = |vector: &&[f64]| vector.iter().all(|number| number.is_finite());
        let vectors = vectors.iter().map(Vec::as_slice).filter(is_finite);
        let vectors: Vec<&[f64]> = vectors.collect();
        if (vectors.len() as i64) < TRAINING_ROWS_MIN {
            return Ok(None);
        }
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
        Ok(Some(learned.with_distances_of(&vectors)))
    }

    /// The same, with the distances that a thousandth of these vectors exceed.
    fn with_distances_of(mut self, vectors: &[&[f64]]) -> Self {
        let distances = vectors.iter().map(|vector| self.distances(vector));
        let (of_mags, of_apertures): (Vec<f64>, Vec<f64>) =
            distances.map(|[mags, apertures]| (mags, apertures)).unzip();
        let exceeded = |distances: Vec<f64>| {
            let few = distances.len() / ONE_FARTHER_OUT_OF;
            // Rounded up, so that the rounding puts no row beyond it.
            f64::from((nth_largest(distances, few) as f32).next_up())
        };
        if let Some(mags) = &mut self.mags {
            mags.distance_max = exceeded(of_mags);
        }
        if let Some(apertures) = &mut self.apertures {
            apertures.distance_max = exceeded(of_apertures);
        }
        self
    }
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

/// The asinh magnitudes of the centres of cutouts, `[rows, band, y, x]`: a list for each row.
fn aperture_mags(cutouts: &Tensor, apertures: &ApertureRange) -> Result<Vec<Vec<f64>>, TchError> {
    let (rows, bands, side, _) = cutouts.size4()?;
    let side_px = apertures.side_px as i64;
    let start = (side - side_px) / 2;
    let mut all = Vec::with_capacity(rows as usize);
    for first in (0..rows).step_by(CUTOUTS_AT_ONCE as usize) {
        let some = cutouts.f_narrow(0, first, CUTOUTS_AT_ONCE.min(rows - first))?;
        let centres = some
            .f_narrow(2, start, side_px)?
            .f_narrow(3, start, side_px)?;
        let pixels = Vec::<f32>::try_from(centres.f_contiguous()?.f_view([-1])?)?;
        let fluxes = pixels.chunks_exact((side_px * side_px) as usize);
        let fluxes: Vec<f64> = fluxes.map(flux_nmgy).collect();
        let each = fluxes.chunks_exact(bands as usize);
        all.extend(each.map(|fluxes| apertures.mags(fluxes).collect::<Vec<_>>()));
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

/// The rows of some tables, each as one list.
fn side_by_side(rows: usize, tables: [Option<Vec<Vec<f64>>>; 2]) -> Vec<Vec<f64>> {
    let mut all = vec![Vec::new(); rows];
    for table in tables.into_iter().flatten() {
        all.iter_mut()
            .zip(table)
            .for_each(|(row, more)| row.extend(more));
    }
    all
}
