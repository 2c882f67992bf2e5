//! Draws Gaussians into the pixels of one band.
//!
//! A galaxy is a sum of Gaussians and so is the PSF, hence what the telescope sees is a sum of
//! Gaussians too: it is drawn in closed form, without a transform and its wrap-around. Averaging
//! over a pixel's area is a convolution as well; its variance is added instead.

use std::f32::consts::LN_2;
use std::f64::consts::{LOG2_E, TAU};
use std::ops::Range;

/// Variance of a uniform distribution over one pixel, in px².
const PIXEL_VARIANCE: f64 = 1.0 / 12.0;

/// Beyond this many standard deviations a Gaussian is not drawn: 4e-5 of its peak.
const REACH_SIGMA: f64 = 4.5;

/// Pixels of a row are drawn in runs of this many, which fill vector registers.
const RUN_PX: usize = 8;

/// The covariance of an elliptical Gaussian, in px².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Covariance {
    /// Variance along x.
    pub xx: f64,
    /// Covariance of x and y.
    pub xy: f64,
    /// Variance along y.
    pub yy: f64,
}

impl Covariance {
    /// Unit variance along `angle_rad` from the x axis, `axis_ratio` squared across it.
    pub fn ellipse(axis_ratio: f64, angle_rad: f64) -> Self {
        let (sin, cos) = angle_rad.sin_cos();
        let minor = axis_ratio * axis_ratio;
        Self {
            xx: cos * cos + minor * sin * sin,
            xy: (1.0 - minor) * sin * cos,
            yy: sin * sin + minor * cos * cos,
        }
    }

    /// The same shape, scaled by `variance_px2`, and convolved with a round Gaussian.
    pub fn scaled_and_blurred(self, variance_px2: f64, blur_px2: f64) -> Self {
        Self {
            xx: self.xx * variance_px2 + blur_px2,
            xy: self.xy * variance_px2,
            yy: self.yy * variance_px2 + blur_px2,
        }
    }
}

/// Where something lies, in pixels; the centre of the first pixel is at (0, 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Along a row.
    pub x_px: f64,
    /// From row to row.
    pub y_px: f64,
}

/// Adds a Gaussian of `flux_nmgy` in all to `pixels`, `[y, x]` with `side_px` to a row.
pub fn add_gaussian(
    pixels: &mut [f32],
    side_px: usize,
    at: Position,
    covariance: Covariance,
    flux_nmgy: f64,
) {
    let (xx, xy, yy) = (
        covariance.xx + PIXEL_VARIANCE,
        covariance.xy,
        covariance.yy + PIXEL_VARIANCE,
    );
    let determinant = xx * yy - xy * xy;
    let peak = (flux_nmgy / (TAU * determinant.sqrt())) as f32;
    // Row by row the Gaussian is one of its own: its width is the same in each, its centre and
    // its height go with the row.
    let width2 = determinant / yy;
    let curvature = (-0.5 * LOG2_E / width2) as f32;
    let reach_y = REACH_SIGMA * yy.sqrt();
    for y in span(at.y_px - reach_y, at.y_px + reach_y, side_px) {
        let dy = y as f64 - at.y_px;
        let centre = at.x_px + dy * xy / yy;
        let fallen = dy * dy / yy;
        let reach_x = (REACH_SIGMA * REACH_SIGMA - fallen).max(0.0).sqrt() * width2.sqrt();
        let columns = runs(span(centre - reach_x, centre + reach_x, side_px), side_px);
        let height = peak * exp2((-0.5 * LOG2_E * fallen) as f32);
        let first = columns.start as f64 - centre;
        let row = &mut pixels[y * side_px..][columns];
        add_row(row, height, curvature, first as f32);
    }
}

/// The pixels whose centres lie in `[low, high]`, cut to the frame.
fn span(low: f64, high: f64, side_px: usize) -> Range<usize> {
    // Casts saturate at 0 and cut the fraction off; `ceil` and `floor` would be calls.
    let before = low as usize;
    let start = before + usize::from(low > before as f64);
    let end = if high < 0.0 { 0 } else { high as usize + 1 };
    start.min(side_px)..end.clamp(start.min(side_px), side_px)
}

/// `span`, widened to whole runs where the frame has room for them.
fn runs(span: Range<usize>, side_px: usize) -> Range<usize> {
    let len = span.len().next_multiple_of(RUN_PX).min(side_px);
    let start = span.start.min(side_px - len);
    start..start + len
}

/// Adds `height * 2^(curvature * dx²)` to a row, whose first pixel is at `dx = first`.
fn add_row(row: &mut [f32], height: f32, curvature: f32, first: f32) {
    let mut dx = first;
    let (runs, rest) = row.as_chunks_mut::<RUN_PX>();
    for run in runs {
        for (column, pixel) in run.iter_mut().enumerate() {
            let dx = dx + column as f32;
            *pixel += height * exp2(curvature * dx * dx);
        }
        dx += RUN_PX as f32;
    }
    for (column, pixel) in rest.iter_mut().enumerate() {
        let dx = dx + column as f32;
        *pixel += height * exp2(curvature * dx * dx);
    }
}

/// `2^x` for `x` up to 0 to 4e-6, and 0 for all that counts below -120, without a branch or a call:
/// it vectorises.
fn exp2(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // `clamp` and `f32::max` mind NaN, which costs; nothing here is NaN.
    let x = if x > -120.0 { x } else { -120.0 };
    let rounded = x + ROUND;
    let fraction = x - (rounded - ROUND);
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    // The Taylor series of 2^f for f in -0.5..=0.5, in Horner's form.
    let mut series = 0.001_333_356;
    for coefficient in [0.009_618_129, 0.055_504_11, 0.240_226_5, LN_2, 1.0] {
        series = series * fraction + coefficient;
    }
    power * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp2_is_exact_to_a_few_parts_in_a_million() {
        for step in 0..=3_000 {
            let x = -0.01 * step as f32;
            let ratio = f64::from(exp2(x)) / f64::from(x).exp2();
            assert!((ratio - 1.0).abs() < 4e-6, "{ratio} at {x}");
        }
    }

    #[test]
    fn a_gaussian_has_its_flux_its_centre_and_its_shape() {
        let side_px = 64;
        let at = Position {
            x_px: 30.2,
            y_px: 33.7,
        };
        let covariance = Covariance::ellipse(0.2, 0.9).scaled_and_blurred(25.0, 1.0);
        let mut pixels = vec![0.0; side_px * side_px];
        add_gaussian(&mut pixels, side_px, at, covariance, 100.0);
        let moment = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            (0..pixels.len())
                .map(|i| {
                    let (x, y) = ((i % side_px) as f64, (i / side_px) as f64);
                    f64::from(pixels[i]) * of(x - at.x_px, y - at.y_px) / 100.0
                })
                .sum()
        };
        assert!((moment(&|_, _| 1.0) - 1.0).abs() < 1e-3);
        assert!(moment(&|x, _| x).abs() < 1e-3);
        assert!(moment(&|_, y| y).abs() < 1e-3);
        assert!((moment(&|x, _| x * x) / (covariance.xx + PIXEL_VARIANCE) - 1.0).abs() < 2e-3);
        assert!((moment(&|x, y| x * y) / covariance.xy - 1.0).abs() < 2e-3);
        assert!((moment(&|_, y| y * y) / (covariance.yy + PIXEL_VARIANCE) - 1.0).abs() < 2e-3);
    }

    #[test]
    fn what_lies_outside_the_frame_is_cut_off() {
        let mut pixels = vec![0.0; 16 * 16];
        let at = Position {
            x_px: -40.0,
            y_px: 200.0,
        };
        let round = Covariance::ellipse(1.0, 0.0);
        add_gaussian(&mut pixels, 16, at, round, 100.0);
        assert!(pixels.iter().all(|&pixel| pixel == 0.0));
    }
}
