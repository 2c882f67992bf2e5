//! The bundled model predicts galaxies that it has not seen, in float32 and in bfloat16.
use serde_json::json;
use testkit::{
    program::{Program, program},
    python::run_script,
    rows::{floats, rows},
    tree::{folder, text},
};

#[test]
fn the_bundled_model_predicts_galaxies_it_has_not_seen() {
    let (catalog, out) = (folder(), folder());
    let sample = "--galaxies 600 --parents test --seed 7 --px 32 --drops 1";
    let made = Program::new(["sample", &text(catalog.path())]);
    made.with(sample).ends(0);
    for precision in ["fp32", "bf16"] {
        let out = out.path().join(precision);
        let run = Program::new(["run", &text(catalog.path()), "--out", &text(&out)]);
        run.args(["--model", "bundled", "--precision", precision])
            .ends(0);
        let status = Program::new(["status", &text(&out), "--json"]);
        let all = status.ends(0).json()["metrics"]["all"].take();
        let number = |name: &str| all[name].as_f64().unwrap();
        assert!(number("n") > 550.0, "{precision}: {all}");
        // The bounds are the values of the model's card and three standard errors of 600 galaxies.
        assert!(number("sigma_nmad") < 0.0143, "{precision}: {all}");
        assert!(number("bias").abs() < 0.0035, "{precision}: {all}");
        assert!(
            number("outlier_fraction_0.05") < 0.025,
            "{precision}: {all}"
        );
    }
    // Rows are sorted, so both outputs have the galaxies in the same order.
    let z_phot =
        |precision: &str| floats(&rows(out.path().join(precision).join("photoz")), "z_phot");
    let pairs = z_phot("fp32").into_iter().zip(z_phot("bf16"));
    let dz = pairs.map(|(exact, short)| {
        let exact = exact.unwrap();
        f64::from((short.unwrap() - exact).abs() / (1.0 + exact))
    });
    let dz: Vec<f64> = dz.collect();
    let mean = dz.iter().sum::<f64>() / dz.len() as f64;
    assert!(mean < 1e-3, "bf16 is {mean} from fp32");
}

#[test]
fn the_bundled_model_is_the_whole_network() {
    let shown = Program::new(["model", "inspect", "bundled", "--json"]).ends(0);
    let shown = shown.json();
    assert_eq!(shown["parameters"], 15_924_887, "{shown}");
    let branches = ["encoder", "inception", "magnitude"];
    assert_eq!(shown["branches"], json!(branches), "{shown}");
}

/// The numbers of a row of a table in Markdown, without their percent signs.
fn numbers_of(table: &str, row: &str) -> Vec<f64> {
    let begins = format!("| {row} |");
    let line = table.lines().find(|line| line.starts_with(&begins));
    let cells = line.unwrap_or_else(|| panic!("no row {row} in {table}"));
    let numbers = cells
        .split(['|', '%'])
        .map(|cell| cell.trim().replace(',', ""));
    numbers.filter_map(|cell| cell.parse().ok()).collect()
}

/// The columns of `scripts/show_flags.py`: rows, blank band, outside training, flux mismatch, below zero, any, sigma_nmad.
#[test]
fn the_bundled_model_flags_what_it_was_not_trained_on() {
    let catalog = folder();
    let sample = "--galaxies 400 --parents test --seed 7 --px 32 --drops 1 --corrections 0";
    let made = Program::new(["sample", &text(catalog.path())]);
    made.with(sample).ends(0);
    let program = text(&program());
    let words = [program.as_str(), "bundled", &text(catalog.path())];
    let table = run_script(".venv", "../../scripts/show_flags.py", words);
    let of = |row: &str| numbers_of(&table, row);
    let [usual, shuffled] = ["as it is", "shuffled"].map(of);
    assert!(usual[0] > 350.0 && usual[5] < 2.0, "{table}");
    assert!(shuffled[6] > 1.02 * usual[6], "{table}");
    assert!(of("one band blank")[1] == 100.0, "{table}");
    assert!(of("at r 19")[2] == 100.0, "{table}");
    for spoilt in ["blank sky", "counts", "bands reversed", "stars"] {
        assert!(of(spoilt)[5] > 95.0, "{spoilt}: {table}");
    }
    // A star in bad seeing is as compact as a galaxy in good seeing.
    for spoilt in ["stars in any seeing", "saturated stars"] {
        assert!(of(spoilt)[5] > 85.0, "{spoilt}: {table}");
    }
}
