//! The preprocessing of embeddings.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::transform::{rounded, transformed};

/// The preprocessing of the embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum EmbeddingPreprocess {
    /// No change.
    Identity {},
    /// `(embedding - mean) / scale`: components with a mean of zero and a variance of one.
    Standardise {
        /// The mean of each component.
        mean: Vec<f64>,
        /// The standard deviation of each component.
        scale: Vec<f64>,
    },
}

impl EmbeddingPreprocess {
    /// Transforms embeddings: `[batch, width]` in and out, float32.
    pub(crate) fn apply(&self, embeddings: &Tensor) -> Result<Tensor, TchError> {
        let tensors = match self {
            Self::Identity {} => None,
            Self::Standardise { mean, scale } => Some([tensor(mean)?, tensor(scale)?]),
        };
        transformed(embeddings, tensors, |x, mean, scale| {
            x.f_sub(mean)?.f_div(scale)
        })
    }

    /// Learns the mean and the scale of each component from embeddings, `[batch, width]`. A component that is the same
    /// everywhere keeps its scale.
    ///
    /// # Errors
    /// An error of libtorch if there is not enough memory.
    ///
    /// ```
    /// use hubbleflow_models::preprocess::EmbeddingPreprocess;
    /// let embeddings = tch::Tensor::from_slice(&[1f32, 7.0, 3.0, 7.0]).reshape([2, 2]);
    /// let learned = EmbeddingPreprocess::standardise_of(&embeddings)?;
    /// let (mean, scale) = (vec![2.0, 7.0], vec![1.0, 1.0]);
    /// assert_eq!(learned, EmbeddingPreprocess::Standardise { mean, scale });
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn standardise_of(embeddings: &Tensor) -> Result<Self, TchError> {
        let numbers = |tensor: Tensor| Vec::<f32>::try_from(tensor);
        let mean = numbers(embeddings.f_mean_dim(0, false, None)?)?;
        let spread = numbers(embeddings.f_std_dim(0, false, false)?)?;
        let scale = |spread: f32| if spread > 0.0 { spread } else { 1.0 };
        Ok(Self::Standardise {
            mean: mean.into_iter().map(|x| rounded(f64::from(x))).collect(),
            scale: spread
                .into_iter()
                .map(|x| rounded(f64::from(scale(x))))
                .collect(),
        })
    }

    pub(super) fn validate(&self, width: usize) -> Result<(), String> {
        let Self::Standardise { mean, scale } = self else {
            return Ok(());
        };
        for (part, values) in [("mean", mean), ("scale", scale)] {
            let name = format!("preprocess.embedding.{part}");
            if values.len() != width {
                let found = values.len();
                return Err(format!(
                    "`{name}` has {found} entries, and `embedding_width` is {width}: it must have one for each component"
                ));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!("`{name}`: every number must be finite"));
            }
        }
        match scale.iter().all(|value| *value > 0.0) {
            true => Ok(()),
            false => Err("`preprocess.embedding.scale`: every number must be above 0".to_owned()),
        }
    }
}

fn tensor(values: &[f64]) -> Result<Tensor, TchError> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Tensor::f_from_slice(&values)
}
