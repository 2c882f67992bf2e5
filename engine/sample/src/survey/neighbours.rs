//! The other stars and galaxies in the frame of an object.

use std::f64::consts::{PI, TAU};
use std::ops::Range;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Poisson, StandardNormal};

use super::{SampleSurvey, Truth};
use crate::camera::{self, LightSource};
use crate::covariance::{Covariance, Position};
use crate::profile::{Component, EXPONENTIAL, GAUSSIAN};
use crate::streams::{Purpose, stream};

/// Stars and galaxies per pixel, in [`MAGS`].
const PER_PX2: f64 = 6.0 / (64.0 * 64.0);

/// The magnitudes of neighbours in r.
const MAGS: Range<f64> = 15.0..23.0;

/// Counts grow as 10^(0.36 mag).
const COUNTS_SLOPE: f64 = 0.36;

/// Galaxies fainter than this are so small and noisy that they are drawn as one Gaussian, which takes less time.
const SIMPLE_MAG: f64 = 20.0;

/// Half-light radius of a round Gaussian in standard deviations.
const HALF_LIGHT_SIGMA: f64 = 1.1774;

/// The share of stars among the neighbours.
const STARS: f64 = 0.35;

/// Within this distance the catalog would have taken a neighbour for a part of the galaxy, so most of its light is left out.
const BLENDED_WITHIN_PX: f64 = 6.0;

/// The share of the galaxies that have a companion: a fainter galaxy beside them, with all of its light.
const COMPANIONS: f64 = 0.15;

/// By how much a companion is fainter than its galaxy, in mag.
const COMPANION_FAINTER: Range<f64> = 1.2..4.5;

/// How far a companion is from its galaxy.
const COMPANION_PX: Range<f64> = 2.5..6.0;

impl SampleSurvey {
    /// The other stars and galaxies in the frame of an object.
    pub fn neighbours(&self, object: u64, truth: &Truth) -> Vec<LightSource> {
        let mut rng = stream(self.seed, Purpose::Neighbours, object);
        let expected = PER_PX2 * (self.side_px * self.side_px) as f64;
        let count = Poisson::new(expected)
            .expect("invariant: the area of a frame is above 0")
            .sample(&mut rng);
        let companion = rng.random_bool(COMPANIONS);
        let companion = companion.then(|| self.companion(truth, &mut rng));
        let others = (0..count as u64).map(|_| self.neighbour(truth.reddening, &mut rng));
        companion.into_iter().chain(others).collect()
    }

    /// A galaxy beside the object.
    fn companion(&self, truth: &Truth, rng: &mut impl Rng) -> LightSource {
        let (distance, towards) = (rng.random_range(COMPANION_PX), rng.random_range(0.0..TAU));
        let at = Position {
            x_px: distance * towards.cos(),
            y_px: distance * towards.sin(),
        };
        let [_, _, r, _, _] = truth.draw.galaxy.mags;
        let mag_r = r + rng.random_range(COMPANION_FAINTER);
        self.galaxy_of(mag_r, at, truth.reddening, rng)
    }

    /// A star or a galaxy anywhere in the frame.
    fn neighbour(&self, reddening: f64, rng: &mut impl Rng) -> LightSource {
        let half_side_px = self.side_px as f64 / 2.0;
        let at = Position {
            x_px: rng.random_range(-half_side_px..half_side_px),
            y_px: rng.random_range(-half_side_px..half_side_px),
        };
        let mag_r = draw_mag(rng);
        let mut source = self.galaxy_of(mag_r, at, reddening, rng);
        if rng.random_bool(STARS) {
            (source.profile, source.scale_px) = (&GAUSSIAN, 0.0);
        }
        if at.x_px.hypot(at.y_px) < BLENDED_WITHIN_PX {
            source.fluxes_nmgy = source.fluxes_nmgy.map(|flux| 0.1 * flux);
        }
        source
    }

    /// A galaxy with the colours of a real one.
    fn galaxy_of(
        &self,
        mag_r: f64,
        at: Position,
        reddening: f64,
        rng: &mut impl Rng,
    ) -> LightSource {
        let real_mags = self.photometry.any_mags(rng);
        let mags = real_mags.map(|mag| mag + mag_r - real_mags[2]);
        let scatter: f64 = StandardNormal.sample(rng);
        // Sizes as those of the survey's own galaxies, followed to fainter ones.
        let half_light_arcsec = 10f64.powf(0.25 - 0.13 * (mag_r - 17.0) + 0.2 * scatter);
        let half_light_px = half_light_arcsec / camera::PIXEL_ARCSEC;
        let (profile, scale_px): (&[Component], f64) = if mag_r < SIMPLE_MAG {
            (&EXPONENTIAL, half_light_px)
        } else {
            (&GAUSSIAN, half_light_px / HALF_LIGHT_SIGMA)
        };
        LightSource {
            offset: at,
            profile,
            scale_px,
            shape: Covariance::ellipse(rng.random_range(0.3..1.0), rng.random_range(0.0..PI)),
            fluxes_nmgy: camera::dimmed_fluxes_nmgy(&mags, reddening),
        }
    }
}

fn draw_mag(rng: &mut impl Rng) -> f64 {
    let span = 10f64.powf(COUNTS_SLOPE * (MAGS.end - MAGS.start));
    let share: f64 = rng.random_range(0.0..1.0);
    MAGS.start + (1.0 + share * (span - 1.0)).log10() / COUNTS_SLOPE
}
