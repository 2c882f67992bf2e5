//! The form of the redshift that a network's last layer gives.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::output::ModelOutput;

/// The levels of a quantile head whose configuration names none.
pub const LEVELS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.10, 0.16, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65,
    0.70, 0.75, 0.80, 0.84, 0.90, 0.95, 0.975, 0.995,
];
/// Upper bound on the number of levels, far above any use.
const LEVELS_MAX: usize = 1023;
/// The rounding that is allowed where two levels must add up to 1.
const ROUNDING: f64 = 1e-9;

/// The form of the redshift.
///
/// ```
/// use hubbleflow_models::config::HeadKind;
/// let head: HeadKind = serde_json::from_str(r#"{"kind": "quantiles", "levels": [0.16, 0.5, 0.84]}"#).unwrap();
/// assert_eq!(head.to_string(), "3 quantiles from 0.16 to 0.84");
/// assert_eq!(HeadKind::quantiles().to_string(), "23 quantiles from 0.005 to 0.995");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum HeadKind {
    /// One number: the redshift.
    #[default]
    Point,
    /// Quantiles of the redshift. The last layer has an output for each level: the middle one is the median, and a softplus
    /// of each of the others is the step to its level from the level next to it, towards the median.
    Quantiles {
        /// The levels, ascending and symmetric about 0.5, an odd number of them.
        #[serde(default = "default_levels")]
        levels: Vec<f64>,
    },
}

fn default_levels() -> Vec<f64> {
    LEVELS.to_vec()
}

impl HeadKind {
    /// A quantile head of the default [`LEVELS`].
    pub fn quantiles() -> Self {
        let levels = default_levels();
        HeadKind::Quantiles { levels }
    }

    /// Whether this is the default, which need not be written.
    pub(crate) fn is_point(&self) -> bool {
        *self == HeadKind::Point
    }

    /// The number of outputs of the last layer.
    pub(crate) fn width(&self) -> usize {
        match self {
            HeadKind::Point => 1,
            HeadKind::Quantiles { levels } => levels.len(),
        }
    }

    /// The outputs of a model with this head: the redshift, and its quantiles if there are any.
    pub(crate) fn outputs(&self) -> Vec<ModelOutput> {
        let quantiles = match self {
            HeadKind::Point => None,
            HeadKind::Quantiles { levels } => Some(ModelOutput::ZQuantiles {
                levels: levels.clone(),
            }),
        };
        [ModelOutput::ZPhot].into_iter().chain(quantiles).collect()
    }

    /// Checks the levels, and names the first rule that is broken.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let HeadKind::Quantiles { levels } = self else {
            return Ok(());
        };
        let count = levels.len();
        if count.is_multiple_of(2) || !(3..=LEVELS_MAX).contains(&count) {
            return Err(format!(
                "`head.levels` has {count} levels: give an odd number, from 3 to {LEVELS_MAX}, whose middle is the median"
            ));
        }
        if !are_levels(levels) {
            return Err("`head.levels` must ascend between 0 and 1".to_owned());
        }
        let mut pairs = levels.iter().zip(levels.iter().rev());
        match pairs.find(|(low, high)| (*low + *high - 1.0).abs() > ROUNDING) {
            None => Ok(()),
            Some((low, high)) => Err(format!(
                "`head.levels` must be symmetric about 0.5: {low} and {high} have the same place from either end, but do \
                 not add up to 1"
            )),
        }
    }
}

/// Whether these are levels of quantiles: above 0, below 1, ascending.
pub fn are_levels(levels: &[f64]) -> bool {
    let inside = levels.iter().all(|level| *level > 0.0 && *level < 1.0);
    inside && !levels.is_empty() && levels.is_sorted_by(|a, b| a < b)
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadKind::Quantiles { levels } if !levels.is_empty() => {
                let (first, last) = (levels[0], levels[levels.len() - 1]);
                write!(f, "{} quantiles from {first} to {last}", levels.len())
            }
            _ => f.write_str("point"),
        }
    }
}
