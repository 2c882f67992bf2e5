use hubbleflow_operators::metrics::{Metrics, Numbers, Scores, Slice, dz};
use proptest::prelude::*;

use crate::plain;

fn scores(objects: &[(f32, f32)]) -> Scores {
    let mut scores = Scores::default();
    for &(z_phot, z_spec) in objects {
        scores.add(z_phot, z_spec, 1);
    }
    scores
}

#[track_caller]
fn assert_close(found: Option<f64>, expected: f64) {
    let found = found.expect("a number");
    assert!((found - expected).abs() < 1e-8, "{found}, not {expected}");
}

#[test]
fn the_numbers_are_those_computed_by_hand() {
    // At z_spec 0, dz is z_phot: median 0.03, distances from it 0.02 0.01 0 0.01 0.17, quartiles 0.02 and 0.04.
    let odd = [0.01, 0.02, 0.03, 0.04, 0.2].map(|z_phot| (z_phot, 0.0));
    let numbers = scores(&odd).numbers();
    assert_eq!(numbers.n, 5);
    assert_close(numbers.bias, 0.06);
    assert_close(numbers.bias_median, 0.03);
    assert_close(numbers.sigma_nmad, 1.4826 * 0.01);
    assert_close(numbers.sigma_iqr, 0.02 / 1.349);
    assert_close(numbers.outlier_fraction_005, 0.2);
    assert_close(numbers.outlier_fraction_015, 0.2);
    assert_close(numbers.mse, 0.0430 / 5.0);
    assert_close(numbers.mae, 0.06);
    assert_eq!(numbers.r2, None, "all z_spec are the same");
}

#[test]
fn between_two_objects_the_numbers_are_interpolated() {
    // dz = -0.1, 0, 0.02, 0.3: median 0.01; distances 0.11 0.01 0.01 0.29, their median 0.06; quartiles -0.025, 0.09.
    let even = [(0.8, 1.0), (0.0, 0.0), (0.02, 0.0), (0.3, 0.0)];
    let numbers = scores(&even).numbers();
    assert_close(numbers.bias_median, 0.01);
    assert_close(numbers.sigma_nmad, 1.4826 * 0.06);
    assert_close(numbers.sigma_iqr, 0.115 / 1.349);
    assert_close(numbers.outlier_fraction_005, 0.5);
    assert_close(numbers.outlier_fraction_015, 0.25);
    assert_close(numbers.mae, 0.13);
    // Errors squared 0.04 + 0.0004 + 0.09; z_spec is 1 once and 0 three times: squares about their mean are 0.75.
    assert!((numbers.r2.unwrap() - (1.0 - 0.1304 / 0.75)).abs() < 1e-7);
}

#[test]
fn of_nothing_there_are_no_numbers() {
    assert_eq!(Scores::default().numbers(), Numbers::default());
    let text = serde_json::to_string(&Scores::default().numbers()).unwrap();
    assert!(text.starts_with(r#"{"n":0,"bias":null,"#), "{text}");
}

#[test]
fn the_files_names_are_those_of_the_contract() {
    let numbers = scores(&[(0.11, 0.1), (0.2, 0.1)]).numbers();
    let slices = [
        (Slice::All, &numbers),
        (Slice::Drop(3), &numbers),
        (Slice::of_mag(1_699), &numbers),
        (Slice::of_z_spec(0.1), &numbers),
        (Slice::Tile(1234), &numbers),
    ];
    let slices = slices.iter().map(|(slice, numbers)| (slice, *numbers));
    let metrics = Metrics::new(3, "2026-11-03", 2, Some("r"), slices, |_| {
        "2026-11-03".to_owned()
    });
    let json: serde_json::Value = serde_json::from_slice(&metrics.to_json()).unwrap();
    assert_eq!(
        (
            &json["format"],
            &json["sequence"],
            &json["drop"],
            &json["objects"]
        ),
        (&1.into(), &3.into(), &"2026-11-03".into(), &2.into())
    );
    for bin in [
        &json["all"],
        &json["by_drop"]["2026-11-03"],
        &json["by_mag_r"]["16.5"],
        &json["by_z_spec"]["0.10"],
        &json["by_tile"]["5/1234"],
    ] {
        let mut names: Vec<&str> = bin
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        let mut expected = vec![
            "n",
            "bias",
            "bias_median",
            "sigma_nmad",
            "sigma_iqr",
            "outlier_fraction_0.05",
            "outlier_fraction_0.15",
            "mse",
            "mae",
            "r2",
        ];
        if bin == &json["all"] {
            expected.extend([
                "coverage_68",
                "coverage_95",
                "crps",
                "calibrated_coverage_68",
                "calibrated_coverage_95",
            ]);
        }
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}

#[test]
fn bins_are_named_by_their_lower_edges() {
    let name = |slice: Slice| {
        let numbers = Numbers::default();
        let metrics = Metrics::new(1, "", 0, Some("r"), [(&slice, &numbers)], |_| String::new());
        let bins = metrics
            .by_mag
            .slices
            .into_keys()
            .chain(metrics.by_z_spec.into_keys());
        bins.collect::<Vec<_>>().concat()
    };
    for (z_spec, edge) in [
        (0.0, "0.00"),
        (0.149, "0.10"),
        (0.15, "0.15"),
        (-0.01, "-0.05"),
        (1.7, "1.70"),
    ] {
        assert_eq!(name(Slice::of_z_spec(z_spec)), edge);
    }
    for (hundredths, edge) in [(1650, "16.5"), (1699, "16.5"), (1700, "17.0"), (-1, "-0.5")] {
        assert_eq!(name(Slice::of_mag(hundredths)), edge);
    }
}

fn objects() -> impl Strategy<Value = Vec<(f32, f32)>> {
    let z_spec = -0.01_f32..1.2;
    let object = (z_spec, -0.3_f32..0.3).prop_map(|(z_spec, error)| (z_spec + error, z_spec));
    proptest::collection::vec(object, 1..60)
}

proptest! {
    #[test]
    fn the_numbers_are_those_of_a_plain_computation(objects in objects()) {
        plain::assert_numbers(&scores(&objects).numbers(), &objects);
    }

    #[test]
    fn what_is_taken_away_leaves_nothing(kept in objects(), gone in objects()) {
        let mut added = scores(&gone);
        for &(z_phot, z_spec) in kept.iter().rev() {
            added.add(z_phot, z_spec, 1);
        }
        for &(z_phot, z_spec) in &gone {
            added.add(z_phot, z_spec, -1);
        }
        prop_assert_eq!(&added, &scores(&kept));
        for &(z_phot, z_spec) in &kept {
            added.add(z_phot, z_spec, -1);
        }
        prop_assert!(added.is_empty());
    }

    #[test]
    fn no_redshift_overflows_a_sum(z_phot in any::<f32>(), z_spec in -0.999_999_9_f32..1e30) {
        prop_assume!(z_phot.is_finite());
        let mut scores = Scores::default();
        (0..100).for_each(|_| scores.add(z_phot, z_spec, 1));
        prop_assert_eq!(scores.numbers().n, 100);
        prop_assert!(dz(z_phot, z_spec).is_finite());
    }
}
