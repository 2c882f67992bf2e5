//! The calibration of intervals, as a metrics file holds it.
use serde::{Deserialize, Serialize};

use super::{by_mag::ByMag, slice::Slice};

/// A bin of magnitude has shifts of its own from this number of objects on. A smaller bin takes those of all objects.
pub const BIN_MIN: i64 = 200;

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

    /// The shifts of an object in this bin of magnitude: those of its bin, or those of all objects if the bin has less than
    /// [`BIN_MIN`] objects or the object has no magnitude.
    /// ```
    /// use hubbleflow_operators::metrics::{Calibration, Shift, Slice};
    /// let of = |n| Shift { n, ..Shift::default() };
    /// let mut calibration = Calibration { all: of(299), ..Calibration::default() };
    /// calibration.by_mag.slices.extend([("16.5".to_owned(), of(200)), ("17.0".to_owned(), of(99))]);
    /// let n = |mag: Option<f32>| calibration.shift(mag.map(Slice::of_mag_ab)).n;
    /// assert_eq!([n(Some(16.99)), n(Some(17.0)), n(None)], [200, 299, 299]);
    /// ```
    pub fn shift(&self, mag: Option<Slice>) -> &Shift {
        let bin = mag.and_then(|bin| self.by_mag.slices.get(&bin.name()));
        bin.filter(|bin| bin.n >= BIN_MIN).unwrap_or(&self.all)
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
