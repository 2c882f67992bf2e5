//! The calibration of intervals, as a metrics file holds it.
use serde::{Deserialize, Serialize};

use super::by_mag::ByMag;

/// The shifts that make intervals hold the part of the objects that they are to hold. The calibrated interval of an object
/// is `[low - shift (1 + z_phot), high + shift (1 + z_phot)]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The shifts from all objects.
    pub all: Shift,
    /// The shifts by magnitude, as `by_mag_<band>`.
    #[serde(flatten)]
    pub by_mag: ByMag<Shift>,
}

impl Calibration {
    /// No shifts yet.
    pub(super) fn new(reference_band: Option<&str>) -> Self {
        Self {
            all: Shift::default(),
            by_mag: ByMag::new(reference_band),
        }
    }
}

/// The shifts of the intervals of 68% and 95%, in units of 1 + z_phot. A shift is null if the objects are too few for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shift {
    /// The number of objects that the shifts come from.
    pub n: i64,
    /// The shift of [z_low68, z_high68].
    pub shift_68: Option<f64>,
    /// The shift of [z_low95, z_high95].
    pub shift_95: Option<f64>,
}
