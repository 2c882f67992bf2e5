//! The noise of a frame that was put on another grid of pixels.
//!
//! Surveys give the bands of a galaxy on one grid, so most bands are resampled by a fraction of a pixel. Lanczos-3 (Duchon
//! 1979) is the usual kernel. The kernel hardly changes a galaxy, but it changes the noise:
//! averaged over shifts, the rms is 14% lower, and neighbouring pixels have a correlation of 0.15.

use std::ops::Range;

use rand::{Rng, RngExt};

use crate::covariance::Position;
use crate::noise::Normals;

/// The number of pixels along each axis that a resampled pixel is made of.
const TAPS: usize = 6;

/// The range of shifts, in px. At the smaller and larger ones the noise stays nearly white, as it does in a band that is not
/// resampled.
const SHIFTS_PX: Range<f64> = 0.12..0.88;

/// Draws the shift of a frame against the grid that it is resampled to.
pub fn draw_shift(rng: &mut impl Rng) -> Position {
    Position {
        x_px: rng.random_range(SHIFTS_PX),
        y_px: rng.random_range(SHIFTS_PX),
    }
}

/// The number of pixels of white noise that a resampled plane is made of.
pub fn white_pixels(side_px: usize) -> usize {
    (side_px + TAPS - 1).pow(2)
}

/// White noise of variance 1, resampled by `shift`: `side_px` rows of `side_px` pixels.
pub fn resampled(normals: &mut Normals, side_px: usize, shift: Position) -> Vec<f32> {
    let white_side_px = side_px + TAPS - 1;
    let white = normals.white(white_pixels(side_px));
    let along = lanczos_weights(shift.x_px);
    let mut rows = vec![0.0; white_side_px * side_px];
    for (row, white) in rows
        .chunks_exact_mut(side_px)
        .zip(white.chunks_exact(white_side_px))
    {
        for (tap, weight) in along.into_iter().enumerate() {
            add_scaled(row, &white[tap..tap + side_px], weight);
        }
    }
    let across = lanczos_weights(shift.y_px);
    let mut plane = vec![0.0; side_px * side_px];
    for (y, row) in plane.chunks_exact_mut(side_px).enumerate() {
        for (tap, weight) in across.into_iter().enumerate() {
            add_scaled(row, &rows[(y + tap) * side_px..][..side_px], weight);
        }
    }
    plane
}

fn add_scaled(to: &mut [f32], from: &[f32], weight: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += weight * from;
    }
}

/// The weights of the pixels from -2 to 3 for a shift from 0 to 1 px. Their sum is 1.
fn lanczos_weights(shift_px: f64) -> [f32; TAPS] {
    let sinc = |x: f64| match x * std::f64::consts::PI {
        0.0 => 1.0,
        angle => angle.sin() / angle,
    };
    let weights: [f64; TAPS] = std::array::from_fn(|tap| {
        let distance = tap as f64 - 2.0 - shift_px;
        sinc(distance) * sinc(distance / 3.0)
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| (weight / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Purpose, stream};

    /// Variance, and correlation of neighbours along x and along y.
    fn moments(plane: &[f32], side_px: usize) -> [f64; 3] {
        let product = |step: usize| -> f64 {
            let pairs = plane.iter().zip(&plane[step..]);
            let sum: f64 = pairs.map(|(a, b)| f64::from(a * b)).sum();
            sum / (plane.len() - step) as f64
        };
        let variance = product(0);
        [variance, product(1) / variance, product(side_px) / variance]
    }

    #[test]
    fn a_shift_of_nothing_changes_nothing() {
        let seed = || Normals::new(&mut stream(1, Purpose::Observation, 0));
        let white = seed().white(white_pixels(10));
        let plane = resampled(&mut seed(), 10, Position::ORIGIN);
        for (y, row) in plane.chunks_exact(10).enumerate() {
            for (found, wanted) in row.iter().zip(&white[(y + 2) * 15 + 2..]) {
                assert!((found - wanted).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn resampled_noise_is_that_of_real_cutouts() {
        // Real resampled cutouts: rms lower by 10 to 20%, neighbours correlated by 0.10 to 0.18.
        let (planes, side_px) = (400, 64);
        let mut rng = stream(1, Purpose::Observation, 1);
        let mut normals = Normals::new(&mut rng);
        let mut sums = [0.0; 3];
        for _ in 0..planes {
            let plane = resampled(&mut normals, side_px, draw_shift(&mut rng));
            let [variance, along, across] = moments(&plane, side_px);
            for (sum, value) in sums.iter_mut().zip([variance.sqrt(), along, across]) {
                *sum += value / f64::from(planes);
            }
        }
        let [rms, along, across] = sums;
        assert!((rms - 0.86).abs() < 0.02, "rms {rms}");
        assert!((along - 0.15).abs() < 0.02, "along {along}");
        assert!((across - 0.15).abs() < 0.02, "across {across}");
    }
}
