//! `scripts/compare_cutouts.py` compares catalogs of any bands and sizes.
use serde_json::Value;
use testkit::{
    program::Program,
    python::run_script,
    tree::{folder, text},
};

/// A figure of a catalog in a band.
fn figure(compared: &Value, catalog: &str, name: &str, band: &str) -> f64 {
    let found = &compared[catalog][name][band];
    let missing = || panic!("no {name} of {catalog} in {band}: {compared}");
    found.as_f64().unwrap_or_else(missing)
}

#[test]
fn catalogs_of_other_bands_and_sizes_are_compared_in_the_bands_that_both_have() {
    let [wide, narrow] = [(); 2].map(|()| folder());
    for (at, flags) in [
        (&wide, "--px 64"),
        (&narrow, "--px 40 --bands zrg --seed 5"),
    ] {
        let made = Program::new(["sample", &text(at.path())]);
        made.with("--galaxies 300 --drops 1 --bad-rows 0.02")
            .with(flags)
            .ends(0);
    }
    let [wide, narrow] = [&wide, &narrow].map(|at| text(at.path()));
    let words = [wide.as_str(), &narrow, "--json"];
    let compared = run_script(".venv", "../../scripts/compare_cutouts.py", words);
    let compared: Value = serde_json::from_str(&compared).unwrap();
    assert!(compared[&wide]["border"].get("u").is_none(), "{compared}");
    for (band, sky_rms) in [("g", 0.018), ("r", 0.029), ("z", 0.173)] {
        let of = |catalog: &str, name| figure(&compared, catalog, name, band);
        for catalog in [&wide, &narrow] {
            let rms = of(catalog, "rms") / sky_rms;
            assert!((0.8..1.2).contains(&rms), "{catalog}, {band}: {rms}");
            assert!(
                (0.0..0.3).contains(&of(catalog, "correlation")),
                "{compared}"
            );
            assert!((0.5..2.0).contains(&of(catalog, "centre")), "{compared}");
        }
        let asymmetries = [&wide, &narrow].map(|catalog| of(catalog, "asymmetry"));
        assert!(
            (asymmetries[0] / asymmetries[1] - 1.0).abs() < 0.25,
            "{compared}"
        );
        // The border of a smaller cutout is nearer to the galaxy.
        assert!(of(&narrow, "border") > of(&wide, "border"), "{compared}");
    }
}
