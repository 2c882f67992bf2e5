//! The distribution that a model gives for a redshift, as quantiles, and how it is scored.
use connectors::part::{INTERVAL_BOUNDS, quantile_at};

/// The levels of the bounds of the intervals of 68% and 95%.
pub const INTERVALS: [[f64; 2]; 2] = {
    let [low_68, high_68, low_95, high_95] = INTERVAL_BOUNDS;
    [[low_68.1, high_68.1], [low_95.1, high_95.1]]
};

/// The quantiles of a redshift. They ascend with their levels.
/// ```
/// use hubbleflow_operators::metrics::Distribution;
/// let levels = [0.25, 0.5, 0.75];
/// let z = Distribution { levels: &levels, quantiles: &[0.125, 0.25, 0.375], is_whole: true };
/// assert_eq!(z.interval([0.25, 0.75]), Some([0.125, 0.375]));
/// assert_eq!(z.pit(0.3125), 0.625);
/// // One value a quarter off, at levels that cover half of all.
/// let point = Distribution { levels: &levels, quantiles: &[0.5; 3], is_whole: true };
/// assert_eq!(point.crps(0.25), 0.125);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Distribution<'a> {
    /// The levels, which ascend between 0 and 1.
    pub levels: &'a [f64],
    /// The quantile at each level. NaN stands for a bound that the model does not give.
    pub quantiles: &'a [f32],
    /// Whether these are all quantiles of the model, and not only the bounds of the intervals.
    pub is_whole: bool,
}

impl Distribution<'_> {
    /// The interval between the quantiles at two levels, or `None` if the model does not give it.
    pub fn interval(&self, levels: [f64; 2]) -> Option<[f32; 2]> {
        let [low, high] = levels.map(|level| quantile_at(level, self.levels, self.quantiles));
        let given = |bound: Option<f32>| bound.filter(|z| !z.is_nan());
        Some([given(low)?, given(high)?])
    }

    /// The probability that the distribution gives to redshifts up to `z` (the probability integral transform). It is
    /// interpolated between quantiles, 0 below the first and 1 above the last.
    pub fn pit(&self, z: f32) -> f64 {
        let above = self.quantiles.partition_point(|&quantile| quantile <= z);
        let Some(below) = above.checked_sub(1) else {
            return 0.0;
        };
        let (z, from) = (f64::from(z), f64::from(self.quantiles[below]));
        match (self.quantiles.get(above), self.levels.get(above)) {
            (Some(&to), Some(level)) => {
                let part = (z - from) / (f64::from(to) - from);
                self.levels[below] + part * (level - self.levels[below])
            }
            _ if z == from => self.levels[below],
            _ => 1.0,
        }
    }

    /// The continuous ranked probability score for a true redshift: twice the integral over the levels of the pinball loss,
    /// by trapezoids between levels.
    pub fn crps(&self, z: f32) -> f64 {
        let z = f64::from(z);
        let loss = |(&level, &quantile): (&f64, &f32)| {
            let error = z - f64::from(quantile);
            f64::max(level * error, (level - 1.0) * error)
        };
        let losses: Vec<f64> = self.levels.iter().zip(self.quantiles).map(loss).collect();
        let steps = self.levels.windows(2).zip(losses.windows(2));
        steps
            .map(|(level, loss)| (level[1] - level[0]) * (loss[0] + loss[1]))
            .sum()
    }
}
