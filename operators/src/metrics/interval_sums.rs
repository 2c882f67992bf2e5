//! Sums scores of intervals and of distributions as integers, so that what is added can be taken away exactly.
use serde::{Deserialize, Serialize};

use super::{
    Numbers,
    distribution::{Distribution, INTERVALS},
    sums::steps,
};

/// The number of bins of the PIT histogram.
pub const PIT_BINS: usize = 20;

/// Sums over the objects of a slice that have intervals.
/// ```
/// use hubbleflow_operators::metrics::{Distribution, IntervalSums};
/// let levels = [0.16, 0.5, 0.84];
/// let z = Distribution { levels: &levels, quantiles: &[0.1, 0.2, 0.3], is_whole: true };
/// let mut sums = IntervalSums::of(z, 0.25);
/// sums.add(&IntervalSums::of(z, 0.35), 1);
/// let numbers = sums.into_numbers(Default::default());
/// assert_eq!((numbers.coverage_68, numbers.coverage_95), (Some(0.5), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntervalSums {
    /// The objects that have the interval of 68%, of 95%.
    given: [i64; 2],
    /// The objects whose z_spec is inside of it.
    inside: [i64; 2],
    /// The objects that have all quantiles.
    whole: i64,
    /// Σ crps, in steps of 1e-9.
    crps: i128,
    /// These objects by the probability integral transform of z_spec.
    pit: [i64; PIT_BINS],
}

impl IntervalSums {
    /// The sums of one object.
    pub fn of(distribution: Distribution<'_>, z_spec: f32) -> Self {
        let mut sums = Self::default();
        for (place, levels) in INTERVALS.into_iter().enumerate() {
            if let Some([low, high]) = distribution.interval(levels) {
                sums.given[place] = 1;
                sums.inside[place] = i64::from((low..=high).contains(&z_spec));
            }
        }
        if distribution.is_whole {
            sums.whole = 1;
            sums.crps = steps(distribution.crps(z_spec));
            let bin = (distribution.pit(z_spec) * PIT_BINS as f64) as usize;
            sums.pit[bin.min(PIT_BINS - 1)] = 1;
        }
        sums
    }

    /// Adds `other` `times` times; -1 takes it away.
    pub fn add(&mut self, other: &Self, times: i64) {
        let counts = [
            (&mut self.given[..], &other.given[..]),
            (&mut self.inside, &other.inside),
            (&mut self.pit, &other.pit),
        ];
        for (mine, theirs) in counts {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine += theirs * times;
            }
        }
        self.whole += other.whole * times;
        self.crps += other.crps * i128::from(times);
    }

    /// Adds the metrics of intervals to the other metrics of the slice. They have no value if no object has intervals.
    pub fn into_numbers(self, numbers: Numbers) -> Numbers {
        let coverage = |place: usize| {
            let (inside, given) = (self.inside[place] as f64, self.given[place]);
            (given > 0).then(|| inside / given as f64)
        };
        let has_whole = self.whole > 0;
        let crps = self.crps as f64 / self.whole as f64 / super::sums::STEPS;
        Numbers {
            coverage_68: coverage(0),
            coverage_95: coverage(1),
            crps: has_whole.then_some(crps),
            pit: has_whole.then(|| self.pit.to_vec()),
            ..numbers
        }
    }
}
