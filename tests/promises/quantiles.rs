//! Quantiles of the redshift, and the bounds of the intervals that they give, lie beside the redshift.
use std::{fs, path::Path};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float32Type},
};
use hubbleflow::{Inputs, Job, Model, ModelOutput, Needs};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use testkit::{
    galaxy_rows::{some_galaxies, write_parquet},
    outputs::{committed, ledger},
    program::Program,
    python::run_script,
    rows::{column, floats, ids, rows},
    survey::{SCATTERED, survey},
    tree::{assert_same, folder, text, write_file},
};

/// The columns of the bounds of intervals.
pub const BOUNDS: [&str; 4] = ["z_low68", "z_high68", "z_low95", "z_high95"];
const LEVELS: [f64; 3] = [0.1, 0.5, 0.975];

/// A module of PyTorch, traced: an embedding, the redshift z = mag_r / 100, and the quantiles z - 0.1, z and z + 0.1.
pub fn model(at: &Path) {
    let module = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/models/tests/data/three_outputs.pt"
    );
    write_file(at.join("model.pt"), fs::read(module).unwrap());
    let config = json!({
        "architecture": "torchscript", "name": "three outputs", "bands": ["g", "r"], "cutout_px": 16,
        "mags": ["g", "r"], "inputs": ["cutouts", "mags"], "outputs": ["embedding", "z_quantiles", "z_phot"],
        "levels": LEVELS,
    });
    write_file(at.join("config.json"), config.to_string());
}

pub fn run(model: &Path, out: &Path) -> Program {
    Program::on("run", &text(survey()), &text(out), model).with("--bands u,g,r,i,z")
}

fn names(rows: &RecordBatch) -> Vec<String> {
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    names.collect()
}

fn verify(out: &Path, model: &Path) {
    let args = ["--catalog", &text(survey()), "--model", &text(model)];
    Program::new(["verify", &text(out)]).args(args).ends(0);
}

#[test]
fn quantiles_lie_beside_redshifts() {
    let (at, out, scattered) = (folder(), folder(), folder());
    model(at.path());
    run(at.path(), out.path()).ends(0);
    let photoz = rows(out.path().join("photoz"));
    let expected = [
        "object_id",
        "ra",
        "dec",
        "_healpix_29",
        "z_phot",
        "z_low68",
        "z_high68",
        "z_low95",
        "z_high95",
        "z_quantiles",
        "z_spec",
        "mag_r",
        "z_flags",
        "model_id",
        "drop",
    ];
    assert_eq!(names(&photoz), expected);
    let schema = photoz.schema();
    let metadata = schema.field_with_name("z_quantiles").unwrap().metadata();
    let levels: Vec<f64> = serde_json::from_str(&metadata["levels"]).unwrap();
    assert_eq!(levels, LEVELS);
    let lists = column(&photoz, "z_quantiles").as_fixed_size_list();
    assert_eq!(
        (lists.value_length(), lists.value_type()),
        (3, DataType::Float32)
    );
    let z_phot = floats(&photoz, "z_phot");
    let bounds = BOUNDS.map(|name| floats(&photoz, name));
    let near = |found: Option<f32>, expected: f32| (found.unwrap() - expected).abs() < 1e-5;
    for row in 0..photoz.num_rows() {
        let bounds = bounds.each_ref().map(|bound| bound[row]);
        let Some(z) = z_phot[row] else {
            // The object is withdrawn.
            assert!(lists.is_null(row) && bounds == [None; 4], "row {row}");
            continue;
        };
        let values = lists.value(row);
        let values = values.as_primitive::<Float32Type>().values();
        assert_eq!(values[1], z);
        // The levels 0.16 and 0.84 are interpolated, and no level is below 0.1.
        assert!(near(bounds[0], z - 0.1 + 0.015), "row {row}: {bounds:?}");
        assert!(
            near(bounds[1], z + 0.1 * (0.34 / 0.475)),
            "row {row}: {bounds:?}"
        );
        assert_eq!(bounds[2..], [None, Some(values[2])]);
    }
    assert!(z_phot.contains(&None) && z_phot.iter().flatten().count() > 100);
    run(at.path(), scattered.path())
        .with(SCATTERED)
        .with("--local 2 --checkpoint 100ms")
        .ends(0);
    assert_same(&committed(out.path()), &committed(scattered.path()));
    verify(out.path(), at.path());
}

#[test]
fn an_export_has_quantiles_with_their_levels() {
    let (at, out, exported) = (folder(), folder(), folder());
    model(at.path());
    run(at.path(), out.path()).ends(0);
    let to = exported.path().join("current");
    Program::new(["export", &text(out.path()), "--to", &text(&to)]).ends(0);
    let exported = rows(&to);
    assert_eq!(names(&exported), names(&rows(out.path().join("photoz"))));
    let schema = exported.schema();
    let metadata = schema.field_with_name("z_quantiles").unwrap().metadata();
    assert_eq!(metadata["levels"], "[0.1,0.5,0.975]");
}

#[test]
fn the_list_of_quantiles_can_be_left_out() {
    let (at, whole, out) = (folder(), folder(), folder());
    model(at.path());
    run(at.path(), whole.path()).ends(0);
    run(at.path(), out.path()).with("--no-quantiles").ends(0);
    let settings = |out: &Path| ledger(out)[0]["settings"]["quantiles"].clone();
    assert_eq!(
        [settings(whole.path()), settings(out.path())],
        [true, false]
    );
    let [whole, short] = [&whole, &out].map(|out| rows(out.path().join("photoz")));
    assert!(short.column_by_name("z_quantiles").is_none());
    for name in BOUNDS.into_iter().chain(["z_phot", "z_spec", "z_flags"]) {
        assert_eq!(column(&short, name), column(&whole, name), "{name}");
    }
    verify(out.path(), at.path());
}

#[test]
fn other_programs_read_quantiles() {
    let (at, out) = (folder(), folder());
    model(at.path());
    run(at.path(), out.path()).ends(0);
    let printed = run_script(".venv", "readers.py", ["quantiles", &text(out.path())]);
    let seen: Value = serde_json::from_str(&printed).expect("readers.py prints JSON");
    assert_eq!(seen["levels"], json!(LEVELS));
    let photoz = rows(out.path().join("photoz"));
    let z_phot = floats(&photoz, "z_phot");
    let predicted = z_phot.iter().flatten().count();
    for reader in ["pyarrow", "polars", "duckdb"] {
        let seen = &seen[reader];
        assert_eq!(seen[0], predicted, "lists by {reader}");
        // The median is the redshift.
        let sum: f64 = z_phot.iter().flatten().map(|&z| f64::from(z)).sum();
        let theirs = seen[1].as_f64().unwrap();
        assert!(
            (theirs - sum).abs() < 1e-9 * sum,
            "medians by {reader}: {theirs} and {sum}"
        );
    }
}

/// A model whose redshift is a tenth of the r magnitude, with quantiles that depend on the row's magnitude.
#[derive(Clone)]
struct Faulty(Needs, [ModelOutput; 2]);

impl Model for Faulty {
    fn id(&self) -> &str {
        "faulty"
    }

    fn name(&self) -> &str {
        "faulty"
    }

    fn needs(&self) -> &Needs {
        &self.0
    }

    fn outputs(&self) -> &[ModelOutput] {
        &self.1
    }

    fn forward(
        &self,
        inputs: &Inputs,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, models::Error> {
        assert_eq!(wanted, self.1);
        let mags = inputs.mags.as_ref().expect("magnitudes are needed");
        let z = mags.f_select(1, 0)? / 10.0;
        // By the rows' magnitudes, which begin at 17.5 and grow by 0.01.
        let row = ((mags.f_select(1, 0)? - 17.5) * 100.0).round();
        let quantiles = Tensor::zeros([z.size()[0], 3], (Kind::Float, Device::Cpu));
        for (place, value) in [0.1, 0.2, 0.2].into_iter().enumerate() {
            let _ = quantiles.select(1, place as i64).fill_(value);
        }
        for (of_row, value) in [(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 0.19)] {
            let is_row = row.eq(of_row);
            let _ = quantiles.select(1, 2).masked_fill_(&is_row, value);
        }
        Ok(vec![z, quantiles])
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn rows_with_faulty_quantiles_are_rejected_with_the_reason() {
    let (catalog, out) = (folder(), folder());
    write_parquet(catalog.path().join("a.parquet"), &some_galaxies(6), 4);
    let needs = Needs {
        mags: vec!["r".to_owned()],
        mags_required: true,
        ..Needs::default()
    };
    let levels = vec![0.16, 0.5, 0.84];
    let outputs = [ModelOutput::ZPhot, ModelOutput::ZQuantiles { levels }];
    let job = Job::builder(&text(catalog.path()), &text(out.path()))
        .own_model(Faulty(needs.clone(), outputs));
    let summary = job.build().unwrap().run().unwrap();
    assert_eq!((summary.rows_written, summary.rows_rejected), (3, 3));
    assert_eq!(ids(&rows(out.path().join("photoz"))).len(), 3);
    let rejects = rows(out.path().join("rejects"));
    let reasons = column(&rejects, "reason").as_string::<i32>();
    let reasons: Vec<&str> = reasons.iter().map(Option::unwrap).collect();
    let expected = [
        "the model gives a value of NaN in z_quantiles, which cannot be stored",
        "the model gives a value of inf in z_quantiles, which cannot be stored",
        "the model gives quantiles that do not ascend: 0.2 at level 0.5 and 0.19 at level 0.84",
    ];
    assert_eq!(reasons, expected);
    // Levels that do not ascend name no quantiles.
    let levels = vec![0.5, 0.16];
    let outputs = [ModelOutput::ZPhot, ModelOutput::ZQuantiles { levels }];
    let job = Job::builder(&text(catalog.path()), &text(folder().path()));
    let refused = job.own_model(Faulty(needs, outputs)).build();
    let refused = refused.map(|_job| ()).unwrap_err();
    let says =
        "model faulty gives quantiles at the levels [0.5, 0.16], which must ascend between 0 and 1";
    assert!(
        refused.is_usage() && refused.to_string().contains(says),
        "{refused}"
    );
}
