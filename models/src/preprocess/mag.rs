//! The preprocessing of magnitudes.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::transform::{one_each, transformed};
use super::whitening::{Whitening, whiten};

/// The preprocessing of the magnitudes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum MagPreprocess {
    /// No change: AB magnitudes.
    Identity {},
    /// `matrix (mag - mean)`: uncorrelated numbers with a variance of one.
    Whiten {
        /// The mean magnitude of each band.
        mean: Vec<f64>,
        /// The matrix, by rows, that makes deviations from the mean uncorrelated.
        matrix: Vec<Vec<f64>>,
    },
}

impl MagPreprocess {
    /// Transforms magnitudes: `[batch, band]` in and out, float32.
    pub(crate) fn apply(&self, mags: &Tensor) -> Result<Tensor, TchError> {
        transformed(mags, self.tensors()?, whiten)
    }

    /// The mean, `[band]`, and the matrix, `[band, band]`, that [`whiten`] takes, float32 on the CPU; `None` for the
    /// identity.
    pub(crate) fn tensors(&self) -> Result<Option<[Tensor; 2]>, TchError> {
        let Self::Whiten { mean, matrix } = self else {
            return Ok(None);
        };
        let tensor = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::f_from_slice(&values)
        };
        let matrix = tensor(&matrix.concat())?.f_view([mean.len() as i64; 2])?;
        Ok(Some([tensor(mean)?, matrix]))
    }

    /// Learns a whitening from magnitudes, `[batch, band]`: the inverse of the Cholesky factor of their covariance.
    ///
    /// # Errors
    /// An error of libtorch if there is not enough memory.
    ///
    /// ```
    /// use hubbleflow_models::{Config, init, preprocess::MagPreprocess};
    /// let needs = Config::preset("astromae").unwrap().needs();
    /// let mags = init::inputs(100, &needs)?.mags.unwrap();
    /// let learned = MagPreprocess::whiten_of(&mags)?;
    /// assert!(matches!(learned, MagPreprocess::Whiten { mean, .. } if (17.0..19.0).contains(&mean[0])));
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn whiten_of(mags: &Tensor) -> Result<Self, TchError> {
        let Whitening { mean, matrix } = Whitening::of(mags)?;
        Ok(Self::Whiten { mean, matrix })
    }

    pub(super) fn validate(&self, mags: usize) -> Result<(), String> {
        let Self::Whiten { mean, matrix } = self else {
            return Ok(());
        };
        one_each("preprocess.mag.mean", mean.len(), "mags", mags)?;
        one_each("preprocess.mag.matrix", matrix.len(), "mags", mags)?;
        for (number, row) in matrix.iter().enumerate() {
            let name = format!("preprocess.mag.matrix[{number}]");
            one_each(&name, row.len(), "mags", mags)?;
        }
        if mean
            .iter()
            .chain(matrix.iter().flatten())
            .all(|v| v.is_finite())
        {
            Ok(())
        } else {
            Err("`preprocess.mag`: every number must be finite".to_owned())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

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
}
