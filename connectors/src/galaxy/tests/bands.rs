//! Tests that catalogs and models may have any bands.
use proptest::prelude::*;

use super::*;

/// The bands of a catalog, in the order of the pixels of [`Pictures`].
const CATALOG: [&str; 6] = ["u", "g", "r", "i", "z", "y"];

/// The planes of a cutout that a model of other bands sees.
fn planes(crop: &[f32], bands: usize, places: &[usize]) -> Vec<f32> {
    let plane = crop.len() / bands;
    let of_band = |place: &usize| crop[place * plane..(place + 1) * plane].to_vec();
    places.iter().flat_map(of_band).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_planes_of_a_model_are_picked_by_name_from_every_form(
        count in prop::sample::select(vec![1_usize, 3, 6]),
        order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle(),
        wanted in 1_usize..=6,
        side_px in 3_usize..=9,
        null_row in 0_usize..3,
        px in 1_usize..=3,
    ) {
        let pictures = Pictures::of_bands(count, side_px, 3, vec![null_row]);
        let catalog = &CATALOG[..count];
        let places: Vec<usize> = order.into_iter().filter(|place| *place < count).collect();
        let places = &places[..wanted.min(count)];
        let model: Vec<&str> = places.iter().map(|&place| catalog[place]).collect();
        let request = CutoutRequest::in_catalog(&bands(&model), px, &bands(catalog)).unwrap();
        for form in pictures.every_form() {
            let data_type = form.data_type().clone();
            let cutouts = Cutouts::open("cutout", &form, &request).unwrap();
            for row in 0..3 {
                let expected = match row {
                    row if row == null_row => Err(CutoutFault::Null),
                    row => Ok(planes(&pictures.crop(row, px), count, places)),
                };
                prop_assert!(crop(&cutouts, row, px) == expected, "row {row} of {data_type}");
            }
        }
    }
}

#[test]
fn a_struct_is_read_by_its_own_names_whatever_the_catalog_is_said_to_hold() {
    let pictures = Pictures::of_bands(6, 4, 1, vec![]);
    let request = CutoutRequest::in_catalog(&bands(&["y", "g"]), 4, &bands(&["g", "y"])).unwrap();
    for list_of_structs in [false, true] {
        let form = pictures.named(list_of_structs);
        let cutouts = Cutouts::open("cutout", &form, &request).unwrap();
        let expected = planes(&pictures.crop(0, 4), 6, &[5, 1]);
        assert_eq!(crop(&cutouts, 0, 4), Ok(expected));
    }
}

#[test]
fn a_name_as_it_is_written_comes_before_its_last_part() {
    let places = |names: &[&str], wanted: &[&str]| {
        band_names::find_bands(&StringArray::from(names.to_vec()), &bands(wanted))
            .map_err(|fault| fault.to_string())
    };
    let mixed = ["des-g", "hsc-g", "hsc-Y", "hsc-y"];
    assert_eq!(places(&mixed, &["hsc-g"]), Ok(vec![1]));
    assert_eq!(places(&mixed, &["y", "Y"]), Ok(vec![3, 2]));
    let twice = "cutout has band g more than once: des-g, hsc-g, hsc-Y, hsc-y";
    assert_eq!(places(&mixed, &["g"]), Err(twice.to_owned()));
    let missing = "cutout lacks bands j, h; it has des-g, hsc-g, hsc-Y, hsc-y";
    assert_eq!(places(&mixed, &["j", "Y", "h"]), Err(missing.to_owned()));
}

#[test]
fn what_is_wrong_with_bands_is_said() {
    let message = |model: &[&str], catalog: &[&str]| {
        let request = CutoutRequest::in_catalog(&bands(model), 32, &bands(catalog));
        request.unwrap_err().to_string()
    };
    assert_eq!(
        message(&["u", "g", "Z"], &["g", "r", "z"]),
        "the model needs bands u, Z, and the catalog's cutouts have g, r, z"
    );
    assert_eq!(
        message(&["g"], &["g", "r", "g"]),
        "band g is named twice: leave one out"
    );
    for name in ["", " ", "a b", "a/b", "a=b", "a\n"] {
        let said = message(&[name], &["g"]);
        assert!(said.contains("is no name of a band"), "{said}");
    }
    assert!(message(&[], &["g"]).starts_with("no band is named"));
    assert!(message(&["g"], &[]).starts_with("no band is named"));
}

/// The numbers of values say how many bands were expected, and how to say that there are others.
#[test]
fn a_type_without_room_for_the_bands_says_what_was_expected() {
    let refused = |pictures: &Pictures, kind, request: &CutoutRequest| {
        let form = pictures.flat(kind);
        let error = Cutouts::open("cutout", &form, request).unwrap_err();
        error.to_string()
    };
    let five = Pictures::new(8, 1, vec![]);
    let griz = CutoutRequest::new(&bands(&["g", "r", "i", "z"]), 8).unwrap();
    let said = refused(&five, ListKind::Fixed, &griz);
    for part in [
        "4 bands of 8x8 pixels or more",
        "(4*s*s float32)",
        "The bands are taken to be g,r,i,z; if the cutouts hold others",
        "--bands g,r,i,z",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // Four bands of 8x8 are also one band of 16x16: the number of bands is never guessed.
    let four = Pictures::of_bands(4, 8, 1, vec![]);
    let one = CutoutRequest::new(&bands(&["g"]), 8).unwrap();
    let form = four.flat(ListKind::Small);
    let cutouts = Cutouts::open("cutout", &form, &one).unwrap();
    assert_eq!(cutouts.get(0).unwrap().side_px(), 16);
    let three = Pictures::of_bands(3, 8, 1, vec![]).flat(ListKind::Small);
    let cutouts = Cutouts::open("cutout", &three, &one).unwrap();
    assert_eq!(
        cutouts.get(0).unwrap_err().to_string(),
        "cutout is 192 values, not 1 band of 8x8 pixels or more"
    );
}

#[test]
fn magnitudes_are_those_of_the_model() {
    let batch = catalog(Pictures::new(4, 2, vec![]).binary());
    let mut request = request(4);
    request.cutouts = None;
    request.mags = MagRequest::required(["z", "g"], "z");
    let (layout, galaxies) = through_parquet(&batch, &request);
    assert_eq!(layout.columns().len(), 5, "object_id, ra, dec and two");
    let mags = galaxies.mags.unwrap();
    assert_eq!([mags[0].value(0), mags[1].value(0)], [16.0, 19.0]);
    assert_eq!(galaxies.reference_mag.unwrap().value(1), 16.0);

    request.mags = MagRequest::required(["g", "y"], "g");
    let error = Layout::resolve(&batch.schema(), &request).unwrap_err();
    assert!(
        error.to_string().starts_with("no column `mag_y`;"),
        "{error}"
    );

    request.mags = MagRequest::default();
    request.cutouts = Some(ugriz(4));
    let (_, galaxies) = through_parquet(&batch, &request);
    assert!(galaxies.mags.is_none() && galaxies.reference_mag.is_none());
}
