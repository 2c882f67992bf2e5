//! `export --qp` writes the quantiles as an ensemble that qp opens.
use std::{fs, path::Path, sync::Arc};

use arrow::array::{BooleanArray, RecordBatch};
use serde_json::{Value, json};
use testkit::{
    galaxy_rows::{int64, write_parquet},
    program::Program,
    python::run_script,
    rows::{floats, ids, rows},
    survey::{run_catalog, survey},
    tree::{copy_tree, folder, text},
};

use crate::quantiles;

fn export(out: &Path, to: &Path, qp: &str) -> Program {
    Program::new(["export", &text(out), "--to", &text(to), "--qp", qp])
}

fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], by: f64) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let far = pairs.filter(|(found, expected)| (*found - *expected).abs() > by);
    assert_eq!(far.collect::<Vec<_>>(), []);
}

#[test]
fn qp_opens_the_distributions_of_an_export() {
    let (model, catalog, out, to) = (folder(), folder(), folder(), folder());
    quantiles::model(model.path());
    copy_tree(survey(), catalog.path());
    // No row of this drop is predicted.
    let withdrawals = RecordBatch::try_from_iter([
        ("object_id", int64([1, 2])),
        ("deleted", Arc::new(BooleanArray::from(vec![true; 2])) as _),
    ]);
    let withdrawals_at = catalog.path().join("withdrawals.parquet");
    write_parquet(withdrawals_at, &withdrawals.unwrap(), 10);
    let catalog = text(catalog.path());
    let run = Program::on("run", &catalog, &text(out.path()), model.path());
    run.with("--bands u,g,r,i,z").ends(0);
    let (current, prefix) = (to.path().join("current"), text(&to.path().join("qp/sky-")));
    export(out.path(), &current, &prefix).ends(0);
    let printed = run_script(".venv", "ensembles.py", [&prefix]);
    let seen: Value = serde_json::from_str(&printed).expect("ensembles.py prints JSON");
    let exported = rows(&current);
    assert_eq!(
        seen["object_id"],
        json!(ids(&exported)),
        "the order is the export's"
    );
    assert_eq!(seen["levels"], json!([0.0, 0.1, 0.5, 0.975, 1.0]));
    let z_phot: Vec<f64> = floats(&exported, "z_phot")
        .into_iter()
        .map(|z| z.unwrap().into())
        .collect();
    // The model's quantiles at the levels 0.1, 0.5 and 0.975 are z - 0.1, z and z + 0.1.
    for (row, z) in seen["locs"].as_array().unwrap().iter().zip(&z_phot) {
        let slopes = [0.1 * 0.1 / 0.4, 0.025 * 0.1 / 0.475];
        let expected = [
            z - 0.1 - slopes[0],
            z - 0.1,
            *z,
            z + 0.1,
            z + 0.1 + slopes[1],
        ];
        assert_near(&numbers(row), &expected, 1e-6);
    }
    let estimates = |name| numbers(&seen["estimates"][name]);
    assert_near(&estimates("zmedian"), &z_phot, 1e-12);
    assert_near(&estimates("zmedian"), &numbers(&seen["median"]), 1e-6);
    assert_near(&estimates("zmean"), &numbers(&seen["mean"]), 1e-9);
    let modes: Vec<f64> = z_phot.iter().map(|z| z + 0.05).collect();
    assert_near(&estimates("zmode"), &modes, 1e-6);

    export(out.path(), &to.path().join("again"), &prefix)
        .ends(2)
        .says(&["sky-data.pq exists"]);
    export(
        out.path(),
        &to.path().join("again"),
        &text(&to.path().join("again/sky-")),
    )
    .ends(2)
    .says(&["again/sky- lies in"]);
    export(out.path(), &to.path().join("again"), "sky/")
        .ends(2)
        .says(&["names no files"]);
    assert!(!to.path().join("again").exists());
}

#[test]
fn a_model_without_quantiles_makes_no_ensemble() {
    let (out, to) = (folder(), folder());
    run_catalog(survey(), &out).ends(0);
    let qp = text(&to.path().join("sky-"));
    let refused = export(out.path(), &to.path().join("current"), &qp).ends(1);
    refused.says(&["has no quantiles of redshifts for --qp"]);
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
}
