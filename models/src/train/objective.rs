//! What a training makes smaller: the error of drawn patches, or of redshifts.

use tch::{Kind, Tensor};

use super::mae::{MaskedAutoencoder, shuffle};
use super::rows::Rows;
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::network::Network;

/// What is to be learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// To draw the patches that are masked, this fraction of them.
    Reconstruct {
        /// Between 0 and 1.
        masked: f64,
    },
    /// To predict `z_spec`.
    Regress {
        /// How an error counts.
        loss: Loss,
    },
}

/// How the error of a redshift counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Squared.
    Mse,
    /// Squared up to `delta`, in proportion beyond it: a few odd galaxies do not decide.
    Huber {
        /// In units of z.
        delta: f64,
    },
}

/// What a network was worth on rows that it did not learn from.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Scores {
    /// The objective's loss: the best network is the one where this is smallest.
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
    /// `1.4826 median |dz - median dz|`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_nmad: Option<f64>,
    /// Fraction with `|dz| > 0.05`.
    #[serde(
        rename = "outlier_fraction_0.05",
        skip_serializing_if = "Option::is_none"
    )]
    pub outlier_fraction: Option<f64>,
}

impl std::fmt::Display for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "loss {:.3e}", self.loss)?;
        let numbers = [
            ("mse", self.mse),
            ("mae", self.mae),
            ("bias", self.bias),
            ("sigma_nmad", self.sigma_nmad),
            ("outlier_fraction_0.05", self.outlier_fraction),
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
    /// The loss of a batch by the weights of `checkpoint`; [`tch::manual_seed`] decides what is masked.
    ///
    /// # Errors
    /// [`Error::Inputs`] where a column is missing, [`Error::Torch`].
    pub(crate) fn loss(
        self,
        checkpoint: &Checkpoint,
        config: &Config,
        kind: Kind,
        batch: &Rows,
    ) -> Result<Tensor, Error> {
        match self {
            Self::Reconstruct { masked } => {
                let decoder = config
                    .decoder
                    .as_ref()
                    .ok_or_else(|| missing("a decoder"))?;
                let network = MaskedAutoencoder::new(checkpoint, config, decoder, kind)?;
                let cutouts = batch.cutouts.as_ref().ok_or_else(|| missing("cutouts"))?;
                let patches = (config.grid() * config.grid()) as i64;
                let seen = ((patches as f64 * (1.0 - masked)).round() as i64).clamp(1, patches - 1);
                let order = shuffle(batch.len(), patches, cutouts.device())?;
                Ok(network.loss(cutouts, &order, seen)?)
            }
            Self::Regress { loss } => {
                let z_phot = z_phot(checkpoint, config, kind, batch)?;
                let z_spec = batch.z_spec.as_ref().ok_or_else(|| missing("z_spec"))?;
                Ok(loss.of(&z_phot, z_spec)?)
            }
        }
    }

    /// Scores the weights of `checkpoint`, which learn nothing here, on `rows`.
    ///
    /// # Errors
    /// As [`Objective::loss`].
    pub(crate) fn score(
        self,
        checkpoint: &Checkpoint,
        config: &Config,
        kind: Kind,
        rows: &Rows,
        batch: i64,
        device: tch::Device,
    ) -> Result<Scores, Error> {
        let _guard = tch::no_grad_guard();
        // The same masks each time: scores of one epoch are compared with those of another.
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
                    let z_phot = z_phot(checkpoint, config, kind, &batch)?;
                    predicted.push(z_phot.f_to_device(tch::Device::Cpu)?);
                }
            }
        }
        match self {
            Self::Reconstruct { .. } => Ok(Scores {
                loss: sum / rows.len().max(1) as f64,
                ..Scores::default()
            }),
            Self::Regress { loss } => {
                let z_spec = rows.z_spec.as_ref().ok_or_else(|| missing("z_spec"))?;
                scores(&Tensor::f_cat(&predicted, 0)?, z_spec, loss)
            }
        }
    }
}

impl Loss {
    fn of(self, z_phot: &Tensor, z_spec: &Tensor) -> Result<Tensor, tch::TchError> {
        match self {
            Self::Mse => z_phot.f_mse_loss(z_spec, tch::Reduction::Mean),
            Self::Huber { delta } => z_phot.f_huber_loss(z_spec, tch::Reduction::Mean, delta),
        }
    }
}

fn z_phot(
    checkpoint: &Checkpoint,
    config: &Config,
    kind: Kind,
    batch: &Rows,
) -> Result<Tensor, Error> {
    let network = Network::new(checkpoint, config, kind)?;
    let Rows {
        cutouts,
        mags,
        latents,
        ..
    } = batch;
    let taps = network.forward_from(cutouts.as_ref(), mags.as_ref(), latents.as_ref())?;
    Ok(taps.z_phot)
}

fn scores(z_phot: &Tensor, z_spec: &Tensor, loss: Loss) -> Result<Scores, Error> {
    let number = |tensor: Tensor| tensor.f_double_value(&[]);
    let mean = |tensor: Tensor| number(tensor.f_mean(Kind::Double)?);
    let error = z_phot.f_sub(z_spec)?;
    let dz = error.f_div(&z_spec.f_add_scalar(1.0)?)?;
    let spread = dz.f_sub(&dz.f_median()?)?.f_abs()?.f_median()?;
    Ok(Scores {
        loss: number(loss.of(z_phot, z_spec)?)?,
        mse: Some(mean(error.f_square()?)?),
        mae: Some(mean(error.f_abs()?)?),
        bias: Some(mean(dz.shallow_clone())?),
        sigma_nmad: Some(1.4826 * number(spread)?),
        outlier_fraction: Some(mean(dz.f_abs()?.f_gt(0.05)?.f_to_kind(Kind::Double)?)?),
    })
}

fn missing(what: &str) -> Error {
    Error::Inputs(format!("this training needs {what}"))
}
