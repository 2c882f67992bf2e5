//! Measured magnitudes: true ones with the errors that a survey's photometry has.
//!
//! The relation was fitted to the errors of model magnitudes of 5,000 galaxies of the SDSS main galaxy sample, as the package
//! MLZ 1.2 gives them. Medians at r = 17: 0.053 mag in u, 0.006 in r.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::bands::BANDS;

/// The error of one band: `log10(error in mag)` is a parabola of the magnitude. Galaxies of one magnitude differ, most by
/// their size.
struct ErrorRelation {
    pivot_mag: f64,
    /// Constant, linear and quadratic coefficient.
    log_error: [f64; 3],
    /// Standard deviation of `log10(error)`.
    scatter: f64,
}

const fn relation(pivot_mag: f64, log_error: [f64; 3], scatter: f64) -> ErrorRelation {
    ErrorRelation {
        pivot_mag,
        log_error,
        scatter,
    }
}

const RELATIONS: [ErrorRelation; BANDS] = [
    relation(19.0, [-1.3457, 0.2441, 0.0098], 0.103),
    relation(17.5, [-2.1796, 0.1938, 0.0131], 0.061),
    relation(17.0, [-2.2404, 0.1885, 0.0148], 0.055),
    relation(16.5, [-2.2563, 0.1942, 0.0178], 0.061),
    relation(16.0, [-1.9391, 0.2457, 0.0217], 0.103),
];

/// Beyond this distance from its pivot, in mag, an error stays the same. The parabolas were fitted to 3 mag.
const REACH_MAG: f64 = 4.0;

impl ErrorRelation {
    /// The error at a magnitude, in mag. `deviates` says by how many standard deviations the galaxy is harder to measure than
    /// the median galaxy.
    fn at(&self, mag: f64, deviates: f64) -> f64 {
        let from_pivot = (mag - self.pivot_mag).clamp(-REACH_MAG, REACH_MAG);
        let [constant, linear, quadratic] = self.log_error;
        let log_error = constant + (linear + quadratic * from_pivot) * from_pivot;
        10f64.powf(log_error + self.scatter * deviates)
    }
}

/// Measures magnitudes in ugriz: adds errors of `scale` times the usual ones.
pub fn measure(mags: &[f64; BANDS], scale: f64, rng: &mut impl Rng) -> [f64; BANDS] {
    let mut normal = || -> f64 { StandardNormal.sample(rng) };
    // A galaxy that is hard to measure in one band is hard to measure in all: the deviates of the real errors correlate by
    // 0.63 to 0.88.
    let deviates = normal();
    std::array::from_fn(|band| {
        let error = RELATIONS[band].at(mags[band], deviates);
        mags[band] + scale * error * normal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, stream};

    /// Median errors of the real galaxies with a magnitude in `[mag, mag + 0.5)`.
    const REAL: [(usize, f64, f64); 15] = [
        (0, 17.0, 0.0184),
        (0, 18.0, 0.0303),
        (0, 19.5, 0.0683),
        (1, 15.5, 0.0033),
        (1, 17.0, 0.0059),
        (1, 18.5, 0.0113),
        (2, 14.5, 0.0026),
        (2, 16.0, 0.0042),
        (2, 17.5, 0.0074),
        (3, 14.0, 0.0025),
        (3, 15.5, 0.0041),
        (3, 17.0, 0.0075),
        (4, 14.0, 0.0050),
        (4, 15.5, 0.0100),
        (4, 16.5, 0.0167),
    ];

    #[test]
    fn errors_are_those_of_real_galaxies() {
        for (band, mag, error) in REAL {
            let found = RELATIONS[band].at(mag + 0.25, 0.0);
            assert!(
                (found / error - 1.0).abs() < 0.12,
                "band {band}, {mag}: {found}, not {error}"
            );
        }
    }

    #[test]
    fn measured_magnitudes_scatter_about_the_true_ones() {
        let mags = [19.0, 17.5, 17.0, 16.5, 16.0];
        let draws = 20_000;
        for scale in [0.5, 1.0] {
            let mut sums = [[0.0; 2]; BANDS];
            for index in 0..draws {
                let mut rng = stream(3, Purpose::Magnitudes, index);
                let measured = measure(&mags, scale, &mut rng);
                for ((sum, mag), found) in sums.iter_mut().zip(mags).zip(measured) {
                    sum[0] += found - mag;
                    sum[1] += (found - mag).powi(2);
                }
            }
            for (band, [sum, squares]) in sums.into_iter().enumerate() {
                let count = draws as f64;
                let rms = (squares / count).sqrt();
                // The mean square of a lognormal error is above the square of its median.
                let spread = RELATIONS[band].scatter * std::f64::consts::LN_10;
                let wanted = scale * RELATIONS[band].at(mags[band], 0.0) * (spread * spread).exp();
                assert!((rms / wanted - 1.0).abs() < 0.03, "{rms}, not {wanted}");
                assert!(
                    (sum / count).abs() < 4.0 * rms / count.sqrt(),
                    "band {band}"
                );
            }
        }
        let mut rng = stream(3, Purpose::Magnitudes, 0);
        assert_eq!(measure(&mags, 0.0, &mut rng), mags);
    }
}
