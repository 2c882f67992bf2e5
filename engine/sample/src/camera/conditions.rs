//! The conditions of an observation, which differ from band to band.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::bands::BANDS;
use crate::covariance::Position;
use crate::noise::draw_shift;

/// Scatter of `ln(seeing)` from one observation to the next, the same in all bands.
const SEEING_SCATTER: f64 = 0.16;

/// Scatter of `ln(seeing)` of each band.
const SEEING_SCATTER_OF_A_BAND: f64 = 0.12;

/// Displacement of a band against the others along each axis, in px. Its length is 0.1 px rms.
const DISPLACEMENT_PX: f64 = 0.07;

/// Mean and scatter of the rest of the sky in a band, in units of the rms of a pixel of the sky.
const SKY_LEFT: [f64; 2] = [0.03, 0.05];

/// The share of the observations that were resampled to another grid of pixels.
const RESAMPLED_SHARE: f64 = 0.5;

/// The conditions of one band.
#[derive(Debug, Clone, Copy)]
pub struct BandConditions {
    /// Width of the PSF, relative to its usual width.
    pub seeing: f64,
    /// Displacement against the galaxy's place.
    pub displacement: Position,
    /// The rest of the sky after its subtraction, in units of the rms of a pixel of the sky.
    pub sky_left: f64,
    /// The shift by which the frame was resampled.
    pub resampled_by: Option<Position>,
}

impl BandConditions {
    /// The usual seeing, no displacement, no rest of the sky and white noise.
    #[cfg(test)]
    pub const USUAL: Self = Self {
        seeing: 1.0,
        displacement: Position::ORIGIN,
        sky_left: 0.0,
        resampled_by: None,
    };
}

/// Draws the conditions of each band in ugriz.
pub fn draw_conditions(rng: &mut impl Rng) -> [BandConditions; BANDS] {
    let night = SEEING_SCATTER * normal(rng);
    let is_resampled = rng.random_bool(RESAMPLED_SHARE);
    std::array::from_fn(|_| {
        let seeing = (night + SEEING_SCATTER_OF_A_BAND * normal(rng)).exp();
        let [sky_mean, sky_scatter] = SKY_LEFT;
        BandConditions {
            seeing: seeing.clamp(0.5, 2.0),
            displacement: Position {
                x_px: DISPLACEMENT_PX * normal(rng),
                y_px: DISPLACEMENT_PX * normal(rng),
            },
            sky_left: sky_mean + sky_scatter * normal(rng),
            resampled_by: is_resampled.then(|| draw_shift(rng)),
        }
    })
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, stream};

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    /// Scatter of values whose median is known.
    fn scatter(values: &[f64], median_value: f64) -> f64 {
        1.4826 * median(values.iter().map(|it| (it - median_value).abs()).collect())
    }

    #[test]
    fn conditions_scatter_as_those_of_real_fields() {
        let drawn: Vec<_> = (0..4_000)
            .map(|index| draw_conditions(&mut stream(1, Purpose::Observation, index)))
            .collect();
        let seeing = |of: fn(&[BandConditions; BANDS]) -> f64| drawn.iter().map(of).collect();
        let in_r: Vec<f64> = seeing(|bands| bands[2].seeing.ln());
        // Fields scatter by 16% and bands by another 12%: together 20%.
        assert!((scatter(&in_r, 0.0) - 0.2).abs() < 0.015);
        let u_to_r: Vec<f64> = seeing(|bands| (bands[0].seeing / bands[2].seeing).ln());
        assert!((scatter(&u_to_r, 0.0) - 0.17).abs() < 0.015);
        assert!(median(in_r).abs() < 0.01);
        let lengths = |bands: &[BandConditions; BANDS]| {
            let it = bands[0].displacement;
            it.x_px.hypot(it.y_px)
        };
        let displaced: Vec<f64> = drawn.iter().map(lengths).collect();
        assert!((median(displaced) - 0.08).abs() < 0.005);
        let sky: Vec<f64> = drawn.iter().map(|bands| bands[4].sky_left).collect();
        assert!((scatter(&sky, 0.03) - 0.05).abs() < 0.004);
        assert!((median(sky) - 0.03).abs() < 0.004);
        let resampled = drawn.iter().filter(|it| it[0].resampled_by.is_some());
        assert!((resampled.count() as f64 / drawn.len() as f64 - 0.5).abs() < 0.03);
    }
}
