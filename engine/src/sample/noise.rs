//! Normal deviates by the sixteen, as the noise of pixels wants them.
//!
//! Box and Muller's transform, with polynomials for its logarithm, sine and cosine: it has neither
//! table nor branch, so that compilers vectorise it, and no operation that rounds differently from
//! one machine to another. Deviates are normal out to 5.7 standard deviations, where they end.

use rand::Rng;
use std::f32::consts::{FRAC_PI_2, LN_2};

/// Generators side by side, which fill vector registers.
const LANES: usize = 8;

/// Deviates of one draw.
pub const NORMALS: usize = 2 * LANES;

/// 32 bits of each generator.
type Bits = [u32; LANES];

/// A source of normal deviates: eight generators xoshiro128++ (Blackman and Vigna 2021), seeded by
/// another generator. A pixel needs 32 bits, and these cost fewer operations than ChaCha8's.
pub struct Normals {
    state: [Bits; 4],
}

impl Normals {
    /// Seeds it from `rng`.
    pub fn new(rng: &mut impl Rng) -> Self {
        let state = std::array::from_fn(|_| std::array::from_fn(|_| rng.next_u32()));
        Self { state }
    }

    /// The next deviates, of mean zero and variance one.
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

/// Two independent deviates: the point at the radius and at the angle that the bits pick.
fn box_muller(radius_bits: u32, angle_bits: u32) -> [f32; 2] {
    const UNIT: f32 = 1.0 / (1 << 24) as f32;
    // Over the root of two, which the sum and the difference below bring back.
    let radius = minus_ln(((radius_bits >> 8) as i32 + 1) as f32 * UNIT).sqrt();
    // From -45 to 45 degrees; seen from the diagonal that is the first quadrant, and two further
    // bits pick the quadrant.
    let turn = ((angle_bits >> 8) as i32 as f32 + 0.5) * UNIT - 0.5;
    let [sin, cos] = sin_cos(turn * FRAC_PI_2);
    let with_sign = |value: f32, bits: u32| f32::from_bits(value.to_bits() ^ (bits & 1 << 31));
    [
        with_sign(radius * (cos - sin), angle_bits << 31),
        with_sign(radius * (cos + sin), angle_bits << 30),
    ]
}

/// `-ln(x)` for `x` in `(0, 1]`, to 1e-7 of its value.
fn minus_ln(x: f32) -> f32 {
    // The root of 1/2: the mantissa is taken from there to the root of 2.
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

/// Sine and cosine of an angle from -pi/4 to pi/4, to 4e-7: their Taylor series.
fn sin_cos(x: f32) -> [f32; 2] {
    let x2 = x * x;
    let sin = 1.0 - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0));
    let cos = 1.0 - x2 / 2.0 * (1.0 - x2 / 12.0 * (1.0 - x2 / 30.0 * (1.0 - x2 / 56.0)));
    [x * sin, cos]
}

#[cfg(test)]
mod tests {
    use super::super::streams::{Purpose, stream};
    use super::*;

    fn draws(count: usize) -> Vec<f64> {
        let mut normals = Normals::new(&mut stream(1, Purpose::Observation, 7));
        (0..count / NORMALS)
            .flat_map(|_| normals.draw().map(f64::from))
            .collect()
    }

    fn mean(of: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = of.len() as f64;
        of.sum::<f64>() / count
    }

    #[test]
    fn deviates_are_normal_into_the_tails() {
        let draws = draws(4_000_000);
        // Shares of a normal distribution beyond so many standard deviations, on either side.
        for (sigma, wanted) in [
            (0.0, 0.5),
            (0.25, 0.401_294),
            (0.674_49, 0.25),
            (1.0, 0.158_655),
            (2.0, 0.022_750),
            (3.0, 1.3499e-3),
            (4.0, 3.1671e-5),
        ] {
            for side in [-1.0, 1.0] {
                let beyond = draws.iter().filter(|&&draw| draw * side > sigma).count() as f64;
                let expected = wanted * draws.len() as f64;
                let off = (beyond - expected) / (expected * (1.0 - wanted)).sqrt();
                assert!(off.abs() < 4.0, "{beyond}, not {expected}, beyond {sigma}");
            }
        }
        for (power, wanted, spread) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
        {
            let moment = mean(draws.iter().map(|draw| draw.powi(power)));
            let error = f64::sqrt(spread / draws.len() as f64);
            assert!(
                (moment - wanted).abs() < 4.0 * error,
                "moment {power}: {moment}"
            );
        }
    }

    #[test]
    fn deviates_are_independent() {
        let draws = draws(1_000_000);
        let error = (draws.len() as f64).sqrt().recip();
        // Within a lane's pair, from lane to lane, from draw to draw, and from row to row of 64.
        for lag in [1, 2, LANES, NORMALS, 64] {
            let pairs = || draws.iter().zip(&draws[lag..]);
            let product = mean(pairs().map(|(a, b)| a * b));
            assert!(product.abs() < 4.0 * error, "lag {lag}: {product}");
            // The radius that a pair has in common leaves no trace either.
            let squares = mean(pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)));
            assert!(squares.abs() < 8.0 * error, "squares, lag {lag}: {squares}");
        }
    }

    #[test]
    fn the_series_are_exact_to_single_precision() {
        for step in 1..=4_096 {
            let x = step as f32 / 4_096.0;
            let wanted = -f64::from(x).ln();
            assert!((f64::from(minus_ln(x)) - wanted).abs() <= 2e-7 * wanted.max(1e-3));
            let angle = (x - 0.5) * FRAC_PI_2;
            let [sin, cos] = sin_cos(angle);
            let (wanted_sin, wanted_cos) = f64::from(angle).sin_cos();
            assert!((f64::from(sin) - wanted_sin).abs() < 4e-7);
            assert!((f64::from(cos) - wanted_cos).abs() < 4e-7);
        }
        let farthest = minus_ln(1.0 / (1 << 24) as f32);
        assert!((f64::from(farthest) - 24.0 * f64::from(2f32).ln()).abs() < 1e-5);
    }
}
