//! The magnitude of the output and of the metrics is in the model's reference band.
use std::{path::Path, sync::Arc};

use arrow::array::Float32Array;
use hubbleflow::{
    Job, RowSettings,
    export::{ExportSettings, export},
    status::status,
    verify::verify,
};
use serde_json::Value;
use testkit::{
    galaxy_rows::{some_galaxies, with_column, write_parquet},
    outputs::{committed, metrics_files},
    program::Program,
    rows::{floats, rows},
    tree::{assert_same, folder, text},
};

use crate::bands::{Telling, galaxies, run, settings};

/// The newest metrics file of an output.
fn last_metrics(out: &Path) -> Value {
    let mut files = metrics_files(out);
    let (_, newest) = files.pop_last().expect("a metrics file");
    serde_json::from_slice(&newest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_band_names_the_magnitude_everywhere() {
    let (catalog, out, exported) = (folder(), folder(), folder());
    let mut galaxies = some_galaxies(6);
    for (band, first) in [("Y", 18.6), ("J", 18.1)] {
        let mags: Float32Array = (0..6).map(|row| Some(first + row as f32 / 2.0)).collect();
        galaxies = with_column(&galaxies, &format!("mag_{band}"), Arc::new(mags));
    }
    write_parquet(catalog.path().join("a.parquet"), &galaxies, 10);
    let (place, model) = (catalog.path().to_owned(), Telling::of(&[], &["Y", "J"]));
    let go = |model: Telling, model_change: bool| {
        let mut settings = settings(RowSettings::default());
        (settings.plan.model_change, settings.plan.again) = (model_change, true);
        let job = Job::builder(&text(&place), &text(out.path())).settings(settings);
        tokio::task::block_in_place(|| job.own_model(model).build().unwrap().run())
    };
    assert_eq!(go(model, false).unwrap().rows_written, 6);
    let photoz = rows(out.path().join("photoz"));
    let mut mags = floats(&photoz, "mag_Y");
    mags.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(mags[0], Some(18.6));
    assert!(photoz.column_by_name("mag_r").is_none());

    let slices = last_metrics(out.path())["by_mag_Y"].clone();
    let bins: Vec<&String> = slices.as_object().unwrap().keys().collect();
    assert_eq!(bins, ["18.5", "19.0", "19.5", "20.0", "20.5", "21.0"]);
    let status = status(&text(out.path()), None, &[]).await.unwrap();
    let by_mag = status.metrics.unwrap().by_mag;
    assert_eq!(
        (by_mag.band.as_deref(), by_mag.slices.len()),
        (Some("Y"), 6)
    );
    let verified = verify(&text(out.path()), None, &[]).await.unwrap();
    assert!(
        verified.metrics_compared && verified.faults.is_empty(),
        "{verified}"
    );
    let page = exported.path().join("page.html");
    let report = Program::new(["report", &text(out.path()), "--html", &text(&page)]);
    report.ends(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("Error against Y magnitude") && !page.contains("r magnitude"));
    let to = exported.path().join("rows");
    let [from, to_text] = [out.path(), &to].map(text);
    let settings = ExportSettings {
        out: &from,
        to: &to_text,
        as_of: None,
        qp: None,
        memory_bytes: 1 << 20,
    };
    assert_eq!(export(&settings, &[]).await.unwrap().rows, 6);
    assert_eq!(floats(&rows(&to), "mag_Y").len(), 6);

    // An output has one reference band, whatever the model.
    let before = committed(out.path());
    for (model, has) in [
        (Telling::of(&[], &["g", "r"]), "mag_r"),
        (Telling::of(&["u"], &[]), "no magnitude"),
    ] {
        let error = go(model, true).unwrap_err().to_string();
        let words =
            format!("holds predictions with mag_Y (drop a.parquet), and this model's have {has}");
        assert!(error.contains(&words), "{error}");
    }
    assert_same(&committed(out.path()), &before);
    assert_eq!(go(Telling::of(&[], &["Y"]), true).unwrap().rows_written, 6);
}

#[test]
fn a_model_without_magnitudes_writes_none() {
    let (catalog, out) = (folder(), folder());
    write_parquet(catalog.path().join("a.parquet"), &galaxies(4, &["r"]), 10);
    let summary = run(catalog.path(), out.path(), Telling::of(&["r"], &[]), &[]).unwrap();
    assert_eq!(summary.rows_written, 4);
    let photoz = rows(out.path().join("photoz"));
    let schema = photoz.schema();
    assert!(
        schema
            .fields()
            .iter()
            .all(|field| !field.name().starts_with("mag"))
    );
    let metrics = last_metrics(out.path());
    assert_eq!(metrics["all"]["n"], 4);
    let fields = metrics.as_object().unwrap().keys();
    assert!(
        fields.clone().all(|name| !name.starts_with("by_mag")),
        "{metrics}"
    );
    let page = out.path().with_extension("html");
    Program::new(["report", &text(out.path()), "--html", &text(&page)]).ends(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("magnitude"));
}
