use super::*;
use crate::profile::GAUSSIAN;
use crate::streams::{Purpose, stream};

#[test]
fn an_empty_frame_has_the_sky_rms_of_the_survey() {
    let side_px = 64;
    let mut cutout = vec![0.0; BANDS * side_px * side_px];
    add_noise(
        &mut cutout,
        &[BandConditions::USUAL; BANDS],
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
fn a_star_is_as_wide_as_the_seeing_and_has_wings() {
    let (side_px, middle) = (129, 64);
    let star = LightSource {
        offset: Position::ORIGIN,
        profile: &GAUSSIAN,
        scale_px: 0.0,
        shape: Covariance::ellipse(1.0, 0.0),
        fluxes_nmgy: [100.0; BANDS],
    };
    // So wide that a pixel is small.
    let wide = BandConditions {
        seeing: 6.0,
        ..BandConditions::USUAL
    };
    let mut cutout = vec![0.0; BANDS * side_px * side_px];
    let bands = SampleBands::default();
    expose(&[star], &[wide; BANDS], &bands, side_px, &mut cutout);
    let planes = cutout.chunks_exact(side_px * side_px);
    for (plane, fwhm_arcsec) in planes.zip([1.39, 1.23, 1.20, 1.13, 1.08]) {
        let row = &plane[middle * side_px..][..side_px];
        let half_width_px = wide.seeing * fwhm_arcsec / PIXEL_ARCSEC / 2.0;
        let (before, share) = (half_width_px as usize, half_width_px.fract() as f32);
        let at = row[middle + before] * (1.0 - share) + row[middle + before + 1] * share;
        assert!(
            (at / row[middle] - 0.5).abs() < 0.01,
            "{}",
            at / row[middle]
        );
    }
    // At three standard deviations of the core, a Gaussian would be at 1.1% of its peak.
    let sigma_px = DETECTORS[0].psf_sigma_px(wide.seeing);
    let far = cutout[middle * side_px + middle + (3.0 * sigma_px) as usize];
    let ratio = far / cutout[middle * side_px + middle];
    assert!((0.035..0.06).contains(&ratio), "{ratio}");
}
