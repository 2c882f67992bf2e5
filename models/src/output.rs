//! The outputs that a model gives for each galaxy.

use std::fmt;

use tch::{Device, Kind, TchError, Tensor};

use crate::error::Error;

/// A column that a model gives for each galaxy.
///
/// ```
/// use hubbleflow_models::ModelOutput;
/// let embedding = ModelOutput::Embedding { width: 192 };
/// assert_eq!((embedding.name(), embedding.width()), ("embedding", 192));
/// assert_eq!(embedding.shape(3), [3, 192]);
/// assert_eq!(ModelOutput::ZPhot.shape(3), [3]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelOutput {
    /// The photometric redshift.
    ZPhot,
    /// The quantiles of the redshift.
    ZQuantiles {
        /// The levels of the quantiles, between 0 and 1, ascending.
        levels: Vec<f64>,
    },
    /// A description of the galaxy, for networks that learn from it and for the search for similar galaxies.
    Embedding {
        /// The number of its components.
        width: usize,
    },
}

impl ModelOutput {
    /// The name of the column.
    pub fn name(&self) -> &'static str {
        match self {
            ModelOutput::ZPhot => "z_phot",
            ModelOutput::ZQuantiles { .. } => "z_quantiles",
            ModelOutput::Embedding { .. } => "embedding",
        }
    }

    /// The number of values for a galaxy.
    pub fn width(&self) -> usize {
        match self {
            ModelOutput::ZPhot => 1,
            ModelOutput::ZQuantiles { levels } => levels.len(),
            ModelOutput::Embedding { width } => *width,
        }
    }

    /// The shape of its tensor for a batch: `[batch]` for z_phot, `[batch, width]` for the others.
    pub fn shape(&self, batch: usize) -> Vec<i64> {
        match self {
            ModelOutput::ZPhot => vec![batch as i64],
            _ => vec![batch as i64, self.width() as i64],
        }
    }
}

impl fmt::Display for ModelOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelOutput::ZPhot => f.write_str(self.name()),
            _ => write!(f, "{} ({} values)", self.name(), self.width()),
        }
    }
}

/// The tensors of a batch without galaxies.
pub(crate) fn of_no_galaxies(wanted: &[ModelOutput]) -> Result<Vec<Tensor>, TchError> {
    let empty = |output: &ModelOutput| Tensor::f_zeros(output.shape(0), (Kind::Float, Device::Cpu));
    wanted.iter().map(empty).collect()
}

/// Checks that a model that gives `given` can give all of `wanted`.
///
/// # Errors
/// [`Error::Outputs`] if it cannot.
pub(crate) fn check_wanted(wanted: &[ModelOutput], given: &[ModelOutput]) -> Result<(), Error> {
    match wanted.iter().find(|output| !given.contains(output)) {
        None => Ok(()),
        Some(missing) => {
            let given: Vec<String> = given.iter().map(ModelOutput::to_string).collect();
            Err(Error::Outputs(format!(
                "the model gives no {}, only {}",
                missing.name(),
                given.join(", ")
            )))
        }
    }
}
