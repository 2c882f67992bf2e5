//! The magnitudes and the redshift of a galaxy.

/// The scales that make galaxies comparable: u-g, g-r, r-i, i-z and r in mag, then redshift.
const SCALES: [f64; 6] = [0.25, 0.1, 0.05, 0.06, 0.35, 0.006];

/// The index of r in [`Galaxy::features`].
pub(crate) const R_AXIS: usize = 4;

/// The magnitudes and the redshift of a galaxy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Galaxy {
    /// Magnitudes in ugriz (AB, corrected for Galactic extinction).
    pub mags: [f64; 5],
    /// Spectroscopic redshift, above 0.
    pub z_spec: f64,
}

impl Galaxy {
    /// The galaxy at a `share` of the way to `other`, linear in magnitudes and in the logarithm of redshift.
    pub(crate) fn towards(&self, other: &Self, share: f64) -> Self {
        let step = |from: f64, to: f64| from + share * (to - from);
        Self {
            mags: std::array::from_fn(|band| step(self.mags[band], other.mags[band])),
            z_spec: 10f64.powf(step(self.z_spec.log10(), other.z_spec.log10())),
        }
    }

    /// The colours u-g, g-r, r-i and i-z, then r and redshift, each divided by its scale.
    pub(crate) fn features(&self) -> [f64; 6] {
        let [u, g, r, i, z] = self.mags;
        let raw = [u - g, g - r, r - i, i - z, r, self.z_spec];
        std::array::from_fn(|axis| raw[axis] / SCALES[axis])
    }
}
