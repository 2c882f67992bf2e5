//! Plain Parquet: pyarrow, polars and DuckDB read what we write, and we read what others write.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use arrow::{
    array::AsArray,
    datatypes::{Int32Type, Int64Type},
};
use serde_json::{Value, json};
use testkit::{
    outputs::ledger,
    program::Program,
    python::run_script,
    rows::{column, floats, rows, z_phot},
    survey::{model, run_catalog, survey},
    tree::{folder, text, write_file},
};

use crate::quantiles;

/// Runs readers.py in the environment that `make test` has made.
fn readers(command: &str, folder: &Path) -> String {
    run_script(".venv", "readers.py", [command, &text(folder)])
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

#[test]
fn the_metrics_are_those_that_polars_computes() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    assert_metrics(out.path());
}

#[test]
fn the_metrics_of_quantiles_are_those_that_numpy_computes() {
    let (at, out) = (folder(), folder());
    quantiles::model(at.path());
    quantiles::run(at.path(), out.path()).ends(0);
    let all = assert_metrics(out.path());
    let pit = all["pit"].as_array().expect("the model gives quantiles");
    assert_eq!((pit.len(), all["coverage_95"].as_f64()), (20, None));
    assert!(number(&all["crps"]) > 0.0 && number(&all["coverage_68"]) > 0.0);
}

/// Asserts that the metrics of an output are those that polars and numpy compute. Returns those of all objects.
#[track_caller]
fn assert_metrics(out: &Path) -> Value {
    let status = Program::new(["status", &text(out), "--json"]).ends(0);
    let ours = status.json()["metrics"].take();
    let theirs: Value =
        serde_json::from_str(&readers("metrics", out)).expect("readers.py prints JSON");
    assert_eq!(ours["objects"], theirs["objects"]);
    assert!(number(&ours["all"]["n"]) > 200.0, "{}", ours["all"]);
    assert_numbers("all", &ours["all"], &theirs["all"]);
    for by in ["by_drop", "by_mag_r", "by_z_spec", "by_tile"] {
        let (ours, theirs) = (
            ours[by].as_object().unwrap(),
            theirs[by].as_object().unwrap(),
        );
        let names =
            |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(ours), names(theirs), "{by}");
        for (slice, numbers) in ours {
            assert_numbers(&format!("{by} {slice}"), numbers, &theirs[slice]);
        }
    }
    ours["all"].clone()
}

/// Asserts that two sets of numbers are equal, up to the last digits of sums.
#[track_caller]
fn assert_numbers(slice: &str, ours: &Value, theirs: &Value) {
    let (mut ours, theirs) = (
        ours.as_object().unwrap().clone(),
        theirs.as_object().unwrap(),
    );
    // The halves of the objects are a matter of Hubbleflow's hash. Metrics of intervals are null where there are none.
    ours.retain(|name, value| {
        !name.starts_with("calibrated_") && (theirs.contains_key(name) || !value.is_null())
    });
    assert!(ours.keys().eq(theirs.keys()), "{slice}: {ours:?}");
    for (name, value) in &ours {
        match (value.as_f64(), theirs[name].as_f64()) {
            (Some(ours), Some(theirs)) => {
                // `r2` is a ratio of two small sums, so fewer digits are exact.
                let slack = if name == "r2" { 1e-4 } else { 1e-8 };
                let near = slack * theirs.abs().max(1.0);
                assert!(
                    (ours - theirs).abs() < near,
                    "{name} of {slice}: {ours}, not {theirs}"
                );
            }
            (ours, theirs) => assert_eq!(ours, theirs, "{name} of {slice}"),
        }
    }
}

#[test]
fn the_predictions_are_plain_parquet() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let seen: Value =
        serde_json::from_str(&readers("read", out.path())).expect("readers.py prints JSON");
    let photoz = rows(out.path().join("photoz"));
    let ids = column(&photoz, "object_id")
        .as_primitive::<Int64Type>()
        .values();
    let z = floats(&photoz, "z_phot");
    let flags: i32 = column(&photoz, "z_flags")
        .as_primitive::<Int32Type>()
        .values()
        .iter()
        .sum();
    let nulls = z.iter().filter(|z| z.is_none()).count();
    assert!(nulls > 0, "no object is withdrawn");
    let exact = json!([photoz.num_rows(), ids.iter().min(), ids.iter().max(), nulls]);
    let sum: f64 = z.iter().flatten().map(|&z| f64::from(z)).sum();
    for reader in ["pyarrow", "polars", "duckdb"] {
        let seen = seen[reader]
            .as_array()
            .unwrap_or_else(|| panic!("{reader} read nothing"));
        assert_eq!(
            json!(seen[..4]),
            exact,
            "rows, least and greatest id and nulls, by {reader}"
        );
        assert!(
            (number(&seen[4]) - sum).abs() < 1e-9 * sum.abs().max(1.0),
            "sum of z_phot by {reader}: {} and {sum}",
            seen[4]
        );
        assert_eq!(seen[5], flags, "sum of z_flags by {reader}");
    }
    check_fields(&seen["fields"]);
    let id = Program::new(["model", "inspect", &text(model()), "--json"])
        .ends(0)
        .json()["id"]
        .clone();
    assert_eq!(seen["notes"]["hubbleflow.model_id"], id);
    let flags: Value =
        serde_json::from_str(seen["notes"]["hubbleflow.z_flags"].as_str().unwrap()).unwrap();
    assert_eq!(flags["DELETED"], 1);
}

/// Asserts that the columns have the documented types, units and UCDs.
fn check_fields(fields: &Value) {
    let names: BTreeSet<&str> = fields
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let types = [
        ("object_id", "int64"),
        ("ra", "double"),
        ("dec", "double"),
        ("_healpix_29", "int64"),
        ("z_phot", "float"),
        ("z_low68", "float"),
        ("z_high68", "float"),
        ("z_low95", "float"),
        ("z_high95", "float"),
        ("z_spec", "float"),
        ("mag_r", "float"),
        ("z_flags", "int32"),
        ("model_id", "string"),
        ("drop", "string"),
    ];
    assert_eq!(names, types.map(|(name, _)| name).into());
    for (name, of) in types {
        assert_eq!(fields[name]["type"], of, "type of {name}");
        assert!(fields[name]["ucd"].is_string(), "{name} has no UCD");
    }
    assert_eq!(
        [
            &fields["ra"]["unit"],
            &fields["dec"]["unit"],
            &fields["mag_r"]["unit"]
        ],
        ["deg", "deg", "mag"]
    );
    assert_eq!(fields["z_phot"]["ucd"], "src.redshift.phot;meta.main");
}

/// Runs a catalog. Returns the predictions of each drop, and asserts that each has `count` of them.
fn by_drop(
    catalog: &Path,
    flags: &str,
    count: usize,
) -> BTreeMap<String, BTreeMap<String, Option<u32>>> {
    let out = folder();
    run_catalog(catalog, &out).with(flags).ends(0);
    let drops = ledger(out.path())
        .into_iter()
        .map(|entry| entry["drop"].as_str().unwrap().to_owned());
    let read: BTreeMap<_, _> = drops
        .map(|drop| (drop.clone(), z_phot(out.path().join("photoz").join(drop))))
        .collect();
    for (drop, z) in &read {
        assert_eq!(z.len(), count, "rows of {drop}");
        assert!(
            z.values().all(Option::is_some),
            "{drop} has rows without a prediction"
        );
    }
    read
}

#[test]
fn every_form_of_a_galaxy_gives_the_same_redshift() {
    let written = folder();
    readers("write", written.path());
    let plain = same_in_all(by_drop(&written.path().join("int64"), "", 24), 16);
    let values: BTreeSet<_> = plain.values().collect();
    assert!(
        values.len() > 20,
        "only {} different predictions: the test cannot tell the galaxies apart",
        values.len()
    );
    assert_eq!(
        plain,
        same_in_all(by_drop(&written.path().join("string"), "", 24), 3),
        "ids as text"
    );
    same_in_all(by_drop(&written.path().join("constant"), "", 24), 2);

    // A row group of 60 MB is one split, decoded in chunks. Row groups of two batches are one split each.
    let split = "--split-bytes 5MB --memory 25MB";
    let large = written.path().join("large");
    let plan = Program::on(
        "plan",
        &text(&large),
        &text(&written.path().join("out")),
        model(),
    );
    let plan = plan.with("--split-bytes 5MB --json").ends(0).json();
    assert_eq!(
        (&plan["drops"][0]["splits"], &plan["drops"][1]["splits"]),
        (&1.into(), &12.into()),
        "{plan}"
    );
    same_in_all(by_drop(&large, split, 3000), 2);
}

#[test]
fn a_wrong_page_checksum_fails_the_drop() {
    let (catalog, out) = (folder(), folder());
    readers("checked", catalog.path());
    let file = catalog.path().join("drop/part-0.parquet");
    let mut bytes = std::fs::read(&file).unwrap();
    // The damage is in pixels, which can be read without an error. Only the checksum shows it.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x3f);
    write_file(&file, bytes);
    let ended = run_catalog(&catalog, &out).ends(3);
    ended.says(&["drop/part-0.parquet", "cannot be read as Parquet"]);
    assert!(ledger(out.path()).is_empty());
}

/// Asserts that there are `count` drops with equal predictions, and returns the predictions.
#[track_caller]
fn same_in_all(
    drops: BTreeMap<String, BTreeMap<String, Option<u32>>>,
    count: usize,
) -> BTreeMap<String, Option<u32>> {
    assert_eq!(drops.len(), count, "{:?}", drops.keys());
    let (first, expected) = drops.first_key_value().unwrap();
    for (drop, z) in &drops {
        let other: Vec<_> = z
            .iter()
            .filter(|(id, z)| expected.get(*id) != Some(z))
            .map(|(id, _)| id)
            .collect();
        assert!(
            other.is_empty(),
            "{} predictions of {drop} differ from those of {first}, for example of {:?}",
            other.len(),
            other[0]
        );
    }
    expected.clone()
}
