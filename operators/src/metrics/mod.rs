//! Metrics of photo-z against spec-z, from sums that cancel and counts that are exact.
//!
//! With `dz = (z_phot - z_spec) / (1 + z_spec)` and `e = z_phot - z_spec`, over the objects of a slice:
//!
//! | metric | definition |
//! |---|---|
//! | `n` | objects with both redshifts |
//! | `bias`, `bias_median` | mean and median of dz |
//! | `sigma_nmad` | 1.4826 median \|dz - median dz\| (Brammer et al. 2008) |
//! | `sigma_iqr` | (third - first quartile of dz) / 1.349 |
//! | `outlier_fraction_0.05`, `…_0.15` | of \|dz\| > 0.05, > 0.15 |
//! | `mse`, `mae` | mean of e² and of \|e\| |
//! | `r2` | 1 - Σe² / Σ(z_spec - mean z_spec)² |
//! | `coverage_68`, `coverage_95` | fraction of z_spec inside [z_low68, z_high68], inside [z_low95, z_high95] |
//! | `crps` | mean of twice the integral over the levels of the pinball loss ([`Distribution::crps`]) |
//! | `pit` | objects by the probability that the model gives to redshifts up to z_spec, in 20 bins |
//!
//! The last four are over the objects whose model gives intervals or quantiles. [`ConformalScores`] calibrates the intervals
//! of all objects.
//!
//! Sums are integers, so adding an object and taking it away again leaves nothing, in any order. Redshifts and dz are
//! summed in steps of 1e-9. Medians and quartiles come from counts of dz in steps of 1e-4, interpolated as numpy does.
mod by_mag;
mod calibration;
mod conformal;
mod distribution;
mod file;
mod interval_sums;
mod numbers;
mod quantile;
mod scores;
mod slice;
mod slice_a_line;
mod sums;

pub use by_mag::ByMag;
pub use calibration::{BIN_MIN, Calibration, Shift};
pub use conformal::ConformalScores;
pub use distribution::{Distribution, INTERVALS};
pub use file::{COMPLETE_EVERY, FORMAT, Metrics};
pub use interval_sums::{IntervalSums, PIT_BINS};
pub use numbers::Numbers;
pub use scores::Scores;
pub use slice::Slice;
pub(crate) use slice::mag_hundredths;
pub use sums::{OUTLIER_LIMITS, dz};
