//! Normal deviates, sixteen at a time, for the noise of pixels.
//!
//! The Box-Muller transform (Box and Muller 1958) with polynomials for logarithm, sine and cosine. It has no table and no
//! branch, so compilers vectorise it. All operations round alike on all machines. Deviates are normal up to 5.7 standard
//! deviations, the largest deviate.

mod resampled;

use rand::Rng;
pub use resampled::{draw_shift, resampled, white_pixels};
use std::f32::consts::{FRAC_PI_2, LN_2};

/// The number of parallel generators, which fill a vector register.
const LANES: usize = 8;

/// The number of deviates of a draw.
pub const NORMALS: usize = 2 * LANES;

/// 32 bits from each generator.
type Bits = [u32; LANES];

/// A source of normal deviates: eight xoshiro128++ generators (Blackman and Vigna 2021), seeded by another generator. A
/// pixel needs 32 bits, and xoshiro128++ takes fewer operations for 32 bits than ChaCha8.
pub struct Normals {
    state: [Bits; 4],
}

impl Normals {
    /// Seeds the generators from `rng`.
    pub fn new(rng: &mut impl Rng) -> Self {
        let state = std::array::from_fn(|_| std::array::from_fn(|_| rng.next_u32()));
        Self { state }
    }

    /// The next deviates, with mean 0 and variance 1.
    #[inline]
    pub fn draw(&mut self) -> [f32; NORMALS] {
        let (radius_bits, angle_bits) = (self.next_bits(), self.next_bits());
        let mut normals = [0.0; NORMALS];
        let (first, second) = normals.split_at_mut(LANES);
        for lane in 0..LANES {
            [first[lane], second[lane]] = box_muller(radius_bits[lane], angle_bits[lane]);
        }
        normals
    }

    /// This many deviates. The last draw is taken even if all of its deviates are left over.
    pub fn white(&mut self, count: usize) -> Vec<f32> {
        let mut deviates = vec![0.0; count];
        let (runs, rest) = deviates.as_chunks_mut::<NORMALS>();
        runs.iter_mut().for_each(|run| *run = self.draw());
        rest.copy_from_slice(&self.draw()[..rest.len()]);
        deviates
    }

    /// Passes over this number of draws.
    pub fn skip(&mut self, draws: usize) {
        for _ in 0..2 * draws {
            self.next_bits();
        }
    }

    #[inline]
    fn next_bits(&mut self) -> Bits {
        let [a, b, c, d] = &mut self.state;
        let mut bits = [0; LANES];
        for lane in 0..LANES {
            bits[lane] = a[lane]
                .wrapping_add(d[lane])
                .rotate_left(7)
                .wrapping_add(a[lane]);
            let shifted = b[lane] << 9;
            c[lane] ^= a[lane];
            d[lane] ^= b[lane];
            b[lane] ^= c[lane];
            a[lane] ^= d[lane];
            c[lane] ^= shifted;
            d[lane] = d[lane].rotate_left(11);
        }
        bits
    }
}

/// Two independent deviates: the coordinates of the point whose radius and angle the bits select.
fn box_muller(radius_bits: u32, angle_bits: u32) -> [f32; 2] {
    const UNIT: f32 = 1.0 / (1 << 24) as f32;
    // Divided by the root of 2; the sum and the difference below multiply by it.
    let radius = minus_ln(((radius_bits >> 8) as i32 + 1) as f32 * UNIT).sqrt();
    // From -45 to 45 degrees: the first quadrant, turned by 45 degrees. Two further bits select the quadrant.
    let turn = ((angle_bits >> 8) as i32 as f32 + 0.5) * UNIT - 0.5;
    let [sin, cos] = sin_cos(turn * FRAC_PI_2);
    let with_sign = |value: f32, bits: u32| f32::from_bits(value.to_bits() ^ (bits & 1 << 31));
    [
        with_sign(radius * (cos - sin), angle_bits << 31),
        with_sign(radius * (cos + sin), angle_bits << 30),
    ]
}

/// `-ln(x)` for `x` in `(0, 1]`, with a relative error of 1e-7.
fn minus_ln(x: f32) -> f32 {
    // The root of 1/2. The mantissa is taken between the roots of 1/2 and 2.
    const LOWEST: u32 = 0x3f35_04f3;
    let bits = x.to_bits().wrapping_sub(LOWEST);
    let exponent = (bits.cast_signed() >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff) + LOWEST);
    // ln((1 + s)/(1 - s)) = 2 (s + s³/3 + s⁵/5 + …)
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 2.0 + s2 * (2.0 / 3.0 + s2 * (2.0 / 5.0 + s2 * (2.0 / 7.0)));
    -(exponent * LN_2 + s * series)
}

/// Sine and cosine of an angle from -pi/4 to pi/4 by their Taylor series, with an error of 4e-7.
fn sin_cos(x: f32) -> [f32; 2] {
    let x2 = x * x;
    let sin = 1.0 - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0));
    let cos = 1.0 - x2 / 2.0 * (1.0 - x2 / 12.0 * (1.0 - x2 / 30.0 * (1.0 - x2 / 56.0)));
    [x * sin, cos]
}

#[cfg(test)]
mod tests;
