//! Positions and shapes of Gaussians, in pixels.

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
    /// An ellipse with variance 1 along the direction `angle_rad` from the x axis, and `axis_ratio` squared across.
    pub fn ellipse(axis_ratio: f64, angle_rad: f64) -> Self {
        let (sin, cos) = angle_rad.sin_cos();
        let minor = axis_ratio * axis_ratio;
        Self {
            xx: cos * cos + minor * sin * sin,
            xy: (1.0 - minor) * sin * cos,
            yy: sin * sin + minor * cos * cos,
        }
    }

    /// The determinant: the product of the variances along the axes of the ellipse.
    pub fn determinant(self) -> f64 {
        self.xx * self.yy - self.xy * self.xy
    }

    /// The shape scaled by `variance_px2` and convolved with a round Gaussian of variance `blur_px2`.
    pub fn scaled_and_blurred(self, variance_px2: f64, blur_px2: f64) -> Self {
        Self {
            xx: self.xx * variance_px2 + blur_px2,
            xy: self.xy * variance_px2,
            yy: self.yy * variance_px2 + blur_px2,
        }
    }
}

/// A position in pixels. The centre of the first pixel is at (0, 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Along a row.
    pub x_px: f64,
    /// From row to row.
    pub y_px: f64,
}

impl Position {
    /// The centre of the first pixel, or no offset.
    pub const ORIGIN: Self = Self {
        x_px: 0.0,
        y_px: 0.0,
    };
}
