//! Large cutouts.

use super::*;
use crate::bands::BANDS;

fn survey(side_px: usize) -> SampleSurvey {
    let table = Photometry::parse(photometry::BUNDLED, "bundled", ParentSplit::Test).unwrap();
    let settings = SampleSettings {
        px: side_px,
        ..settings("--galaxies 400")
    };
    SampleSurvey::new(&settings, table).unwrap()
}

/// Disk and bulge of an object, without arms, neighbours and noise.
fn smooth_parts(survey: &SampleSurvey, object: u64) -> [camera::LightSource; 2] {
    let parts = survey.galaxy(object, &survey.truth(object));
    [parts[0], parts[1]]
}

fn expose(survey: &SampleSurvey, sources: &[camera::LightSource]) -> Vec<f32> {
    let side_px = survey.side_px;
    let mut cutout = vec![0.0; BANDS * side_px * side_px];
    let usual = [camera::BandConditions::USUAL; BANDS];
    camera::expose(sources, &usual, &survey.bands, side_px, &mut cutout);
    cutout
}

/// The mean of the pixels on the border of a square around the middle. Squares are numbered from 0, of 2 pixels a side.
fn mean_of_square(plane: &[f32], side_px: usize, square: usize) -> f64 {
    let middle = side_px / 2;
    let from_middle = |at: usize| {
        if at < middle {
            middle - 1 - at
        } else {
            at - middle
        }
    };
    let is_on =
        |place: usize| from_middle(place % side_px).max(from_middle(place / side_px)) == square;
    let border = (0..plane.len()).filter(|&place| is_on(place));
    let pixels: Vec<f64> = border.map(|place| f64::from(plane[place])).collect();
    pixels.iter().sum::<f64>() / pixels.len() as f64
}

#[test]
fn a_large_cutout_goes_on_where_a_small_one_ends() {
    let (small, large) = (survey(64), survey(160));
    let mut wide = 0;
    for object in 0..60 {
        let parts = smooth_parts(&large, object);
        let fluxes = std::array::from_fn::<f64, BANDS, _>(|band| {
            parts.iter().map(|part| part.fluxes_nmgy[band]).sum()
        });
        let (inner, outer) = (expose(&small, &parts), expose(&large, &parts));
        let planes = inner
            .chunks_exact(64 * 64)
            .zip(outer.chunks_exact(160 * 160));
        for ((inner, outer), flux) in planes.zip(fluxes) {
            let middle: Vec<f32> = (48..112)
                .flat_map(|y| &outer[y * 160 + 48..][..64])
                .copied()
                .collect();
            let peak = inner.iter().copied().fold(0.0, f32::max);
            for (a, b) in inner.iter().zip(&middle) {
                assert!(
                    (a - b).abs() <= 5e-5 * peak,
                    "object {object}: {a}, not {b}"
                );
            }
            let share = |pixels: &[f32]| pixels.iter().map(|&it| f64::from(it)).sum::<f64>() / flux;
            let (cut, whole) = (share(inner), share(outer));
            assert!(whole < 1.001);
            if cut < 0.98 {
                wide += 1;
                assert!(1.0 - whole < 0.5 * (1.0 - cut), "{cut} became {whole}");
                // No step in brightness at the edge of the small cutout, between the squares 31 and 32.
                let squares: Vec<f64> = (26..46).map(|it| mean_of_square(outer, 160, it)).collect();
                let ratios = squares.windows(2).map(|two| two[1] / two[0]);
                let (least, most) =
                    ratios.fold((1.0f64, 0.0f64), |(a, b), it| (a.min(it), b.max(it)));
                assert!(least > 0.7 && most < 1.0, "{least} to {most}");
            }
        }
    }
    assert!(wide >= 20, "only {wide} planes lose light at 64 px");
}

#[test]
fn neighbours_fill_a_large_cutout_evenly() {
    let survey = survey(160);
    let (mut all, mut inner) = (0.0, 0.0);
    for object in 0..400 {
        for source in survey.neighbours(object, &survey.truth(object)) {
            all += 1.0;
            let farthest = source.offset.x_px.abs().max(source.offset.y_px.abs());
            inner += f64::from(u8::from(farthest < 32.0));
        }
    }
    assert!(
        (all / 400.0 - 37.65f64).abs() < 1.2,
        "{} a cutout",
        all / 400.0
    );
    assert!((inner / all - 0.163f64).abs() < 0.03, "{}", inner / all);
}

#[tokio::test]
async fn cutouts_of_160_px_are_written_in_row_groups_of_25_mb() {
    let (files, summary) = make("--galaxies 60 --drops 1 --px 160").await;
    assert_eq!(summary.rows, 60);
    let file = files["survey/drop-0001/part-0000.parquet"].clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups = reader.metadata().row_groups();
    let rows: Vec<i64> = groups.iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [48, 12]);
    for batch in read(&files, "survey/drop-0001") {
        let cutouts = batch.column_by_name("cutout").unwrap();
        let pixels = cutouts.as_fixed_size_list().values();
        let pixels = pixels.as_primitive::<Float32Type>().values();
        assert_eq!(pixels.len(), batch.num_rows() * 5 * 160 * 160);
        assert!(
            pixels
                .iter()
                .all(|pixel| pixel.is_finite() && *pixel != 0.0)
        );
    }
}
