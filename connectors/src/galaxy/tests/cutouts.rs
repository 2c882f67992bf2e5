//! Tests that all forms of cutouts give the same pixels, and say what is wrong with a row.
use arrow::compute::concat;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_form_gives_the_same_crop(
        side_px in 32usize..=70,
        null_row in 0usize..5,
        from in 0usize..5,
        length in 0usize..5,
        odd in any::<bool>(),
    ) {
        let pictures = Pictures::new(side_px, 5, vec![null_row]);
        let length = length.min(5 - from);
        let px = if odd { 31 } else { 32 };
        for form in pictures.every_form() {
            let data_type = form.data_type().clone();
            let cutouts = Cutouts::open("cutout", &form.slice(from, length), &ugriz(31)).unwrap();
            prop_assert_eq!(cutouts.len(), length);
            for row in 0..length {
                let expected = match from + row {
                    row if row == null_row => Err(CutoutFault::Null),
                    row => Ok(pictures.crop(row, px)),
                };
                prop_assert!(crop(&cutouts, row, px) == expected, "row {row} of {data_type}");
            }
        }
    }

    #[test]
    fn one_bad_pixel_of_any_band_shows(
        side_px in 1usize..40,
        pixel in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-42, -0.0]),
    ) {
        let mut pictures = Pictures::new(side_px, 1, Vec::new());
        let pixel = pixel.index(pictures.pixels.len());
        pictures.pixels[pixel] = bad;
        let cutouts = Cutouts::open("cutout", &pictures.flat(ListKind::Fixed), &ugriz(1)).unwrap();
        let naive = pictures.pixels.iter().all(|pixel| pixel.is_finite());
        prop_assert_eq!(cutouts.get(0).unwrap().is_finite(), naive);
    }
}

#[test]
fn a_band_of_one_value_is_blank_where_the_model_looks() {
    let side_px = 6;
    let opened = |pictures: &Pictures| {
        Cutouts::open("cutout", &pictures.flat(ListKind::Fixed), &ugriz(1)).unwrap()
    };
    let mut pictures = Pictures::new(side_px, 1, Vec::new());
    assert_eq!(opened(&pictures).get(0).unwrap().blank_bands(6), 0);
    // The middle of the second band has one value, but its margin has not.
    for (y, x) in (1..5).flat_map(|y| (1..5).map(move |x| (y, x))) {
        pictures.pixels[(side_px + y) * side_px + x] = if x == 2 { -0.0 } else { 0.0 };
    }
    let cutouts = opened(&pictures);
    let blank = |px| cutouts.get(0).unwrap().blank_bands(px);
    assert_eq!(
        [blank(6), blank(5), blank(4), blank(2), blank(1)],
        [0, 0, 1, 1, 0]
    );
    pictures.pixels.fill(-3.5);
    assert_eq!(opened(&pictures).get(0).unwrap().blank_bands(6), 5);
    pictures.pixels[5 * side_px * side_px - 1] = -3.25;
    assert_eq!(opened(&pictures).get(0).unwrap().blank_bands(6), 4);
    assert_eq!(opened(&pictures).get(0).unwrap().flux_abs_max(), 3.5);
}

#[test]
fn every_form_survives_parquet() {
    let pictures = Pictures::new(33, 4, vec![2]);
    for form in pictures.every_form() {
        let data_type = form.data_type().clone();
        let mut request = request(32);
        request.keep = vec!["note".into()];
        let (layout, galaxies) = through_parquet(&catalog(form), &request);
        assert_eq!(layout.kind(), FileKind::Galaxies);
        let cutouts = galaxies.cutouts.unwrap();
        for row in [0, 1, 3] {
            assert!(
                crop(&cutouts, row, 32).unwrap() == pictures.crop(row, 32),
                "{data_type}"
            );
        }
        assert_eq!(crop(&cutouts, 2, 32), Err(CutoutFault::Null), "{data_type}");
        assert_eq!(galaxies.ra.value(3), 180.5);
        assert_eq!(galaxies.mags.unwrap()[4].value(0), 16.0);
        assert_eq!(galaxies.z_spec.null_count(), 4);
        assert_eq!(
            galaxies.deleted.true_count() + galaxies.deleted.null_count(),
            0
        );
        assert_eq!(galaxies.keep[0].as_string::<i32>().value(1), "seen");
    }
}

const TAIL: &str = "not 5 bands of 32x32 pixels or more";

/// The reason why a row has no cutout of 32x32 pixels.
fn reason(array: ArrayRef, row: usize) -> String {
    let cutouts = Cutouts::open("cutout", &array, &ugriz(32)).unwrap();
    cutouts.get(row).unwrap_err().to_string()
}

fn zeros(count: usize) -> ArrayRef {
    Arc::new(Float32Array::from(vec![0.0; count]))
}

#[test]
fn a_flat_row_that_is_no_cutout_says_why() {
    use ListKind::Small;
    for (length, what) in [(5119, "5119 values"), (4805, "5 bands of 31x31 pixels")] {
        let flat = lists(Small, length, zeros(length), &[]);
        assert_eq!(reason(flat, 0), format!("cutout is {what}, {TAIL}"));
    }
    let mut pixels: Vec<Option<f32>> = vec![Some(1.0); 10240];
    pixels[5120 + 77] = None;
    let with_null = lists(Small, 5120, Arc::new(Float32Array::from(pixels)), &[]);
    assert_eq!(reason(with_null.clone(), 1), "cutout has a null pixel");
    let cutouts = Cutouts::open("cutout", &with_null, &ugriz(32)).unwrap();
    assert!(cutouts.get(0).is_ok());
}

#[test]
fn a_nested_row_that_is_no_cutout_says_why() {
    use ListKind::Small;
    let nested = |bands, height, width, null_lines: &[usize]| {
        let lines = lists(Small, width, zeros(bands * height * width), null_lines);
        lists(Small, bands, lists(Small, height, lines, &[]), &[])
    };
    let null = reason(nested(5, 32, 32, &[40]), 0);
    assert_eq!(null, "cutout has a null pixel");
    for (row, what) in [
        (nested(4, 32, 32, &[]), "4 bands"),
        (nested(5, 32, 33, &[]), "a band of 32x33 pixels"),
    ] {
        assert_eq!(reason(row, 0), format!("cutout is {what}, {TAIL}"));
    }
    let lines = concat(&[
        &*lists(Small, 32, zeros(5 * 32 * 32 - 64), &[]),
        &*lists(Small, 31, zeros(31), &[]),
        &*lists(Small, 33, zeros(33), &[]),
    ])
    .unwrap();
    let ragged = lists(Small, 5, lists(Small, 32, lines, &[]), &[]);
    assert_eq!(
        reason(ragged, 0),
        format!("cutout is a band with lines of unequal length, {TAIL}")
    );
}

#[test]
fn a_row_whose_bands_are_not_ugriz_says_why() {
    use ListKind::Small;
    let named = |names: &[&str]| -> ArrayRef {
        let lines = lists(Small, 32, zeros(names.len() * 1024), &[]);
        let images = lists(Small, 32, lines, &[]);
        let bands: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
        let columns = [
            ("flux", lists(Small, names.len(), images, &[])),
            ("band", lists(Small, names.len(), bands, &[])),
        ];
        Arc::new(StructArray::from(
            RecordBatch::try_from_iter(columns).unwrap(),
        ))
    };
    assert_eq!(
        reason(named(&["des-g", "des-r", "z", "hsc-y"]), 0),
        "cutout lacks bands u, i; it has des-g, des-r, z, hsc-y"
    );
    assert_eq!(
        reason(named(&["u", "g", "r", "i", "z", "des_G"]), 0),
        "cutout has band g more than once: u, g, r, i, z, des_G"
    );
}
