use super::exp2::exp2;
use super::*;
use proptest::prelude::*;
use std::f64::consts::{LOG2_E, PI};

#[test]
fn exp2_is_exact_to_a_few_parts_in_ten_million() {
    for step in -11_000..=11_000 {
        let x = 0.01 * step as f32;
        let ratio = f64::from(exp2(x)) / f64::from(x).exp2();
        assert!((ratio - 1.0).abs() < 4e-7, "{ratio} at {x}");
    }
}

/// The density at each pixel, by definition, and the sum of the absolute terms of its exponent to base 2.
fn gaussian_by_definition(side_px: usize, at: Position, shape: Covariance) -> Vec<(f64, f64)> {
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
            let [along, both, across] = [yy * dx * dx, -2.0 * xy * dx * dy, xx * dy * dy];
            let fallen = (along + both + across) / determinant;
            let terms = 0.5 * LOG2_E * (along + both.abs() + across) / determinant;
            ((-0.5 * fallen).exp() / (TAU * determinant.sqrt()), terms)
        })
        .collect()
}

proptest! {
    #[test]
    fn every_pixel_matches_the_formula(
        side_px in 8usize..180,
        (x_px, y_px) in (-20.0..200.0, -20.0..200.0),
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
        let (peak, _) = gaussian_by_definition(1, Position::ORIGIN, shape)[0];
        for (&drawn, (wanted, terms)) in pixels.iter().zip(wanted) {
            let drawn = f64::from(drawn);
            // The exponent of a pixel is a sum of terms with opposite signs in single precision. Pixels beyond the reach may
            // be 0.
            let rounding = 2e-5 + f64::from(f32::EPSILON) * terms;
            let tolerance = rounding * wanted + 4.1e-5 * peak * f64::from(drawn == 0.0);
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
fn a_gaussian_outside_of_the_frame_is_not_drawn() {
    let mut pixels = vec![0.0; 16 * 16];
    let at = Position {
        x_px: -40.0,
        y_px: 200.0,
    };
    let round = Covariance::ellipse(1.0, 0.0);
    add_gaussian(&mut pixels, 16, at, round, 100.0);
    assert!(pixels.iter().all(|&pixel| pixel == 0.0));
}
