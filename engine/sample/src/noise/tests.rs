use super::*;
use crate::streams::{Purpose, stream};

fn draws(count: usize) -> Vec<f64> {
    let mut normals = Normals::new(&mut stream(1, Purpose::Observation, 7));
    (0..count / NORMALS)
        .flat_map(|_| normals.draw().map(f64::from))
        .collect()
}

#[test]
fn skipped_draws_are_passed_over() {
    let normals = || Normals::new(&mut stream(1, Purpose::Observation, 7));
    let (mut drawn, mut skipped) = (normals(), normals());
    for draws in [0, 1, 2, 17] {
        for _ in 0..draws {
            drawn.draw();
        }
        skipped.skip(draws);
        assert_eq!(drawn.draw(), skipped.draw());
    }
}

fn mean(of: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = of.len() as f64;
    of.sum::<f64>() / count
}

#[test]
fn deviates_are_normal_into_the_tails() {
    let draws = draws(4_000_000);
    // The share of a normal distribution beyond a number of standard deviations, on each side.
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
    for (power, wanted, spread) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
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
        // The common radius of a pair does not correlate its squares.
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
