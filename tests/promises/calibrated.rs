//! An export calibrates intervals by the spec-z that are known as of its entry.
use std::{collections::BTreeMap, fs, path::Path};

use arrow::array::RecordBatch;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use testkit::{
    program::Program,
    rows::{floats, ids, rows, strings},
    survey::trained_model,
    tree::{folder, text},
};

use crate::quantiles::{self, BOUNDS};

/// The calibration that `status` shows, with the number of its entry.
fn calibration(out: &Path, as_of: &str) -> Value {
    let status = Program::new(["status", &text(out), "--json"]).with(as_of);
    let metrics = status.ends(0).json()["metrics"].take();
    let mut calibration = metrics["calibration"].clone();
    calibration["sequence"] = metrics["sequence"].clone();
    calibration
}

/// Exports an output. Asserts that the file says where its calibration comes from, and returns its rows.
fn export(out: &Path, to: &Path, as_of: &str) -> RecordBatch {
    let export = Program::new(["export", &text(out), "--to", &text(to)]);
    export.with(as_of).ends(0);
    let file = fs::File::open(to.join("part-00000.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let notes = reader.metadata().file_metadata().key_value_metadata();
    let mut notes = notes.unwrap().iter();
    let note = notes.find(|note| note.key == "hubbleflow.calibration");
    let note: Value = serde_json::from_str(note.unwrap().value.as_deref().unwrap()).unwrap();
    assert_eq!(note, calibration(out, as_of));
    rows(to)
}

/// The bounds that the model gave, by drop and object.
fn own_bounds(out: &Path) -> BTreeMap<(String, String), [Option<f32>; 4]> {
    let photoz = rows(out.join("photoz"));
    let bounds = BOUNDS.map(|name| floats(&photoz, name));
    let keys = strings(&photoz, "drop").into_iter().zip(ids(&photoz));
    let bounds = (0..).map(|row: usize| bounds.each_ref().map(|bound| bound[row]));
    keys.zip(bounds).collect()
}

/// Asserts that the bounds of exported rows are the model's own with the shifts of the calibration. Returns the number of
/// rows that took the shifts of their bin of magnitude, and of those that took the shifts of all.
fn assert_calibrated(out: &Path, exported: &RecordBatch, calibration: &Value) -> [usize; 2] {
    let bounds = BOUNDS.map(|name| floats(exported, name));
    let (z_phot, mags) = (floats(exported, "z_phot"), floats(exported, "mag_r"));
    let (drops, own_bounds) = (strings(exported, "drop"), own_bounds(out));
    let mut taken = [0; 2];
    for (row, id) in ids(exported).iter().enumerate() {
        let z = z_phot[row].unwrap();
        let bin = format!("{:.1}", (f64::from(mags[row].unwrap()) * 2.0).floor() / 2.0);
        let bin = &calibration["by_mag_r"][bin];
        let is_large = bin["n"].as_i64().is_some_and(|n| n >= 200);
        taken[usize::from(!is_large)] += 1;
        let shifts = if is_large { bin } else { &calibration["all"] };
        let own = &own_bounds[&(drops[row].clone(), id.clone())];
        for (interval, shift) in ["shift_68", "shift_95"].into_iter().enumerate() {
            let shift = shifts[shift].as_f64();
            let own = own[2 * interval].zip(own[2 * interval + 1]);
            let (low, high) = own.unwrap_or((z, z));
            let by = shift.map(|shift| shift * (1.0 + f64::from(z)));
            let expected = by.map(|by| [f64::from(low) - by, f64::from(high) + by]);
            let expected = expected.map(|bounds| bounds.map(|bound| bound as f32));
            let found = bounds[2 * interval][row].zip(bounds[2 * interval + 1][row]);
            assert_eq!(found.map(|(low, high)| [low, high]), expected, "{id}");
        }
    }
    taken
}

/// Makes a survey and runs a point model on it.
pub fn run_point_model(sample: &str, catalog: &Path, out: &Path) {
    let made = Program::new(["sample", &text(catalog)]);
    made.with("--px 64 --corrections 0.1 --withdrawals 0.05")
        .with(sample)
        .ends(0);
    Program::on("run", &text(catalog), &text(out), trained_model()).ends(0);
}

#[test]
fn an_export_of_a_point_model_has_calibrated_intervals() {
    let (catalog, out, to) = (folder(), folder(), folder());
    let sample = "--galaxies 900 --drops 2 --without-spec-z 0.3 --specz-drops 1";
    run_point_model(sample, catalog.path(), out.path());
    for (as_of, name) in [("", "now"), ("--as-of drop-0001", "before")] {
        let exported = export(out.path(), &to.path().join(name), as_of);
        let calibration = calibration(out.path(), as_of);
        let taken = assert_calibrated(out.path(), &exported, &calibration);
        assert!(
            !as_of.is_empty() || taken.iter().all(|&n| n > 0),
            "{taken:?}"
        );
        // The spec-z of the rows are most of those that the shifts come from.
        let bounds = BOUNDS.map(|name| floats(&exported, name));
        let z_spec = floats(&exported, "z_spec");
        let known = z_spec
            .iter()
            .enumerate()
            .filter_map(|(row, z)| Some((row, (*z)?)));
        let is_inside =
            |&(row, z): &(usize, f32)| bounds[0][row] <= Some(z) && Some(z) <= bounds[1][row];
        let (inside, outside): (Vec<_>, Vec<_>) = known.partition(is_inside);
        let coverage = inside.len() as f64 / (inside.len() + outside.len()) as f64;
        assert!((coverage - 0.68).abs() < 0.05, "{name}: {coverage}");
    }
    assert_ne!(
        calibration(out.path(), ""),
        calibration(out.path(), "--as-of drop-0001")
    );
}

#[test]
fn an_export_shifts_the_intervals_of_the_model() {
    let (model, out, to) = (folder(), folder(), folder());
    quantiles::model(model.path());
    quantiles::run(model.path(), out.path()).ends(0);
    let exported = export(out.path(), &to.path().join("now"), "");
    assert_calibrated(out.path(), &exported, &calibration(out.path(), ""));
    // The model's interval of 68% is 0.16 wide, and the calibrated one is not.
    let own = floats(&rows(out.path().join("photoz")), "z_low68");
    assert!(
        floats(&exported, "z_low68")
            .iter()
            .all(|low| !own.contains(low))
    );
}

/// Bounds of a survey without spec-z are null, and the columns are there.
#[test]
fn without_spec_z_there_is_no_calibrated_interval() {
    let (catalog, out, to) = (folder(), folder(), folder());
    let sample = "--galaxies 20 --drops 1 --without-spec-z 1.0 --specz-drops 0";
    run_point_model(sample, catalog.path(), out.path());
    let exported = export(out.path(), &to.path().join("now"), "");
    assert_eq!(
        calibration(out.path(), "")["all"],
        json!({"n": 0, "shift_68": null, "shift_95": null})
    );
    for name in BOUNDS {
        assert!(
            floats(&exported, name).iter().all(Option::is_none),
            "{name}"
        );
    }
}
