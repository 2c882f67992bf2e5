//! The structure of a disk: patches of young stars along two spiral arms.
//!
//! A patch is a Gaussian that is round in the plane of the disk. Patches are bluer than the disk, and of unlike brightness, so
//! a galaxy is no longer the same after half a turn.

use std::f64::consts::{PI, TAU};

use rand::{Rng, RngExt};

use super::{GalaxyPart, normal};
use crate::bands::BANDS;
use crate::covariance::{Covariance, Position};
use crate::profile::GAUSSIAN;

/// The number of patches of each arm.
const PATCHES: usize = 4;

/// The share of the light of a pure disk that is in its arms, in r.
const SHARE: f64 = 0.38;

/// The light of the arms relative to that of the disk in ugriz, with 1 in r.
const BLUER: [f64; BANDS] = [1.7, 1.25, 1.0, 0.9, 0.85];

/// Scatter of the logarithm of the brightness of a patch.
const UNLIKE: f64 = 0.7;

/// Standard deviation of a patch in units of its distance from the centre.
const PATCH_SIGMA: f64 = 0.2;

/// Moves light of `disk` into arms. `strength` is 0 for a smooth galaxy and 1 for a plain spiral. `axis_ratio` and `angle_rad`
/// are those of the disk.
pub(super) fn draw_arms(
    disk: &mut GalaxyPart,
    axis_ratio: f64,
    angle_rad: f64,
    strength: f64,
    rng: &mut impl Rng,
) -> Vec<GalaxyPart> {
    let share = SHARE * strength * rng.random_range(0.5..1.5);
    if share < 0.02 {
        return Vec::new();
    }
    let in_arms = BLUER.map(|bluer| (share * bluer).min(0.8));
    let pitch = rng.random_range(0.2..0.55f64);
    let (start, turn) = (
        rng.random_range(0.0..TAU),
        [-1.0, 1.0][rng.random_range(0..2)],
    );
    let places: Vec<(f64, f64)> = (0..2 * PATCHES)
        .map(|patch| {
            let (arm, step) = (patch % 2, patch / 2);
            let radius = 0.5 + 0.4 * (step as f64 + rng.random_range(0.0..1.0));
            let along = (radius / 0.5).ln() / pitch.tan();
            let place = start + PI * arm as f64 + turn * along + 0.15 * normal(rng);
            (radius, place)
        })
        .collect();
    // As bright as the disk there, over an area that grows with the square of the radius.
    let light: Vec<f64> = places
        .iter()
        .map(|(radius, _)| (-1.68 * radius + UNLIKE * normal(rng)).exp() * radius * radius)
        .collect();
    let total: f64 = light.iter().sum();
    let shares = disk.shares;
    for (share, in_arms) in disk.shares.iter_mut().zip(in_arms) {
        *share *= 1.0 - in_arms;
    }
    let (sin, cos) = angle_rad.sin_cos();
    let patches = places.into_iter().zip(light);
    patches
        .map(|((radius, place), light)| {
            let radius_px = radius * disk.half_light_px;
            let (along, across) = (
                radius_px * place.cos(),
                axis_ratio * radius_px * place.sin(),
            );
            GalaxyPart {
                offset: Position {
                    x_px: along * cos - across * sin,
                    y_px: along * sin + across * cos,
                },
                profile: &GAUSSIAN,
                half_light_px: PATCH_SIGMA * radius_px,
                shape: Covariance::ellipse(axis_ratio, angle_rad),
                shares: std::array::from_fn(|band| shares[band] * in_arms[band] * light / total),
            }
        })
        .collect()
}
