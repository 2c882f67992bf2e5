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

/// A frame is drawn in strips of so many columns, which fill vector registers; no frame is narrower.
pub const STRIP_PX: usize = 8;

/// Rows that one pixel leads to the next in; longer chains would gather rounding errors.
const CHAIN_PX: usize = 16;

/// One value for each column of a strip.
type Strip = [f32; STRIP_PX];

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

    /// The product of the variances along the axes.
    pub fn determinant(self) -> f64 {
        self.xx * self.yy - self.xy * self.xy
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
    let gaussian = Gaussian::new(at, covariance, flux_nmgy);
    let reach = REACH_SIGMA * gaussian.covariance.xx.sqrt();
    let columns = span(at.x_px - reach, at.x_px + reach, side_px);
    for first in columns.clone().step_by(STRIP_PX) {
        let drawn = first..columns.end.min(first + STRIP_PX);
        let rows = gaussian.rows(&drawn, side_px);
        // The last strip begins further left where the frame ends.
        let left = first.min(side_px - STRIP_PX);
        for top in rows.clone().step_by(CHAIN_PX) {
            let height_px = CHAIN_PX.min(rows.end - top);
            let strip = gaussian.strip(left, first - left, top);
            let below = &mut pixels[top * side_px + left..];
            strip.add(below, side_px, height_px);
        }
    }
}

/// A Gaussian of the scene: `peak * 2^(xx dx² + xy dx dy + yy dy²)`.
struct Gaussian {
    at: Position,
    /// That of the pixel's area is in it.
    covariance: Covariance,
    /// Height variance along a column, reached where `dx` is 0.
    height2: f64,
    peak: f32,
    xx: f32,
    xy: f32,
    yy: f32,
    /// What the ratio of one row to the next changes by, row by row.
    ratio_of_ratios: f32,
}

impl Gaussian {
    fn new(at: Position, covariance: Covariance, flux_nmgy: f64) -> Self {
        let covariance = Covariance {
            xx: covariance.xx + PIXEL_VARIANCE,
            xy: covariance.xy,
            yy: covariance.yy + PIXEL_VARIANCE,
        };
        let Covariance { xx, xy, yy } = covariance;
        let determinant = covariance.determinant();
        let curvature = -0.5 * LOG2_E / determinant;
        Self {
            at,
            covariance,
            height2: determinant / xx,
            peak: (flux_nmgy / (TAU * determinant.sqrt())) as f32,
            xx: (curvature * yy) as f32,
            xy: (-2.0 * curvature * xy) as f32,
            yy: (curvature * xx) as f32,
            ratio_of_ratios: (2.0 * curvature * xx).exp2() as f32,
        }
    }

    /// The rows that it reaches in any of these columns.
    fn rows(&self, columns: &Range<usize>, side_px: usize) -> Range<usize> {
        let Covariance { xx, xy, yy } = self.covariance;
        let left = columns.start as f64 - self.at.x_px;
        let right = (columns.end - 1) as f64 - self.at.x_px;
        // Where it reaches highest in the whole frame; the bound of what it reaches is an ellipse,
        // so that the nearest column to it is where it reaches highest in the strip.
        let highest = REACH_SIGMA * xy / yy.sqrt();
        let edge = |dx: f64, side: f64| {
            let reach = (REACH_SIGMA * REACH_SIGMA - dx * dx / xx).max(0.0).sqrt();
            self.at.y_px + dx * xy / xx + side * reach * self.height2.sqrt()
        };
        let low = edge((-highest).max(left).min(right), -1.0);
        let high = edge(highest.max(left).min(right), 1.0);
        span(low, high, side_px)
    }

    /// The strip at column `left` and row `top`; its first `hidden` columns are left out.
    fn strip(&self, left: usize, hidden: usize, top: usize) -> StripChain {
        let dx = (left as f64 - self.at.x_px) as f32;
        let dy = (top as f64 - self.at.y_px) as f32;
        let mut values = [0.0; STRIP_PX];
        let mut ratios = [0.0; STRIP_PX];
        for column in 0..STRIP_PX {
            let dx = dx + column as f32;
            let along = self.xy * dx;
            values[column] = self.peak * exp2(self.xx * dx * dx + (along + self.yy * dy) * dy);
            ratios[column] = exp2(along + self.yy * (dy + dy + 1.0));
        }
        values[..hidden].fill(0.0);
        StripChain {
            values,
            ratios,
            ratio_of_ratios: self.ratio_of_ratios,
        }
    }
}

/// A row of a strip and all that leads to the next row: a Gaussian's ratio of one row to the next is
/// itself a constant times that before, so that no exponential is needed but in the first row.
struct StripChain {
    values: Strip,
    ratios: Strip,
    ratio_of_ratios: f32,
}

impl StripChain {
    /// Adds rows to `pixels`, whose first is the strip's first and which has `side_px` to a row.
    fn add(mut self, pixels: &mut [f32], side_px: usize, height_px: usize) {
        let rows = pixels.chunks_mut(side_px).take(height_px);
        for row in rows.filter_map(<[f32]>::first_chunk_mut::<STRIP_PX>) {
            let chains = self.values.iter_mut().zip(&mut self.ratios);
            for (pixel, (value, ratio)) in row.iter_mut().zip(chains) {
                *pixel += *value;
                *value *= *ratio;
                *ratio *= self.ratio_of_ratios;
            }
        }
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

/// `2^x` for `x` up to 120 to 4e-7 and the rounding of `x`, and next to nothing below -120, without a
/// branch or a call: it vectorises.
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
    let mut series = 0.000_154_035_3;
    for coefficient in [
        0.001_333_356,
        0.009_618_129,
        0.055_504_11,
        0.240_226_5,
        LN_2,
        1.0,
    ] {
        series = series * fraction + coefficient;
    }
    power * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    #[test]
    fn exp2_is_exact_to_a_few_parts_in_ten_million() {
        for step in -11_000..=11_000 {
            let x = 0.01 * step as f32;
            let ratio = f64::from(exp2(x)) / f64::from(x).exp2();
            assert!((ratio - 1.0).abs() < 4e-7, "{ratio} at {x}");
        }
    }

    /// The density at every pixel by its definition.
    fn gaussian_by_definition(side_px: usize, at: Position, shape: Covariance) -> Vec<f64> {
        let (xx, xy, yy) = (
            shape.xx + PIXEL_VARIANCE,
            shape.xy,
            shape.yy + PIXEL_VARIANCE,
        );
        let determinant = xx * yy - xy * xy;
        (0..side_px * side_px)
            .map(|i| {
                let dx = (i % side_px) as f64 - at.x_px;
                let dy = (i / side_px) as f64 - at.y_px;
                let fallen = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant;
                (-0.5 * fallen).exp() / (TAU * determinant.sqrt())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_pixel_is_what_the_formula_says(
            side_px in 8usize..80,
            (x_px, y_px) in (-20.0..100.0, -20.0..100.0),
            axis_ratio in 0.12..1.0,
            angle_rad in 0.0..PI,
            scale_px2 in 0.0..3_000.0,
            blur_px2 in 0.5..20.0,
        ) {
            let at = Position { x_px, y_px };
            let shape = Covariance::ellipse(axis_ratio, angle_rad)
                .scaled_and_blurred(scale_px2, blur_px2);
            let mut pixels = vec![0.0; side_px * side_px];
            add_gaussian(&mut pixels, side_px, at, shape, 1.0);
            let wanted = gaussian_by_definition(side_px, at, shape);
            let peak = gaussian_by_definition(1, Position { x_px: 0.0, y_px: 0.0 }, shape)[0];
            for (&drawn, wanted) in pixels.iter().zip(wanted) {
                let drawn = f64::from(drawn);
                // What lies beyond the reach may be left out.
                let tolerance = 2e-5 * wanted + 4.1e-5 * peak * f64::from(drawn == 0.0);
                prop_assert!((drawn - wanted).abs() <= tolerance + 1e-30, "{drawn}, not {wanted}");
            }
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
