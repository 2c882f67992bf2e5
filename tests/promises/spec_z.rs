//! A z_spec that is not a redshift reaches neither the output nor the metrics.
use connectors::part::BELOW_ZERO;
use testkit::{
    galaxy_rows::{some_galaxies, with_values, write_parquet},
    rejects::reject_reasons,
    rows::{flags_of, float_of, floats, ids, rows, rows_if_any, strings},
    survey::run_catalog,
    tree::folder,
};

#[test]
fn an_invalid_z_spec_does_not_reach_the_output() {
    let (catalog, out) = (folder(), folder());
    let z_spec = [
        (1, None),
        (2, Some(f32::NAN)),
        (3, Some(-9999.0)),
        (4, Some(f32::INFINITY)),
        (5, Some(-0.001)),
    ];
    write_parquet(
        catalog.path().join("drop/a.parquet"),
        &with_values(&some_galaxies(6), "z_spec", &z_spec),
        10,
    );
    run_catalog(&catalog, &out).ends(0);
    let photoz = rows(out.path().join("photoz"));
    let ignored = 2;
    let expected = [
        (Some(0.1), 0),
        (None, 0),
        (None, 0),
        (None, ignored),
        (None, ignored),
        (Some(-0.001), 0),
    ];
    for (id, (z, flag)) in ["1", "2", "3", "4", "5", "6"].iter().zip(expected) {
        let z_phot = float_of(&photoz, id, "z_phot");
        let z_phot = z_phot.unwrap_or_else(|| panic!("object {id} is not predicted"));
        // The model of the tests is not trained, so its redshifts may be below 0.
        let below_zero = if z_phot < 0.0 { BELOW_ZERO } else { 0 };
        assert_eq!(
            (float_of(&photoz, id, "z_spec"), flags_of(&photoz, id)),
            (z, flag | below_zero),
            "object {id}"
        );
    }
}

#[test]
fn spec_z_rows_without_a_redshift_are_rejected() {
    let (catalog, out) = (folder(), folder());
    let z_spec = [(1, None), (2, Some(f32::NAN)), (3, Some(-9999.0))];
    let rows_in = with_values(&some_galaxies(4), "z_spec", &z_spec)
        .project(&[0, 9])
        .unwrap();
    assert_eq!(rows_in.schema().field(1).name(), "z_spec");
    write_parquet(catalog.path().join("spectra.parquet"), &rows_in, 10);
    run_catalog(&catalog, &out).ends(0);
    let specz = rows(out.path().join("specz"));
    assert_eq!(
        (ids(&specz), floats(&specz, "z_spec")),
        (vec!["1".to_owned()], vec![Some(0.1)])
    );
    assert_eq!(strings(&specz, "drop"), ["spectra.parquet"]);
    let reasons: Vec<String> = reject_reasons(out.path(), "spectra.parquet")
        .into_values()
        .collect();
    assert_eq!(reasons[0], "z_spec is null: the row teaches nothing");
    assert_eq!(
        &reasons[1..],
        [
            "z_spec is NaN, which is no redshift",
            "z_spec is -9999, which is no redshift"
        ]
    );
    assert!(
        rows_if_any(&out.path().join("photoz")).is_none(),
        "a spec-z drop was predicted"
    );
}
