//! The shape of a galaxy with given magnitudes and redshift: an exponential disk with arms, and a de Vaucouleurs bulge.
//!
//! Type and size follow relations that were fitted to 4,969 real SDSS galaxies with Galaxy Zoo votes. The other properties
//! are drawn from distributions that resemble those of the same galaxies.

mod arms;

use crate::bands::BANDS;
use crate::camera::PIXEL_ARCSEC;
use crate::covariance::{Covariance, Position};
use crate::galaxy::Galaxy;
use crate::profile::{Component, DE_VAUCOULEURS, EXPONENTIAL};
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution, StandardNormal};
use std::f64::consts::PI;

/// Colour of a bulge minus the colour of its disk in ugriz, relative to r, in mag.
const BULGE_COLOUR: [f64; BANDS] = [-0.55, -0.20, 0.0, 0.08, 0.14];

/// Lower bound on the share of a bulge in the light. A fainter bulge is left out.
const BULGE_SHARE_MIN: f64 = 0.04;

/// Lower bound on the axis ratio of a disk.
const AXIS_RATIO_MIN: f64 = 0.12;

/// A part of a galaxy: a profile and a shape.
#[derive(Debug, Clone, Copy)]
pub struct GalaxyPart {
    /// Offset from the centre of the galaxy.
    pub offset: Position,
    /// The Gaussians from narrow to wide, in units of `scale_px`.
    pub profile: &'static [Component],
    /// Unit of the profile along the major axis, in px: the half-light radius of disk and bulge.
    pub scale_px: f64,
    /// The shape, with variance 1 along the major axis.
    pub shape: Covariance,
    /// Share of the light of the galaxy in ugriz.
    pub shares: [f64; BANDS],
}

/// A galaxy without the effects of telescope, sky and dust.
#[derive(Debug, Clone)]
pub struct Morphology {
    /// Probability that people classify the galaxy as elliptical, from which its shape is drawn.
    #[cfg(test)]
    pub p_elliptical: f64,
    /// Disk, bulge and the patches of the arms. The bulge may have no light.
    pub parts: Vec<GalaxyPart>,
}

impl Morphology {
    /// Draws the morphology of a galaxy.
    pub fn draw(galaxy: &Galaxy, rng: &mut impl Rng) -> Self {
        let expected = p_elliptical_expected(galaxy);
        let p_elliptical = beta(2.0 * expected, 2.0 * (1.0 - expected), rng);
        let radius_px = exponential_radius_px(galaxy, p_elliptical, rng);
        let bulge_radius_px = radius_px * 10f64.powf(0.252 + 0.10 * normal(rng));
        let axis_ratio = draw_axis_ratio(p_elliptical, rng);
        let angle_rad = rng.random_range(0.0..PI);
        let bulge_share = draw_bulge_share(p_elliptical, rng);
        let bulge_shares = bulge_shares_by_band(bulge_share, 1.0 + 0.25 * normal(rng));
        let mut disk = GalaxyPart {
            offset: Position::ORIGIN,
            profile: &EXPONENTIAL,
            scale_px: radius_px * (1.0 + 0.25 * bulge_share),
            shape: Covariance::ellipse(axis_ratio, angle_rad),
            shares: bulge_shares.map(|share| 1.0 - share),
        };
        let bulge = GalaxyPart {
            offset: Position::ORIGIN,
            profile: &DE_VAUCOULEURS,
            scale_px: bulge_radius_px * (0.25 + 0.75 * bulge_share),
            shape: Covariance::ellipse(0.35 + 0.65 * axis_ratio, angle_rad),
            shares: bulge_shares,
        };
        let arms = arms::draw_arms(&mut disk, axis_ratio, angle_rad, 1.0 - p_elliptical, rng);
        Self {
            #[cfg(test)]
            p_elliptical,
            parts: [disk, bulge].into_iter().chain(arms).collect(),
        }
    }
}

fn p_elliptical_expected(galaxy: &Galaxy) -> f64 {
    let [u, g, r, ..] = galaxy.mags;
    let log_z = galaxy.z_spec.log10() + 1.0;
    let logit =
        -0.667 + 0.605 * (u - r - 2.2) + 1.723 * (g - r - 0.8) - 0.256 * log_z - 0.219 * (r - 17.0);
    // Closer to 0 and 1, a Beta distribution is concentrated at its edges.
    (1.0 / (1.0 + (-logit).exp())).clamp(0.02, 0.98)
}

fn exponential_radius_px(galaxy: &Galaxy, p_elliptical: f64, rng: &mut impl Rng) -> f64 {
    let [_, g, r, ..] = galaxy.mags;
    let log_arcsec = 0.250
        - 0.164 * (r - 17.0)
        - 0.056 * (galaxy.z_spec.log10() + 1.0)
        - 0.059 * (g - r - 0.8)
        - 0.494 * (p_elliptical - 0.5)
        + 0.15 * normal(rng);
    10f64.powf(log_arcsec) / PIXEL_ARCSEC
}

fn draw_axis_ratio(p_elliptical: f64, rng: &mut impl Rng) -> f64 {
    let (a, b) = match p_elliptical {
        p if p < 0.3 => (2.4, 1.9),
        p if p > 0.7 => (7.3, 2.2),
        _ => (4.1, 1.9),
    };
    beta(a, b, rng).max(AXIS_RATIO_MIN)
}

fn draw_bulge_share(p_elliptical: f64, rng: &mut impl Rng) -> f64 {
    let share = beta(
        0.6 + 5.0 * p_elliptical,
        0.6 + 5.0 * (1.0 - p_elliptical),
        rng,
    );
    if share < BULGE_SHARE_MIN { 0.0 } else { share }
}

/// The share of the bulge in each band, from its share in r and the strength of its colour.
fn bulge_shares_by_band(bulge_share: f64, strength: f64) -> [f64; BANDS] {
    BULGE_COLOUR.map(|colour| {
        let bulge = bulge_share * 10f64.powf(0.4 * colour * strength);
        bulge / (bulge + 1.0 - bulge_share)
    })
}

fn beta(a: f64, b: f64, rng: &mut impl Rng) -> f64 {
    Beta::new(a, b)
        .expect("invariant: both parameters of the Beta distribution are above 0")
        .sample(rng)
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests;
