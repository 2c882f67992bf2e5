//! The intervals that quantiles of a redshift give: the columns `z_low68 z_high68 z_low95 z_high95`.

use super::columns::{Z_HIGH68, Z_HIGH95, Z_LOW68, Z_LOW95};

/// The bounds of the intervals: the name of the column and the level of the quantile.
pub const INTERVAL_BOUNDS: [(&str, f64); 4] = [
    (Z_LOW68, 0.16),
    (Z_HIGH68, 0.84),
    (Z_LOW95, 0.025),
    (Z_HIGH95, 0.975),
];

/// The quantile at a level, from quantiles at `levels`, which ascend. A level between two of them gets the linear
/// interpolation of their quantiles. A level outside of them gets `None`.
pub fn quantile_at(level: f64, levels: &[f64], quantiles: &[f32]) -> Option<f32> {
    let above = levels.partition_point(|&known| known < level);
    let (&high, &z_high) = levels.get(above).zip(quantiles.get(above))?;
    if high == level {
        return Some(z_high);
    }
    let below = above.checked_sub(1)?;
    let part = (level - levels[below]) / (high - levels[below]);
    let (z_low, z_high) = (f64::from(quantiles[below]), f64::from(z_high));
    Some((z_low + part * (z_high - z_low)) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_a_model_lacks_is_interpolated_and_never_extrapolated() {
        let (levels, quantiles) = ([0.1, 0.5, 0.84, 0.9], [1.0, 3.0, 4.0, 7.0]);
        let at = |level| quantile_at(level, &levels, &quantiles);
        assert_eq!([0.1, 0.5, 0.84, 0.9].map(at), quantiles.map(Some));
        assert_eq!(at(0.16), Some(1.3));
        assert_eq!(at(0.87), Some(5.5));
        assert_eq!([0.025, 0.975].map(at), [None, None]);
        assert_eq!(quantile_at(0.5, &[], &[]), None);
    }
}
