//! The metrics of one slice.
use std::fmt;

use serde::{Deserialize, Serialize, Serializer, ser::Error};

/// The metrics of a slice, named by their definitions. A metric without a value is null, as all are without objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// The number of objects with both z_phot and z_spec.
    pub n: i64,
    /// Mean dz.
    pub bias: Option<f64>,
    /// Median dz.
    pub bias_median: Option<f64>,
    /// 1.4826 times the median distance of dz from its median.
    pub sigma_nmad: Option<f64>,
    /// The interquartile range of dz, divided by 1.349.
    pub sigma_iqr: Option<f64>,
    /// The fraction of the objects with |dz| > 0.05.
    #[serde(rename = "outlier_fraction_0.05")]
    pub outlier_fraction_005: Option<f64>,
    /// The fraction of the objects with |dz| > 0.15.
    #[serde(rename = "outlier_fraction_0.15")]
    pub outlier_fraction_015: Option<f64>,
    /// Mean squared error of z.
    pub mse: Option<f64>,
    /// Mean absolute error of z.
    pub mae: Option<f64>,
    /// The fraction of the variance of z_spec that z_phot explains.
    pub r2: Option<f64>,
    /// The fraction of z_spec inside [z_low68, z_high68]. It is left out of a slice, as those that follow, if no object has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_68: Option<f64>,
    /// The fraction of z_spec inside [z_low95, z_high95].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage_95: Option<f64>,
    /// The mean continuous ranked probability score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crps: Option<f64>,
    /// Objects by the probability integral transform of z_spec, in bins of 0.05.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pit: Option<Vec<i64>>,
    /// The fraction of z_spec inside the calibrated interval of 68%: over all objects and by magnitude. The intervals of each
    /// half of the objects are calibrated by the other half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated_coverage_68: Option<f64>,
    /// The fraction of z_spec inside the calibrated interval of 95%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated_coverage_95: Option<f64>,
}

/// Shows the numbers that people ask for first, on one line.
/// The metrics of intervals. Slices without intervals leave them out, and the metrics of all objects have them as null.
const OF_INTERVALS: [&str; 5] = [
    "coverage_68",
    "coverage_95",
    "crps",
    "calibrated_coverage_68",
    "calibrated_coverage_95",
];

/// Writes the metrics of all objects: every metric has its name there.
pub(super) fn serialize_all<S: Serializer>(all: &Numbers, to: S) -> Result<S::Ok, S::Error> {
    let mut all = serde_json::to_value(all).map_err(S::Error::custom)?;
    for name in OF_INTERVALS {
        // An index adds null under a name that is not there.
        let _ = &mut all[name];
    }
    all.serialize(to)
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.5}"))
        };
        write!(
            f,
            "n {}, bias {}, sigma_nmad {}, outlier_fraction_0.05 {}, outlier_fraction_0.15 {}",
            self.n,
            number(self.bias),
            number(self.sigma_nmad),
            number(self.outlier_fraction_005),
            number(self.outlier_fraction_015),
        )
    }
}
