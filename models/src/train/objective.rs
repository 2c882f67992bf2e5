//! The objectives of a training: the error of drawn patches, or of redshifts.

use tch::{Kind, Tensor};

use super::mae::{MaskedAutoencoder, shuffle};
use super::pinball::{coverage, crps, pinball};
use super::rows::{TrainingRows, missing};
use super::trainable::Trainable;
use crate::checkpoint::Checkpoint;
use crate::config::HeadKind;
use crate::error::Error;
use crate::quantiles::median;
use crate::statistics::sigma_nmad;

/// The quantity that a network learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// The masked patches of a cutout: pretraining.
    Reconstruct {
        /// The fraction of the patches that is masked, between 0 and 1.
        masked: f64,
    },
    /// `z_spec`: fine-tuning.
    Regress {
        /// The loss of an error of z. A quantile head has the pinball loss of its quantiles instead.
        loss: Loss,
    },
}

/// The loss of a point head, as a function of the error of z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// The square of the error.
    Mse,
    /// The square up to `delta` and linear beyond (Huber 1964), so that a few outliers do not dominate.
    Huber {
        /// The limit, in units of z.
        delta: f64,
    },
}

/// The scores of a network on rows that it did not learn from.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ValidationScores {
    /// The loss of the objective; of a quantile head the mean pinball loss. The best network is the one with the smallest
    /// loss.
    pub loss: f64,
    /// Mean squared error of z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mse: Option<f64>,
    /// Mean absolute error of z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Mean of `dz = (z_phot - z_spec) / (1 + z_spec)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bias: Option<f64>,
    /// `1.4826 median |dz - median dz|`: see [`sigma_nmad`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_nmad: Option<f64>,
    /// Fraction of the rows with `|dz| > 0.05`.
    #[serde(
        rename = "outlier_fraction_0.05",
        skip_serializing_if = "Option::is_none"
    )]
    pub outlier_fraction: Option<f64>,
    /// Of a quantile head, the continuous ranked probability score: twice the integral over the levels of the mean pinball
    /// loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crps: Option<f64>,
    /// Of a quantile head, the fraction of the rows whose z_spec lies between the quantiles of 0.16 and 0.84.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_68: Option<f64>,
}

impl std::fmt::Display for ValidationScores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "loss {:.3e}", self.loss)?;
        let numbers = [
            ("mse", self.mse),
            ("mae", self.mae),
            ("bias", self.bias),
            ("sigma_nmad", self.sigma_nmad),
            ("outlier_fraction_0.05", self.outlier_fraction),
            ("crps", self.crps),
            ("coverage_68", self.coverage_68),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                write!(f, ", {name} {number:.5}")?;
            }
        }
        Ok(())
    }
}

impl Objective {
    /// Computes the loss of a batch with the weights of `checkpoint`. [`tch::manual_seed`] decides which patches are masked.
    ///
    /// # Errors
    /// [`Error::Inputs`] if a column is missing, [`Error::Torch`] if libtorch cannot compute.
    pub(crate) fn loss(
        self,
        checkpoint: &Checkpoint,
        config: &impl Trainable,
        kind: Kind,
        batch: &TrainingRows,
    ) -> Result<Tensor, Error> {
        match self {
            Self::Reconstruct { masked } => {
                let autoencoder = config.autoencoder();
                let (config, decoder) = autoencoder.ok_or_else(|| missing("a decoder"))?;
                let network = MaskedAutoencoder::new(checkpoint, config, decoder, kind)?;
                let cutouts = batch.cutouts.as_ref().ok_or_else(|| missing("cutouts"))?;
                let patches = (config.grid() * config.grid()) as i64;
                let seen = ((patches as f64 * (1.0 - masked)).round() as i64).clamp(1, patches - 1);
                let order = shuffle(batch.len(), patches, cutouts.device())?;
                Ok(network.loss(cutouts, &order, seen)?)
            }
            Self::Regress { loss } => {
                let redshifts = config.redshifts(checkpoint, kind, batch)?;
                let z_spec = batch.z_spec.as_ref().ok_or_else(|| missing("z_spec"))?;
                Ok(loss.of(&redshifts, z_spec, config.head())?)
            }
        }
    }

    /// Scores the weights of `checkpoint` on `rows`, which they do not learn from.
    ///
    /// # Errors
    /// Those of [`Objective::loss`].
    pub(crate) fn score(
        self,
        checkpoint: &Checkpoint,
        config: &impl Trainable,
        kind: Kind,
        rows: &TrainingRows,
        batch: i64,
        device: tch::Device,
    ) -> Result<ValidationScores, Error> {
        let _guard = tch::no_grad_guard();
        // The masks are the same each time, so that scores of different epochs can be compared.
        tch::manual_seed(0);
        let (mut sum, mut predicted) = (0.0, Vec::new());
        for from in (0..rows.len()).step_by(batch as usize) {
            let batch = rows.slice(from, batch.min(rows.len() - from), device)?;
            match self {
                Self::Reconstruct { .. } => {
                    let loss = self.loss(checkpoint, config, kind, &batch)?;
                    sum += loss.f_double_value(&[])? * batch.len() as f64;
                }
                Self::Regress { .. } => {
                    let redshifts = config.redshifts(checkpoint, kind, &batch)?;
                    predicted.push(redshifts.f_to_device(tch::Device::Cpu)?);
                }
            }
        }
        match self {
            Self::Reconstruct { .. } => Ok(ValidationScores {
                loss: sum / rows.len().max(1) as f64,
                ..ValidationScores::default()
            }),
            Self::Regress { loss } => {
                let z_spec = rows.z_spec.as_ref().ok_or_else(|| missing("z_spec"))?;
                scores(&Tensor::f_cat(&predicted, 0)?, z_spec, loss, config.head())
            }
        }
    }
}

impl Loss {
    /// The mean loss of a batch: this one for a point head, the pinball loss for quantiles.
    fn of(
        self,
        redshifts: &Tensor,
        z_spec: &Tensor,
        head: &HeadKind,
    ) -> Result<Tensor, tch::TchError> {
        let point = || median(redshifts);
        match (head, self) {
            (HeadKind::Quantiles { levels }, _) => pinball(redshifts, z_spec, levels),
            (HeadKind::Point, Self::Mse) => point()?.f_mse_loss(z_spec, tch::Reduction::Mean),
            (HeadKind::Point, Self::Huber { delta }) => {
                point()?.f_huber_loss(z_spec, tch::Reduction::Mean, delta)
            }
        }
    }
}

fn scores(
    redshifts: &Tensor,
    z_spec: &Tensor,
    loss: Loss,
    head: &HeadKind,
) -> Result<ValidationScores, Error> {
    let number = |tensor: Tensor| tensor.f_double_value(&[]);
    let mean = |tensor: Tensor| number(tensor.f_mean(Kind::Double)?);
    let error = median(redshifts)?.f_sub(z_spec)?;
    let dz = error.f_div(&z_spec.f_add_scalar(1.0)?)?;
    let (crps, coverage_68) = match head {
        HeadKind::Point => (None, None),
        HeadKind::Quantiles { levels } => (
            Some(crps(redshifts, z_spec, levels)?),
            coverage(redshifts, z_spec, levels, [0.16, 0.84])?,
        ),
    };
    Ok(ValidationScores {
        loss: number(loss.of(redshifts, z_spec, head)?)?,
        mse: Some(mean(error.f_square()?)?),
        mae: Some(mean(error.f_abs()?)?),
        bias: Some(mean(dz.shallow_clone())?),
        sigma_nmad: sigma_nmad(&Vec::<f32>::try_from(&dz)?),
        outlier_fraction: Some(mean(dz.f_abs()?.f_gt(0.05)?.f_to_kind(Kind::Double)?)?),
        crps,
        coverage_68,
    })
}
