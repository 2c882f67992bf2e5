//! Fluxes in place of magnitudes.
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use testkit::{
    galaxy_rows::{some_galaxies, with_column, without_column, write_parquet},
    outputs::ledger,
    program::Program,
    rows::{floats, ids, rows, strings},
    survey::{model, run_catalog},
    tree::{folder, text},
};

/// The fluxes of magnitudes, dimmed by dust.
fn fluxes(mags: &[Option<f32>], zero_point: f64, transmission: f64) -> ArrayRef {
    let flux = |mag: &Option<f32>| {
        mag.map(|mag| (transmission * 10_f64.powf(0.4 * (zero_point - f64::from(mag)))) as f32)
    };
    Arc::new(mags.iter().map(flux).collect::<Float32Array>())
}

#[test]
fn fluxes_give_the_same_redshifts_as_their_magnitudes() {
    let (plain, plain_out) = (folder(), folder());
    let good = some_galaxies(12);
    write_parquet(plain.path().join("a.parquet"), &good, 10);
    run_catalog(&plain, &plain_out).ends(0);
    let expected = rows(plain_out.path().join("photoz"));
    for (zero_point, transmission) in [(22.5, 1.0), (22.5, 0.8), (31.4, 0.8)] {
        let mut galaxies = good.clone();
        for band in ["u", "g", "r", "i", "z"] {
            let name = format!("mag_{band}");
            let flux = fluxes(&floats(&good, &name), zero_point, transmission);
            // One name is the survey's own.
            let of_file = format!("{}_{band}", if band == "r" { "FLUX" } else { "flux" });
            galaxies = with_column(&without_column(&galaxies, &name), &of_file, flux);
            if transmission < 1.0 {
                let dust = Float32Array::from(vec![transmission as f32; 12]);
                let column = format!("mw_transmission_{band}");
                galaxies = with_column(&galaxies, &column, Arc::new(dust));
            }
        }
        let (catalog, out) = (folder(), folder());
        write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
        let zero_point = format!("--flux-zero-point {zero_point} --column flux_r=FLUX_r");
        run_catalog(&catalog, &out).with(&zero_point).ends(0);
        let photoz = rows(out.path().join("photoz"));
        assert_eq!(ids(&photoz), ids(&expected));
        for column in ["z_phot", "mag_r"] {
            let pairs = floats(&photoz, column).into_iter();
            for (found, expected) in pairs.zip(floats(&expected, column)) {
                let error = (found.unwrap() - expected.unwrap()).abs();
                assert!(error < 1e-5, "{column}: {error}");
            }
        }
        if transmission == 1.0 {
            // Without the flag the drop fails, and the message says which.
            let ended = run_catalog(&catalog, folder())
                .with("--column flux_r=FLUX_r")
                .ends(3);
            ended.says(&["no column `mag_u`", "`FLUX_r`", "--flux-zero-point 22.5"]);
        }
    }
}

#[test]
fn a_flux_that_is_no_magnitude_rejects_its_row_and_the_entry_knows_the_zero_point() {
    let (catalog, out) = (folder(), folder());
    let flux = Float32Array::from(vec![Some(1.0), Some(0.0), Some(-2.5), None, Some(f32::NAN)]);
    let galaxies = without_column(&some_galaxies(5), "mag_g");
    let galaxies = with_column(&galaxies, "flux_g", Arc::new(flux));
    write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
    run_catalog(&catalog, &out)
        .with("--flux-zero-point 22.5 --bands u,g,r,i,z")
        .ends(0);
    let rejects = rows(out.path().join("rejects"));
    let end = "only a finite flux above 0 has a magnitude";
    let expected = ["0", "-2.5", "null", "NaN"].map(|flux| format!("flux_g is {flux}: {end}"));
    assert_eq!(strings(&rejects, "reason"), expected);
    assert_eq!(rows(out.path().join("photoz")).num_rows(), 1);
    let entry = &ledger(out.path())[0];
    assert_eq!(entry["settings"]["flux_zero_point"], 22.5);
    assert_eq!(
        entry["settings"]["bands"],
        serde_json::json!(["u", "g", "r", "i", "z"])
    );
    assert_eq!(entry["settings"]["reference_band"], "r");
    // `verify` predicts with the same settings.
    let again = Program::new(["verify", &text(out.path())]);
    let again = again.args([
        "--catalog",
        &text(catalog.path()),
        "--model",
        &text(model()),
    ]);
    let stdout = again.ends(0).stdout;
    assert!(stdout.contains("1 drops were predicted again"), "{stdout}");
}
