//! Sums errors of photo-z as integers, so that what is added can be taken away exactly.
use serde::{Deserialize, Serialize};

/// The limits of |dz| beyond which an object is an outlier.
pub const OUTLIER_LIMITS: [f64; 2] = [0.05, 0.15];
/// The number of steps of a sum in a redshift of 1.
pub(super) const STEPS: f64 = 1e9;
/// Redshifts and errors are clamped to this limit, so that no sum overflows.
const LIMIT: f64 = 1e6;

/// The scaled error of a photo-z: `(z_phot - z_spec) / (1 + z_spec)`.
/// ```
/// assert_eq!(hubbleflow_operators::metrics::dz(0.75, 0.5), 0.25 / 1.5);
/// ```
pub fn dz(z_phot: f32, z_spec: f32) -> f64 {
    (f64::from(z_phot) - f64::from(z_spec)) / (1.0 + f64::from(z_spec))
}

/// Sums over the objects of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// The number of objects.
    pub n: i64,
    /// The number of objects beyond each of [`OUTLIER_LIMITS`].
    pub outliers: [i64; 2],
    /// Σ dz, in steps of 1e-9.
    pub dz: i128,
    /// Σ |e|, in steps of 1e-9.
    pub error_abs: i128,
    /// Σ e², in steps of 1e-18.
    pub error_sq: i128,
    /// Σ z_spec, in steps of 1e-9.
    pub z_spec: i128,
    /// Σ z_spec², in steps of 1e-18.
    pub z_spec_sq: i128,
}

/// A value in steps of 1e-9.
pub(super) fn steps(value: f64) -> i128 {
    (value.clamp(-LIMIT, LIMIT) * STEPS).round() as i128
}

impl Sums {
    /// The sums of one object.
    pub fn of(z_phot: f32, z_spec: f32) -> Self {
        let (dz, z) = (dz(z_phot, z_spec), f64::from(z_spec));
        let error = f64::from(z_phot) - z;
        Self {
            n: 1,
            outliers: OUTLIER_LIMITS.map(|limit| i64::from(dz.abs() > limit)),
            dz: steps(dz),
            error_abs: steps(error).abs(),
            error_sq: steps(error).pow(2),
            z_spec: steps(z),
            z_spec_sq: steps(z).pow(2),
        }
    }

    /// Adds `other` `times` times; -1 takes it away.
    pub fn add(&mut self, other: &Self, times: i64) {
        self.n += other.n * times;
        for (mine, theirs) in self.outliers.iter_mut().zip(other.outliers) {
            *mine += theirs * times;
        }
        let times = i128::from(times);
        self.dz += other.dz * times;
        self.error_abs += other.error_abs * times;
        self.error_sq += other.error_sq * times;
        self.z_spec += other.z_spec * times;
        self.z_spec_sq += other.z_spec_sq * times;
    }
}
