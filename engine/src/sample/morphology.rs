//! What a galaxy of given magnitudes and redshift looks like: an exponential disk and a bulge.
//!
//! Type and size follow relations fitted to 4,969 real SDSS galaxies with Galaxy Zoo votes; the rest
//! is drawn from distributions that look like theirs. There are no arms, bars or clumps.

use super::camera::PIXEL_ARCSEC;
use super::photometry::Galaxy;
use super::profile::{Component, DE_VAUCOULEURS, EXPONENTIAL};
use super::render::Covariance;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution, StandardNormal};
use std::f64::consts::PI;

/// Colour of a bulge less that of its disk in ugriz, relative to r, in mag of flux.
const BULGE_COLOUR: [f64; 5] = [-0.55, -0.20, 0.0, 0.08, 0.14];

/// A bulge with a smaller share of the light is left out.
const BULGE_SHARE_MIN: f64 = 0.04;

/// Disks are not thinner than this.
const AXIS_RATIO_MIN: f64 = 0.12;

/// A part of a galaxy: one profile of one shape.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The profile, in half-light radii.
    pub profile: &'static [Component],
    /// Half-light radius along the major axis.
    pub half_light_px: f64,
    /// The shape, of unit variance along the major axis.
    pub shape: Covariance,
    /// Share of the galaxy's light in ugriz.
    pub shares: [f64; 5],
}

/// A galaxy as it would look without telescope, sky and dust.
#[derive(Debug, Clone, Copy)]
pub struct Morphology {
    /// Probability that people would call it elliptical: what it was drawn by.
    #[cfg(test)]
    pub p_elliptical: f64,
    /// Disk and bulge; the bulge may have no light.
    pub parts: [Part; 2],
}

impl Morphology {
    /// Draws one for a galaxy.
    pub fn draw(galaxy: &Galaxy, rng: &mut impl Rng) -> Self {
        let expected = p_elliptical_expected(galaxy);
        let p_elliptical = beta(2.0 * expected, 2.0 * (1.0 - expected), rng);
        let radius_px = exponential_radius_px(galaxy, p_elliptical, rng);
        let bulge_radius_px = radius_px * 10f64.powf(0.252 + 0.10 * normal(rng));
        let axis_ratio = draw_axis_ratio(p_elliptical, rng);
        let angle_rad = rng.random_range(0.0..PI);
        let bulge_share = draw_bulge_share(p_elliptical, rng);
        let bulge_shares = bulge_shares_by_band(bulge_share, 1.0 + 0.25 * normal(rng));
        let disk = Part {
            profile: &EXPONENTIAL,
            half_light_px: radius_px * (1.0 + 0.25 * bulge_share),
            shape: Covariance::ellipse(axis_ratio, angle_rad),
            shares: bulge_shares.map(|share| 1.0 - share),
        };
        let bulge = Part {
            profile: &DE_VAUCOULEURS,
            half_light_px: bulge_radius_px * (0.25 + 0.75 * bulge_share),
            shape: Covariance::ellipse(0.35 + 0.65 * axis_ratio, angle_rad),
            shares: bulge_shares,
        };
        Self {
            #[cfg(test)]
            p_elliptical,
            parts: [disk, bulge],
        }
    }
}

fn p_elliptical_expected(galaxy: &Galaxy) -> f64 {
    let [u, g, r, ..] = galaxy.mags;
    let log_z = galaxy.z_spec.log10() + 1.0;
    let logit =
        -0.667 + 0.605 * (u - r - 2.2) + 1.723 * (g - r - 0.8) - 0.256 * log_z - 0.219 * (r - 17.0);
    // Nearer to 0 and 1 a Beta distribution is all edge.
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

/// The bulge's share band by band, given that in r and how strongly it is redder than the disk.
fn bulge_shares_by_band(bulge_share: f64, strength: f64) -> [f64; 5] {
    BULGE_COLOUR.map(|colour| {
        let bulge = bulge_share * 10f64.powf(0.4 * colour * strength);
        bulge / (bulge + 1.0 - bulge_share)
    })
}

fn beta(a: f64, b: f64, rng: &mut impl Rng) -> f64 {
    Beta::new(a, b)
        .expect("both parameters of a Beta distribution here are above 0")
        .sample(rng)
}

fn normal(rng: &mut impl Rng) -> f64 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    use super::super::streams::{Purpose, stream};
    use super::*;

    fn shapes_of(mags: [f64; 5]) -> Vec<Morphology> {
        let galaxy = Galaxy { mags, z_spec: 0.1 };
        (0..2_000)
            .map(|index| Morphology::draw(&galaxy, &mut stream(1, Purpose::Shape, index)))
            .collect()
    }

    #[test]
    fn every_shape_can_be_drawn() {
        for shape in shapes_of([19.0, 17.0, 16.0, 15.5, 15.2]) {
            assert!((0.0..=1.0).contains(&shape.p_elliptical));
            for part in shape.parts {
                assert!(part.half_light_px > 0.05 && part.half_light_px < 200.0);
                assert!(part.shape.xx * part.shape.yy > part.shape.xy.powi(2));
            }
            for band in 0..5 {
                let total = shape.parts[0].shares[band] + shape.parts[1].shares[band];
                assert!((total - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn red_galaxies_are_elliptical_and_bright_ones_are_large() {
        let mean = |shapes: &[Morphology], of: &dyn Fn(&Morphology) -> f64| {
            shapes.iter().map(of).sum::<f64>() / shapes.len() as f64
        };
        let red = shapes_of([19.9, 18.0, 17.0, 16.6, 16.3]);
        let blue = shapes_of([18.4, 17.4, 17.0, 16.8, 16.7]);
        let bright = shapes_of([15.4, 14.4, 14.0, 13.8, 13.7]);
        assert!(mean(&red, &|s| s.p_elliptical) > 2.0 * mean(&blue, &|s| s.p_elliptical));
        let radius = |shape: &Morphology| shape.parts[0].half_light_px.ln();
        let ratio = (mean(&bright, &radius) - mean(&blue, &radius)).exp();
        assert!((2.0..4.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_bulge_is_redder_than_its_disk() {
        let shares = bulge_shares_by_band(0.5, 1.0);
        assert!(shares.is_sorted());
        assert_eq!(shares[2], 0.5);
        for share in bulge_shares_by_band(1.0, 1.0) {
            assert!((share - 1.0).abs() < 1e-12);
        }
        assert_eq!(bulge_shares_by_band(0.0, 1.0), [0.0; 5]);
    }
}
