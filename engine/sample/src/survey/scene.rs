//! The scene in the frame of an object, and its cutout.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Poisson, StandardNormal};

use super::{SampleSurvey, Truth};
use crate::camera::{self, LightSource};
use crate::covariance::{Covariance, Position};
use crate::morphology::Morphology;
use crate::profile::Component;
use crate::streams::{Purpose, stream};

/// Standard deviation of the offset of a galaxy from the middle of its frame, along each axis.
const CENTRE_JITTER_PX: f64 = 0.35;

impl SampleSurvey {
    /// Renders an observation of an object into `cutout`, `[band, y, x]`, which must be 0.
    ///
    /// `visit` is the number of the observation. Each observation has its own seeing and noise.
    pub fn render(&self, object: u64, visit: u64, truth: &Truth, cutout: &mut [f32]) {
        let mut observation = stream(self.seed, Purpose::Observation, object | visit << 44);
        let seeing = camera::draw_seeing(&mut observation);
        let scene = self.scene(object, truth);
        camera::expose(&scene, seeing, &self.bands, self.side_px, cutout);
        camera::add_noise(cutout, &self.bands, self.side_px, &mut observation);
    }

    /// The sources in the frame of an object: the parts of the galaxy, then its neighbours.
    pub fn scene(&self, object: u64, truth: &Truth) -> Vec<LightSource> {
        let mut rng = stream(self.seed, Purpose::Shape, object);
        let galaxy = &truth.draw.galaxy;
        let morphology = Morphology::draw(galaxy, &mut rng);
        let mut jitter = || -> f64 {
            let normal: f64 = StandardNormal.sample(&mut rng);
            CENTRE_JITTER_PX * normal
        };
        let offset = Position {
            x_px: jitter(),
            y_px: jitter(),
        };
        let fluxes = camera::dimmed_fluxes_nmgy(&galaxy.mags, truth.reddening);
        let parts = morphology.parts.iter().map(|part| LightSource {
            offset,
            profile: part.profile,
            scale_px: part.half_light_px,
            shape: part.shape,
            fluxes_nmgy: std::array::from_fn(|band| fluxes[band] * part.shares[band]),
        });
        parts.chain(self.neighbours(object, truth)).collect()
    }

    /// Other stars and galaxies in the frame.
    fn neighbours(&self, object: u64, truth: &Truth) -> Vec<LightSource> {
        const PER_PX2: f64 = 1.2 / (64.0 * 64.0);
        let mut rng = stream(self.seed, Purpose::Neighbours, object);
        let expected = PER_PX2 * (self.side_px * self.side_px) as f64;
        let count = Poisson::new(expected)
            .expect("invariant: the area of a frame is above 0")
            .sample(&mut rng);
        (0..count as u64)
            .map(|_| self.neighbour(truth.reddening, &mut rng))
            .collect()
    }

    fn neighbour(&self, reddening: f64, rng: &mut impl Rng) -> LightSource {
        const ROUND: [Component; 1] = [Component {
            weight: 1.0,
            sigma: 1.0,
        }];
        const BLENDED_WITHIN_PX: f64 = 6.0;
        let half_side_px = self.side_px as f64 / 2.0;
        let offset = Position {
            x_px: rng.random_range(-half_side_px..half_side_px),
            y_px: rng.random_range(-half_side_px..half_side_px),
        };
        let mag_r = draw_neighbour_mag(rng);
        let real_mags = self.photometry.any_mags(rng);
        let mags = real_mags.map(|mag| mag + mag_r - real_mags[2]);
        let is_star = rng.random_bool(0.35);
        let sigma_arcsec: f64 = rng.random_range(0.4..1.2);
        // A closer neighbour would have been measured as part of the galaxy, so most of its light is removed.
        let blended = offset.x_px.hypot(offset.y_px) < BLENDED_WITHIN_PX;
        let kept = if blended { 0.1 } else { 1.0 };
        LightSource {
            offset,
            profile: &ROUND,
            scale_px: if is_star {
                0.0
            } else {
                sigma_arcsec / camera::PIXEL_ARCSEC
            },
            shape: Covariance::ellipse(1.0, 0.0),
            fluxes_nmgy: camera::dimmed_fluxes_nmgy(&mags, reddening).map(|flux| flux * kept),
        }
    }
}

/// Draws a magnitude in r from 16.5 to 23, with counts proportional to 10^(0.33 mag).
fn draw_neighbour_mag(rng: &mut impl Rng) -> f64 {
    const SLOPE: f64 = 0.33;
    const BRIGHTEST: f64 = 16.5;
    let span = 10f64.powf(SLOPE * (23.0 - BRIGHTEST));
    let share: f64 = rng.random_range(0.0..1.0);
    BRIGHTEST + (1.0 + share * (span - 1.0)).log10() / SLOPE
}
