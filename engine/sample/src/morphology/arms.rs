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

/// Arms with a smaller share are left out.
const SHARE_MIN: f64 = 0.02;

/// Scatter of the logarithm of the brightness of a patch.
const UNLIKE: f64 = 0.7;

/// Standard deviation of a patch in units of its distance from the centre.
const PATCH_SIGMA: f64 = 0.2;

/// A patch in the plane of the disk.
struct Patch {
    /// Distance from the centre in half-light radii of the disk.
    radius: f64,
    /// Direction from the centre.
    angle_rad: f64,
    /// Light, in any unit.
    light: f64,
}

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
    if share < SHARE_MIN {
        return Vec::new();
    }
    let patches = draw_patches(rng);
    let light: f64 = patches.iter().map(|patch| patch.light).sum();
    let in_arms: [f64; BANDS] =
        std::array::from_fn(|band| disk.shares[band] * (share * BLUER[band]).min(0.8));
    for (share, in_arms) in disk.shares.iter_mut().zip(in_arms) {
        *share -= in_arms;
    }
    let (sin, cos) = angle_rad.sin_cos();
    let of_patch = |patch: &Patch| {
        let radius_px = patch.radius * disk.scale_px;
        let along = radius_px * patch.angle_rad.cos();
        let across = axis_ratio * radius_px * patch.angle_rad.sin();
        GalaxyPart {
            offset: Position {
                x_px: along * cos - across * sin,
                y_px: along * sin + across * cos,
            },
            profile: &GAUSSIAN,
            scale_px: PATCH_SIGMA * radius_px,
            shape: Covariance::ellipse(axis_ratio, angle_rad),
            shares: in_arms.map(|share| share * patch.light / light),
        }
    };
    patches.iter().map(of_patch).collect()
}

/// Patches along two logarithmic spirals that begin on opposite sides.
fn draw_patches(rng: &mut impl Rng) -> Vec<Patch> {
    const INNERMOST: f64 = 0.5;
    let pitch_rad: f64 = rng.random_range(0.2..0.55);
    let start_rad = rng.random_range(0.0..TAU);
    let turn = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let patches = (0..2 * PATCHES).map(|patch| {
        let (arm, step) = (patch % 2, patch / 2);
        let radius = INNERMOST + 0.4 * (step as f64 + rng.random_range(0.0..1.0));
        let along_rad = (radius / INNERMOST).ln() / pitch_rad.tan();
        let angle_rad = start_rad + PI * arm as f64 + turn * along_rad + 0.15 * normal(rng);
        // As bright as the disk there, over an area that grows with the square of the radius.
        let light = (-1.68 * radius + UNLIKE * normal(rng)).exp() * radius * radius;
        Patch {
            radius,
            angle_rad,
            light,
        }
    });
    patches.collect()
}
