use super::*;
use crate::streams::{Purpose, stream};

fn shapes_of(mags: [f64; 5]) -> Vec<Morphology> {
    let galaxy = Galaxy { mags, z_spec: 0.1 };
    (0..2_000)
        .map(|index| Morphology::draw(&galaxy, &mut stream(1, Purpose::Shape, index)))
        .collect()
}

#[test]
fn every_shape_can_be_drawn() {
    for shape in shapes_of([19.0, 17.0, 16.0, 15.5, 15.2]) {
        assert!((0.0..=1.0).contains(&shape.p_elliptical));
        for part in &shape.parts {
            assert!(part.scale_px > 0.05 && part.scale_px < 200.0);
            assert!(part.shape.xx * part.shape.yy > part.shape.xy.powi(2));
        }
        for band in 0..5 {
            let total: f64 = shape.parts.iter().map(|part| part.shares[band]).sum();
            assert!((total - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn red_galaxies_are_elliptical_and_bright_ones_are_large() {
    let mean = |shapes: &[Morphology], of: &dyn Fn(&Morphology) -> f64| {
        shapes.iter().map(of).sum::<f64>() / shapes.len() as f64
    };
    let red = shapes_of([19.9, 18.0, 17.0, 16.6, 16.3]);
    let blue = shapes_of([18.4, 17.4, 17.0, 16.8, 16.7]);
    let bright = shapes_of([15.4, 14.4, 14.0, 13.8, 13.7]);
    assert!(mean(&red, &|s| s.p_elliptical) > 2.0 * mean(&blue, &|s| s.p_elliptical));
    let radius = |shape: &Morphology| shape.parts[0].scale_px.ln();
    let ratio = (mean(&bright, &radius) - mean(&blue, &radius)).exp();
    assert!((2.0..4.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_bulge_is_redder_than_its_disk() {
    let shares = bulge_shares_by_band(0.5, 1.0);
    assert!(shares.is_sorted());
    assert_eq!(shares[2], 0.5);
    for share in bulge_shares_by_band(1.0, 1.0) {
        assert!((share - 1.0).abs() < 1e-12);
    }
    assert_eq!(bulge_shares_by_band(0.0, 1.0), [0.0; 5]);
}
