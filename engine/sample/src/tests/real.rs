//! Cutouts look as real ones do.
//!
//! The figures are medians of 43 SDSS galaxies with r < 17.85. `scripts/compare_cutouts.py` has more of them.

use super::*;
use crate::bands::BANDS;

const FRAME_PX: usize = 64;
/// The rms of a pixel of the sky in ugriz, in nanomaggies.
const SKY_RMS: [f64; BANDS] = [0.048, 0.018, 0.029, 0.046, 0.173];

/// Planes `[band][y * FRAME_PX + x]` of unseen galaxies.
fn cutouts(count: u64) -> Vec<Vec<Vec<f32>>> {
    let table = Photometry::parse(photometry::BUNDLED, "bundled", ParentSplit::Test).unwrap();
    let settings = settings("--galaxies 10000 --px 64");
    let survey = SampleSurvey::new(&settings, table).unwrap();
    let render = |object| {
        let mut cutout = vec![0.0; BANDS * FRAME_PX * FRAME_PX];
        survey.render(object, 0, &survey.truth(object), &mut cutout);
        let planes = cutout.chunks_exact(FRAME_PX * FRAME_PX);
        planes.map(<[f32]>::to_vec).collect()
    };
    (0..count).map(render).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The mean of the outermost 2 px of the inner `side_px` x `side_px`, in units of the rms of the sky.
fn border(plane: &[f32], band: usize, side_px: usize) -> f64 {
    let outer = (FRAME_PX - side_px) / 2;
    let is_border = |at: usize| !(outer + 2..outer + side_px - 2).contains(&at);
    let inner = outer..outer + side_px;
    let (mut sum, mut count) = (0.0, 0.0);
    for (y, x) in inner
        .clone()
        .flat_map(|y| inner.clone().map(move |x| (y, x)))
    {
        if is_border(y) || is_border(x) {
            sum += f64::from(plane[y * FRAME_PX + x]);
            count += 1.0;
        }
    }
    sum / count / SKY_RMS[band]
}

/// The centre of light `(x, y)`, weighted with a Gaussian of 2 px about itself.
fn centre(plane: &[f32]) -> (f64, f64) {
    let middle = (FRAME_PX as f64 - 1.0) / 2.0;
    let mut centre = (middle, middle);
    for _ in 0..12 {
        let (mut x_sum, mut y_sum, mut sum) = (0.0, 0.0, 0.0);
        for (place, &light) in plane.iter().enumerate() {
            let dx = (place % FRAME_PX) as f64 - centre.0;
            let dy = (place / FRAME_PX) as f64 - centre.1;
            let weighted = f64::from(light) * (-(dx * dx + dy * dy) / 8.0).exp();
            (x_sum, y_sum, sum) = (x_sum + weighted * dx, y_sum + weighted * dy, sum + weighted);
        }
        // The weight shortens the step.
        centre = (centre.0 + 1.5 * x_sum / sum, centre.1 + 1.5 * y_sum / sum);
        let near = middle - 4.0..=middle + 4.0;
        centre = (
            centre.0.clamp(*near.start(), *near.end()),
            centre.1.clamp(*near.start(), *near.end()),
        );
    }
    centre
}

/// The sum of `|image - image after half a turn|` over the sum of `|image|`, within 8 px of a place.
fn asymmetry(plane: &[f32], (x, y): (f64, f64)) -> f64 {
    // Turned about the nearest half pixel, a pixel falls on a pixel.
    let (twice_x, twice_y) = ((2.0 * x).round() as usize, (2.0 * y).round() as usize);
    let (mut changed, mut all) = (0.0, 0.0);
    for (y, x) in (0..FRAME_PX).flat_map(|y| (0..FRAME_PX).map(move |x| (y, x))) {
        let (dx, dy) = (
            x as f64 - twice_x as f64 / 2.0,
            y as f64 - twice_y as f64 / 2.0,
        );
        if dx.hypot(dy) <= 8.0 {
            let here = plane[y * FRAME_PX + x];
            let turned = plane[(twice_y - y) * FRAME_PX + twice_x - x];
            changed += f64::from((here - turned).abs());
            all += f64::from(here.abs());
        }
    }
    changed / all
}

#[test]
fn borders_hold_as_much_light_as_real_ones() {
    let cutouts = cutouts(600);
    for (side_px, band, real) in [(32, 1, 0.80), (32, 2, 0.83), (48, 1, 0.24), (48, 2, 0.32)] {
        let borders = cutouts.iter().map(|it| border(&it[band], band, side_px));
        let found = median(borders.collect());
        assert!(
            (found / real - 1.0).abs() < 0.3,
            "{side_px} px, band {band}: {found}, not {real}"
        );
    }
}

#[test]
fn galaxies_are_as_lopsided_as_real_ones() {
    let cutouts = cutouts(600);
    for (band, real) in [(1, 0.222), (2, 0.163), (3, 0.180)] {
        let of = |it: &Vec<Vec<f32>>| asymmetry(&it[band], centre(&it[2]));
        let found = median(cutouts.iter().map(of).collect());
        assert!(
            (found / real - 1.0).abs() < 0.2,
            "band {band}: {found}, not {real}"
        );
    }
}
