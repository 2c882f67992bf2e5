//! The scene in the frame of an object, and its cutout.

use rand_distr::{Distribution, StandardNormal};

use super::{SampleSurvey, Truth};
use crate::camera::{self, LightSource};
use crate::covariance::Position;
use crate::morphology::Morphology;
use crate::streams::{Purpose, stream};

/// Standard deviation of the offset of a galaxy from the middle of its frame, along each axis.
const CENTRE_JITTER_PX: f64 = 0.35;

impl SampleSurvey {
    /// Renders an observation of an object into `cutout`, `[band, y, x]`, which must be 0.
    ///
    /// `visit` is the number of the observation. Each observation has its own seeing and noise.
    pub fn render(&self, object: u64, visit: u64, truth: &Truth, cutout: &mut [f32]) {
        let mut observation = stream(self.seed, Purpose::Observation, object | visit << 44);
        let conditions = camera::draw_conditions(&mut observation);
        let scene = self.scene(object, truth);
        camera::expose(&scene, &conditions, &self.bands, self.side_px, cutout);
        camera::add_noise(
            cutout,
            &conditions,
            &self.bands,
            self.side_px,
            &mut observation,
        );
    }

    /// The sources in the frame of an object: the parts of the galaxy, then its neighbours.
    fn scene(&self, object: u64, truth: &Truth) -> Vec<LightSource> {
        let mut scene = self.galaxy(object, truth);
        scene.extend(self.neighbours(object, truth));
        scene
    }

    /// The parts of a galaxy.
    pub fn galaxy(&self, object: u64, truth: &Truth) -> Vec<LightSource> {
        let mut rng = stream(self.seed, Purpose::Shape, object);
        let galaxy = &truth.draw.galaxy;
        let morphology = Morphology::draw(galaxy, &mut rng);
        let mut jitter = || -> f64 {
            let normal: f64 = StandardNormal.sample(&mut rng);
            CENTRE_JITTER_PX * normal
        };
        let (x_px, y_px) = (jitter(), jitter());
        let fluxes = camera::dimmed_fluxes_nmgy(&galaxy.mags, truth.reddening);
        let parts = morphology.parts.iter();
        parts
            .map(|part| LightSource {
                offset: Position {
                    x_px: x_px + part.offset.x_px,
                    y_px: y_px + part.offset.y_px,
                },
                profile: part.profile,
                scale_px: part.scale_px,
                shape: part.shape,
                fluxes_nmgy: std::array::from_fn(|band| fluxes[band] * part.shares[band]),
            })
            .collect()
    }
}
