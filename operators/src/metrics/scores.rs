//! Scores of a slice: objects are added and taken away, and metrics come out.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    interval_sums::IntervalSums,
    numbers::Numbers,
    quantile::{distances, quartile},
    sums::{STEPS, Sums, dz},
};

/// The number of steps in a dz of 1, where dz are counted.
const DZ_STEPS: f64 = 1e4;
/// The interquartile range of a normal distribution, in standard deviations.
const IQR_OF_NORMAL: f64 = 1.349;
/// The standard deviation of a normal distribution, in median absolute deviations.
const SIGMA_OF_MAD: f64 = 1.4826;

/// The scores of a slice: its sums, and how often each dz comes.
///
/// ```
/// use hubbleflow_operators::metrics::Scores;
/// let (mut scores, mut one) = (Scores::default(), Scores::default());
/// scores.add(0.11, 0.1, 1);
/// scores.add(0.50, 0.1, 1);
/// scores.add(0.50, 0.1, -1);
/// one.add(0.11, 0.1, 1);
/// assert_eq!(scores, one);
/// assert_eq!(scores.numbers().bias_median, Some(0.0091));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    sums: Sums,
    /// The number of objects by dz, in steps of 1e-4.
    counts: BTreeMap<i32, i64>,
    /// The scores of the objects with intervals. Most models give none.
    intervals: Option<Box<IntervalSums>>,
}

impl Scores {
    /// Adds an object `times` times; -1 takes it away.
    pub fn add(&mut self, z_phot: f32, z_spec: f32, times: i64) {
        // A dz beyond the largest step counts as the largest step.
        let step = (dz(z_phot, z_spec) * DZ_STEPS).round() as i32;
        self.sums.add(&Sums::of(z_phot, z_spec), times);
        self.count(step, times);
    }

    /// Adds the scores of another slice, or a change of this slice.
    pub fn merge(&mut self, other: &Self) {
        self.sums.add(&other.sums, 1);
        for (&step, &count) in &other.counts {
            self.count(step, count);
        }
        if let Some(intervals) = &other.intervals {
            self.add_intervals(intervals, 1);
        }
    }

    /// Adds the intervals of an object, or of another slice, `times` times; -1 takes them away.
    pub fn add_intervals(&mut self, other: &IntervalSums, times: i64) {
        let mut sums = self.intervals.take().unwrap_or_default();
        sums.add(other, times);
        self.intervals = Some(sums).filter(|sums| **sums != IntervalSums::default());
    }

    fn count(&mut self, step: i32, times: i64) {
        let count = self.counts.entry(step).or_default();
        *count += times;
        if *count == 0 {
            self.counts.remove(&step);
        }
    }

    /// Whether all that was added is taken away again.
    pub fn is_empty(&self) -> bool {
        self.sums.n == 0 && self.counts.is_empty() && self.intervals.is_none()
    }

    /// The metrics of the slice.
    pub fn numbers(&self) -> Numbers {
        let sums = &self.sums;
        let n = sums.n as f64;
        let mean = |sum: f64, unit: f64| (sums.n > 0).then(|| sum / n / unit);
        let counts = self.counts.iter().map(|(&dz, &n)| (i64::from(dz), n));
        let counts: Vec<(i64, i64)> = counts.collect();
        let [first, median, third] =
            [1, 2, 3].map(|quarter| quartile(counts.iter().copied(), sums.n, quarter));
        // Quartiles are in fourths of a step. The median distance from one is in sixteenths.
        let mad = median.and_then(|median| quartile(distances(&counts, median), sums.n, 2));
        let fourths = |value: i64| value as f64 / (4.0 * DZ_STEPS);
        let iqr = first.zip(third).map(|(first, third)| third - first);
        let z_spec = sums.z_spec as f64;
        let spread = sums.z_spec_sq as f64 - z_spec * (z_spec / n);
        let numbers = Numbers {
            n: sums.n,
            bias: mean(sums.dz as f64, STEPS),
            bias_median: median.map(fourths),
            sigma_nmad: mad.map(|mad| SIGMA_OF_MAD * fourths(mad) / 4.0),
            sigma_iqr: iqr.map(|iqr| fourths(iqr) / IQR_OF_NORMAL),
            outlier_fraction_005: mean(sums.outliers[0] as f64, 1.0),
            outlier_fraction_015: mean(sums.outliers[1] as f64, 1.0),
            mse: mean(sums.error_sq as f64, STEPS * STEPS),
            mae: mean(sums.error_abs as f64, STEPS),
            r2: (sums.n > 1 && spread > 0.0).then(|| 1.0 - sums.error_sq as f64 / spread),
            ..Numbers::default()
        };
        match self.intervals.as_deref() {
            Some(intervals) => intervals.into_numbers(numbers),
            None => numbers,
        }
    }
}
