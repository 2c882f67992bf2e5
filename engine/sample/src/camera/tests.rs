use super::*;
use crate::streams::{Purpose, stream};

#[test]
fn an_empty_frame_has_the_sky_rms_of_the_survey() {
    let side_px = 64;
    let mut cutout = vec![0.0; BANDS * side_px * side_px];
    add_noise(
        &mut cutout,
        &SampleBands::default(),
        side_px,
        &mut stream(1, Purpose::Observation, 0),
    );
    let bands = cutout.chunks_exact(side_px * side_px);
    for (pixels, wanted) in bands.zip([0.048, 0.018, 0.029, 0.046, 0.173]) {
        let squares: f64 = pixels.iter().map(|&pixel| f64::from(pixel).powi(2)).sum();
        let rms = (squares / pixels.len() as f64).sqrt();
        assert!((rms / wanted - 1.0).abs() < 0.06, "rms {rms}, not {wanted}");
    }
}

#[test]
fn a_star_is_as_wide_as_the_seeing() {
    let side_px = 33;
    const STAR: [Component; 1] = [Component {
        weight: 1.0,
        sigma: 0.0,
    }];
    let star = LightSource {
        offset: Position {
            x_px: 0.0,
            y_px: 0.0,
        },
        profile: &STAR,
        scale_px: 1.0,
        shape: Covariance::ellipse(1.0, 0.0),
        fluxes_nmgy: [100.0; BANDS],
    };
    let mut cutout = vec![0.0; BANDS * side_px * side_px];
    expose(&[star], 1.0, &SampleBands::default(), side_px, &mut cutout);
    let row = &cutout[16 * side_px..17 * side_px];
    // The u band falls to half of its peak between the pixels at 1.5 and 2.5 from the centre.
    let half_width_px = 1.53 / PIXEL_ARCSEC / 2.0;
    assert!(row[16 + half_width_px as usize] > row[16] / 2.0);
    assert!(row[16 + half_width_px as usize + 2] < row[16] / 2.0);
}
