//! Draws Gaussians into the pixels of one band.
//!
//! A galaxy and the PSF are sums of Gaussians, so the observed galaxy is a sum of Gaussians too. It is drawn in closed form,
//! without a Fourier transform and its wrap-around. The average over the area of a pixel is also a convolution; the variance
//! of the pixel is added instead.

mod exp2;

use std::f64::consts::{LOG2_E, TAU};
use std::ops::Range;

use crate::covariance::{Covariance, Position};
use exp2::exp2;

/// Variance of a uniform distribution over one pixel, in px².
const PIXEL_VARIANCE: f64 = 1.0 / 12.0;

/// The distance in standard deviations up to which a Gaussian is drawn. Beyond, it is below 4e-5 of its peak.
const REACH_SIGMA: f64 = 4.5;

/// The width of a strip. A strip fills a vector register, and no frame is narrower.
pub const STRIP_PX: usize = 8;

/// The number of rows that are computed from one another. Longer chains would accumulate rounding errors.
const CHAIN_PX: usize = 16;

/// A value for each column of a strip.
type Strip = [f32; STRIP_PX];

/// Adds a Gaussian with a total of `flux_nmgy` to `pixels`, `[y, x]` with `side_px` pixels in a row.
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
        // The last strip begins further left, so that it ends with the frame.
        let left = first.min(side_px - STRIP_PX);
        for top in rows.clone().step_by(CHAIN_PX) {
            let height_px = CHAIN_PX.min(rows.end - top);
            let strip = gaussian.strip(left, first - left, top);
            let below = &mut pixels[top * side_px + left..];
            strip.add(below, side_px, height_px);
        }
    }
}

/// A Gaussian to draw: `peak * 2^(xx dx² + xy dx dy + yy dy²)`.
struct Gaussian {
    at: Position,
    /// The covariance, with the variance of a pixel.
    covariance: Covariance,
    /// Variance along the column through the centre.
    height2: f64,
    peak: f32,
    xx: f32,
    xy: f32,
    yy: f32,
    /// The factor by which the ratio of a row to the next changes from row to row.
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

    /// The rows in which the Gaussian reaches any of these columns.
    fn rows(&self, columns: &Range<usize>, side_px: usize) -> Range<usize> {
        let Covariance { xx, xy, yy } = self.covariance;
        let left = columns.start as f64 - self.at.x_px;
        let right = (columns.end - 1) as f64 - self.at.x_px;
        // The column in which the Gaussian reaches its highest row. The reach is an ellipse, so the highest row of the
        // strip is in the column of the strip closest to this column.
        let highest = REACH_SIGMA * xy / yy.sqrt();
        let edge = |dx: f64, side: f64| {
            let reach = (REACH_SIGMA * REACH_SIGMA - dx * dx / xx).max(0.0).sqrt();
            self.at.y_px + dx * xy / xx + side * reach * self.height2.sqrt()
        };
        let low = edge((-highest).max(left).min(right), -1.0);
        let high = edge(highest.max(left).min(right), 1.0);
        span(low, high, side_px)
    }

    /// The strip at column `left` and row `top`. Its first `hidden` columns are 0.
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

/// A row of a strip and the factors that give the next row. The ratio of a row of a Gaussian to the next is a constant times
/// the ratio before, so only the first row needs an exponential.
struct StripChain {
    values: Strip,
    ratios: Strip,
    ratio_of_ratios: f32,
}

impl StripChain {
    /// Adds `height_px` rows to `pixels`, which begin at the first pixel of the strip and have `side_px` pixels in a row.
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

/// The pixels of the frame whose centres are in `[low, high]`.
fn span(low: f64, high: f64, side_px: usize) -> Range<usize> {
    // Casts saturate at 0 and truncate. `ceil` and `floor` would be function calls.
    let before = low as usize;
    let start = before + usize::from(low > before as f64);
    let end = if high < 0.0 { 0 } else { high as usize + 1 };
    start.min(side_px)..end.clamp(start.min(side_px), side_px)
}

#[cfg(test)]
mod tests;
