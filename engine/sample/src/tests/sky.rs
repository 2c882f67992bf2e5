//! Fluxes and positions of the objects.

use super::*;

#[test]
fn a_galaxy_has_the_flux_of_its_dimmed_magnitudes() {
    let side_px = 256;
    let photometry = Photometry::parse(
        photometry::BUNDLED,
        photometry::BUNDLED_NAME,
        ParentSplit::Test,
    )
    .unwrap();
    let survey = SampleSurvey::new(&settings("--galaxies 100"), photometry).unwrap();
    let mut compact = 0;
    for object in 0..40 {
        let truth = survey.truth(object);
        let galaxy = survey.galaxy(object, &truth);
        let is_compact = galaxy
            .iter()
            .all(|part| part.scale_px < 6.0 || part.fluxes_nmgy[2] == 0.0);
        if !is_compact {
            continue;
        }
        compact += 1;
        let mut cutout = vec![0.0; crate::bands::BANDS * side_px * side_px];
        let usual = [camera::BandConditions::USUAL; crate::bands::BANDS];
        camera::expose(
            &galaxy,
            &usual,
            &SampleBands::default(),
            side_px,
            &mut cutout,
        );
        let dimmed = camera::dimmed_fluxes_nmgy(&truth.draw.galaxy.mags, truth.reddening);
        for (pixels, wanted) in cutout.chunks_exact(side_px * side_px).zip(dimmed) {
            let total: f64 = pixels.iter().map(|&pixel| f64::from(pixel)).sum();
            assert!((total / wanted - 1.0).abs() < 0.01, "{total}, not {wanted}");
        }
    }
    assert!(compact > 5, "{compact} galaxies were compact");
}

#[test]
fn a_field_grows_with_the_survey_up_to_the_footprint() {
    let positions = |galaxies: u64| -> Vec<(f64, f64)> {
        let table = Photometry::parse(photometry::BUNDLED, "bundled", ParentSplit::Test).unwrap();
        let settings = SampleSettings {
            galaxies,
            ..settings("")
        };
        let survey = SampleSurvey::new(&settings, table).unwrap();
        let truths = (0..2_000).map(|object| survey.truth(object));
        truths.map(|truth| (truth.ra_deg, truth.dec_deg)).collect()
    };
    let width = |of: &[f64]| {
        of.iter().copied().fold(f64::MIN, f64::max) - of.iter().copied().fold(f64::MAX, f64::min)
    };
    for (galaxies, ra_deg, dec_deg) in [(4_000, 10.4, 4.8), (10_000_000, 120.0, 60.0)] {
        let (ra, dec): (Vec<f64>, Vec<f64>) = positions(galaxies).into_iter().unzip();
        assert!((width(&ra) / ra_deg - 1.0).abs() < 0.03, "{}", width(&ra));
        assert!(
            (width(&dec) / dec_deg - 1.0).abs() < 0.05,
            "{}",
            width(&dec)
        );
        assert!(dec.iter().all(|dec_deg| (0.0..=60.0).contains(dec_deg)));
    }
}
