//! What is done to cutouts and magnitudes before a network sees them: part of the model, in its `config.json`.
//!
//! | | kind | |
//! |---|---|---|
//! | cutouts | `asinh` | `asinh(flux / softening) / scale`, a softening and a scale for each band |
//! | magnitudes | `whiten` | `matrix (mag - mean)` |
//! | either | `identity` | as they come: nanomaggies, AB magnitudes |
//!
//! `asinh` is linear about zero, where there is noise, and logarithmic in the light of a galaxy (Lupton, Gunn & Szalay
//! 1999, [arXiv:astro-ph/9903081]). `whiten` gives a network colours as large as magnitudes: a galaxy's redshift is
//! in differences of hundredths between numbers near 17.
//!
//! [arXiv:astro-ph/9903081]: https://arxiv.org/abs/astro-ph/9903081

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use crate::config::{BANDS, Preprocessing};

const N: usize = BANDS.len();

/// What is done to the pixels of a cutout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum CutoutPreprocess {
    /// Nothing: nanomaggies.
    Identity {},
    /// `asinh(flux / softening) / scale`.
    Asinh {
        /// The flux of each band, in nanomaggies a pixel, below which a pixel is noise.
        softening: [f64; N],
        /// What brings each band to a standard deviation of one.
        scale: [f64; N],
    },
}

/// What is done to the magnitudes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in a model")]
pub enum MagPreprocess {
    /// Nothing: AB magnitudes.
    Identity {},
    /// `matrix (mag - mean)`: uncorrelated, with a variance of one.
    Whiten {
        /// Of each band.
        mean: [f64; N],
        /// Rows of what takes deviations from the mean to uncorrelated numbers.
        matrix: [[f64; N]; N],
    },
}

/// Cutouts that are looked at to learn a preprocessing.
const SAMPLE: i64 = 8192;

impl CutoutPreprocess {
    /// `[batch, band, y, x]` in and out, float32.
    pub(crate) fn apply(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        transformed(cutouts, self.tensors()?, asinh)
    }

    /// What [`asinh`] takes, `[band, 1, 1]` of float32 on the CPU, where there is anything to do.
    pub(crate) fn tensors(&self) -> Result<Option<[Tensor; 2]>, TchError> {
        let Self::Asinh { softening, scale } = self else {
            return Ok(None);
        };
        let by_band = |factors: &[f64; N]| {
            let factors = factors.map(|factor| (1.0 / factor) as f32);
            Tensor::f_from_slice(&factors)?.f_reshape([-1, 1, 1])
        };
        Ok(Some([by_band(softening)?, by_band(scale)?]))
    }

    /// The `asinh` of cutouts like these, `[batch, band, y, x]`.
    ///
    /// The softening is the noise of the sky: 1.4826 times the median magnitude of the pixels along the cutouts'
    /// edges. Neighbours and faint outskirts are too few there to move a median.
    ///
    /// # Errors
    /// libtorch's, where there is no memory.
    pub fn asinh_of(cutouts: &Tensor) -> Result<Self, TchError> {
        let cutouts = cutouts.f_narrow(0, 0, cutouts.size()[0].min(SAMPLE))?;
        let side = *cutouts.size().last().unwrap_or(&1);
        let (mut softening, mut scale) = ([1.0; N], [1.0; N]);
        for band in 0..N {
            let pixels = cutouts.f_select(1, band as i64)?;
            let edges = [
                pixels.f_select(1, 0)?,
                pixels.f_select(1, side - 1)?,
                pixels.f_select(2, 0)?,
                pixels.f_select(2, side - 1)?,
            ];
            let edge = Tensor::f_cat(&edges, 1)?.f_abs()?.f_median()?;
            let noise = 1.4826 * edge.f_double_value(&[])?;
            softening[band] = if noise > 0.0 { rounded(noise) } else { 1.0 };
            let relative = pixels.f_mul_scalar(1.0 / softening[band])?.f_asinh()?;
            let spread = relative.f_std(true)?.f_double_value(&[])?;
            scale[band] = if spread > 0.0 { rounded(spread) } else { 1.0 };
        }
        Ok(Self::Asinh { softening, scale })
    }
}

impl MagPreprocess {
    /// `[batch, band]` in and out, float32.
    pub(crate) fn apply(&self, mags: &Tensor) -> Result<Tensor, TchError> {
        transformed(mags, self.tensors()?, whiten)
    }

    /// What [`whiten`] takes, float32 on the CPU, where there is anything to do.
    pub(crate) fn tensors(&self) -> Result<Option<[Tensor; 2]>, TchError> {
        let Self::Whiten { mean, matrix } = self else {
            return Ok(None);
        };
        let tensor = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::f_from_slice(&values)
        };
        let matrix = tensor(matrix.as_flattened())?.f_view([N as i64; 2])?;
        Ok(Some([tensor(mean)?, matrix]))
    }

    /// The whitening of magnitudes like these, `[batch, band]`: the inverse of the Cholesky factor of their covariance.
    ///
    /// # Errors
    /// libtorch's, where there is no memory.
    pub fn whiten_of(mags: &Tensor) -> Result<Self, TchError> {
        let mags = mags.f_to_kind(Kind::Double)?;
        let centre = mags.f_mean_dim(0, false, None)?;
        let deviations = mags.f_sub(&centre)?;
        let rows = (mags.size()[0] - 1).max(1);
        let covariance = deviations
            .f_tr()?
            .f_matmul(&deviations)?
            .f_div_scalar(rows as f64)?;
        // A hundredth of a magnitude is below what photometry can tell apart, and keeps twin bands invertible.
        let floor = Tensor::f_eye(N as i64, (Kind::Double, mags.device()))?.f_mul_scalar(1e-4)?;
        let factor = covariance.f_add(&floor)?.f_linalg_cholesky(false)?;
        let inverse = factor.f_inverse()?;
        let (mut mean, mut matrix) = ([0.0; N], [[0.0; N]; N]);
        for row in 0..N {
            mean[row] = rounded(centre.f_double_value(&[row as i64])?);
            for (column, entry) in matrix[row].iter_mut().enumerate().take(row + 1) {
                *entry = rounded(inverse.f_double_value(&[row as i64, column as i64])?);
            }
        }
        Ok(Self::Whiten { mean, matrix })
    }
}

impl Preprocessing {
    /// Says what would make numbers that are none, if anything.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let positive = |values: &[f64]| values.iter().all(|v| v.is_finite() && *v > 0.0);
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        match &self.cutout {
            CutoutPreprocess::Asinh { softening, scale }
                if !(positive(softening) && positive(scale)) =>
            {
                return Err(
                    "`preprocess.cutout`: every softening and scale must be above 0".to_owned(),
                );
            }
            _ => {}
        }
        match &self.mag {
            MagPreprocess::Whiten { mean, matrix }
                if !(finite(mean) && finite(matrix.as_flattened())) =>
            {
                Err("`preprocess.mag`: every number must be finite".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What a transformation makes of `x` with its two tensors, or `x` as it is where it has none.
fn transformed(
    x: &Tensor,
    tensors: Option<[Tensor; 2]>,
    transform: fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    let Some(tensors) = tensors else {
        return Ok(x.shallow_clone());
    };
    let [first, second] = tensors.map(|tensor| tensor.f_to_device(x.device()));
    transform(x, &first?, &second?)
}

/// `asinh(slope x) factor`.
pub(crate) fn asinh(x: &Tensor, slope: &Tensor, factor: &Tensor) -> Result<Tensor, TchError> {
    x.f_mul(slope)?.f_asinh_()?.f_mul(factor)
}

/// `matrix (mags - mean)`, of each row.
pub(crate) fn whiten(mags: &Tensor, mean: &Tensor, matrix: &Tensor) -> Result<Tensor, TchError> {
    mags.f_sub(mean)?.f_matmul(&matrix.f_tr()?)
}

/// Seven digits: what float32 keeps of it.
fn rounded(value: f64) -> f64 {
    f64::from(value as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn whitened_magnitudes_are_uncorrelated_with_a_variance_of_one() {
        tch::manual_seed(1);
        let common = Tensor::randn([4000, 1], (Kind::Float, Device::Cpu)) + 17.0;
        let mags = common + Tensor::randn([4000, 5], (Kind::Float, Device::Cpu)) * 0.2;
        let whitened = MagPreprocess::whiten_of(&mags)
            .unwrap()
            .apply(&mags)
            .unwrap();
        let covariance = whitened.tr().matmul(&whitened) / 4000.0;
        let eye = Tensor::eye(5, (Kind::Float, Device::Cpu));
        assert!((covariance - eye).abs().max().double_value(&[]) < 0.02);
    }

    #[test]
    fn the_softening_is_the_noise_of_the_edges() {
        tch::manual_seed(2);
        let noise = Tensor::randn([300, 5, 16, 16], (Kind::Float, Device::Cpu)) * 0.3;
        // A galaxy in the middle, which the edges do not see.
        let _ = noise.narrow(2, 6, 4).narrow(3, 6, 4).fill_(50.0);
        let learned = CutoutPreprocess::asinh_of(&noise).unwrap();
        let CutoutPreprocess::Asinh { softening, .. } = &learned else {
            panic!("{learned:?}");
        };
        assert!(
            softening.iter().all(|s| (s - 0.3).abs() < 0.01),
            "{softening:?}"
        );
        let seen = learned.apply(&noise).unwrap();
        let expected = (noise.select(1, 3) / softening[3]).asinh();
        let expected = &expected / expected.std(true);
        let difference = (seen.select(1, 3) - expected).abs().max();
        assert!(difference.double_value(&[]) < 1e-4);
    }
}
