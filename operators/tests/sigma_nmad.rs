//! The metrics of committed rows and those of a training use one definition of `sigma_nmad` and of the median.
#![allow(clippy::unwrap_used)]

use hubbleflow_operators::metrics::Scores;
use models::statistics::{median, sigma_nmad};
use proptest::prelude::*;

proptest! {
    /// With z_spec 0 and z_phot in whole steps of 1e-4, dz is exact in the counts of [`Scores`].
    #[test]
    fn the_counts_give_the_numbers_of_the_sorted_values(
        steps in prop::collection::vec(-3000i32..3000, 1..60),
    ) {
        let mut scores = Scores::default();
        for &step in &steps {
            scores.add(step as f32 / 1e4, 0.0, 1);
        }
        let numbers = scores.numbers();
        let dz: Vec<f64> = steps.iter().map(|&step| f64::from(step) / 1e4).collect();
        let close = |found: Option<f64>, expected: Option<f64>| {
            (found.unwrap() - expected.unwrap()).abs() < 1e-12
        };
        prop_assert!(close(numbers.bias_median, median(&dz)));
        prop_assert!(close(numbers.sigma_nmad, sigma_nmad(&dz)), "{:?}", numbers.sigma_nmad);
    }
}
