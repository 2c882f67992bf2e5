//! Embeddings lie beside redshifts, and are themselves a catalog for another model.
use std::{collections::BTreeMap, path::Path};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Float16Type},
};
use hubbleflow::{CutoutNeeds, Inputs, Job, Model, ModelOutput, Needs};
use tch::{Device, Kind, Tensor};
use testkit::{
    galaxy_rows::{some_galaxies, write_parquet},
    outputs::{committed, drops, ledger},
    program::Program,
    rows::{column, floats, ids, rows, z_phot},
    survey::{SCATTERED, model, run_catalog, survey},
    tree::{Tree, assert_same, copy_tree, folder, text, write_file},
    watch::{stop_watch, wait_until_published},
};

/// The width of the embeddings of the small model.
const WIDTH: i64 = 192;

/// The committed files below a folder of an output.
fn below(out: &Path, folder: &str) -> Tree {
    let mut files = committed(out);
    files.retain(|name, _| name.starts_with(folder));
    files
}

fn deleted(rows: &RecordBatch) -> Vec<bool> {
    let deleted = column(rows, "deleted").as_boolean();
    deleted.iter().map(Option::unwrap).collect()
}

#[test]
fn embeddings_lie_beside_redshifts() {
    let (plain, out, scattered) = (folder(), folder(), folder());
    run_catalog(survey(), &plain).ends(0);
    run_catalog(survey(), &out).with("--embeddings").ends(0);
    let (photoz, embeddings) = (
        rows(out.path().join("photoz")),
        rows(out.path().join("embeddings")),
    );
    assert_eq!(ids(&photoz), ids(&embeddings));
    for name in [
        "ra",
        "dec",
        "_healpix_29",
        "z_spec",
        "mag_r",
        "model_id",
        "drop",
    ] {
        assert_eq!(column(&photoz, name), column(&embeddings, name), "{name}");
    }
    let values = column(&embeddings, "embedding").as_fixed_size_list();
    assert_eq!(values.value_length(), WIDTH as i32);
    assert_eq!(values.value_type(), DataType::Float16);
    let (deleted, z_phot) = (deleted(&embeddings), floats(&photoz, "z_phot"));
    assert!(deleted.contains(&true) && deleted.contains(&false));
    for (row, deleted) in deleted.into_iter().enumerate() {
        assert_eq!(
            (deleted, deleted),
            (values.is_null(row), z_phot[row].is_none())
        );
        if !deleted {
            let values = values.value(row);
            let values = values.as_primitive::<Float16Type>().values();
            assert!(values.iter().all(|value| value.is_finite()));
            assert!(values.iter().any(|value| *value != values[0]), "row {row}");
        }
    }
    assert_same(
        &below(plain.path(), "photoz/"),
        &below(out.path(), "photoz/"),
    );
    run_catalog(survey(), &scattered)
        .with("--embeddings")
        .with(SCATTERED)
        .with("--local 2")
        .ends(0);
    assert_same(&committed(out.path()), &committed(scattered.path()));
    let args = ["--catalog", &text(survey()), "--model", &text(model())];
    Program::new(["verify", &text(out.path())])
        .args(args)
        .ends(0);
}

/// A model whose photo-z is a tenth of the r magnitude plus a hundredth of the first value of the embedding.
fn head(at: &Path) {
    let config = format!(
        r#"{{"architecture": "head", "name": "a line", "inputs": ["embedding", "mags"], "embedding_width": {WIDTH},
            "mags": ["r", "z"], "hidden": [], "head": {{"kind": "point"}}}}"#
    );
    write_file(at.join("config.json"), config);
    let weight = Tensor::zeros([1, WIDTH + 2], (Kind::Float, Device::Cpu));
    let _ = weight.narrow(1, 0, 1).fill_(0.01);
    let _ = weight.narrow(1, WIDTH, 1).fill_(0.1);
    let bias = Tensor::zeros([1], (Kind::Float, Device::Cpu));
    let tensors = [("layers.0.weight", weight), ("layers.0.bias", bias)];
    Tensor::write_safetensors(&tensors, at.join("model.safetensors")).unwrap();
}

/// The redshift that [`head`] gives each object of `embeddings`; `None` for withdrawn objects.
fn expected(embeddings: &RecordBatch) -> BTreeMap<String, Option<f32>> {
    let values = column(embeddings, "embedding").as_fixed_size_list();
    let mags = floats(embeddings, "mag_r");
    let z = |row: usize| {
        let first = values.value(row).as_primitive::<Float16Type>().value(0);
        Some(0.1 * mags[row]? + 0.01 * first.to_f32())
    };
    let of_row = (0..embeddings.num_rows()).map(z);
    ids(embeddings).into_iter().zip(of_row).collect()
}

#[track_caller]
fn assert_predicted(out: &Path, drop: &str, from: &Path) {
    let expected = expected(&rows(from.join("embeddings").join(drop)));
    let found = z_phot(out.join("photoz").join(drop));
    assert_eq!(found.len(), expected.len());
    for (id, z) in found {
        let (z, expected) = (z.map(f32::from_bits), expected[&id]);
        assert_eq!(z.is_some(), expected.is_some(), "{id}");
        let difference = z.unwrap_or(0.0) - expected.unwrap_or(0.0);
        assert!(difference.abs() < 1e-5, "{id}: {z:?}, not {expected:?}");
    }
}

#[test]
fn another_model_follows_the_embeddings_of_a_survey() {
    let (catalog, first, second, at) = (folder(), folder(), folder(), folder());
    head(at.path());
    let (followed, out) = (text(&first.path().join("embeddings")), text(second.path()));
    let deliver = |drop: &str| {
        copy_tree(&survey().join(drop), &catalog.path().join(drop));
        run_catalog(&catalog, &first).with("--embeddings").ends(0);
    };
    deliver("drop-0001");
    let watch = Program::on("watch", &followed, &out, at.path())
        .with("--poll 50ms --settle 500ms --threads 1 --json")
        .start();
    wait_until_published(second.path(), 1);
    assert_predicted(second.path(), "drop-0001", first.path());
    // The second drop corrects and withdraws galaxies of the first.
    deliver("drop-0002");
    wait_until_published(second.path(), 2);
    assert_predicted(second.path(), "drop-0002", first.path());
    stop_watch(watch);
    let objects = |out: &Path| {
        let status = Program::new(["status", &text(out), "--json"])
            .ends(0)
            .json();
        status["metrics"]["objects"].as_u64().unwrap()
    };
    assert_eq!(objects(first.path()), objects(second.path()));
    let args = ["--catalog", &followed, "--model", &text(at.path())];
    Program::new(["verify", &out]).args(args).ends(0);
}

/// A model that gives one output, of three values.
#[derive(Clone)]
struct Describing(Needs, [ModelOutput; 1]);

impl Describing {
    fn new(output: ModelOutput) -> Self {
        let bands = ["u", "g", "r", "i", "z"].map(str::to_owned).to_vec();
        let cutouts = Some(CutoutNeeds { bands, px: 8 });
        let needs = Needs {
            cutouts,
            ..Needs::default()
        };
        Self(needs, [output])
    }
}

impl Model for Describing {
    fn id(&self) -> &str {
        "describing"
    }

    fn name(&self) -> &str {
        "describing"
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
        let cutouts = inputs.cutouts.as_ref().expect("cutouts are needed");
        let of_bands = cutouts.f_mean_dim([2, 3].as_slice(), false, None)?;
        Ok(vec![of_bands.f_narrow(1, 0, 3)?])
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn a_model_without_redshifts_writes_embeddings_alone() {
    let (catalog, out) = (folder(), folder());
    write_parquet(catalog.path().join("a.parquet"), &some_galaxies(6), 4);
    let (catalog, place) = (text(catalog.path()), text(out.path()));
    let job = Job::builder(&catalog, &place)
        .own_model(Describing::new(ModelOutput::Embedding { width: 3 }));
    let summary = job.build().unwrap().run().unwrap();
    assert_eq!((summary.rows_read, summary.rows_written), (6, 6));
    assert_eq!(drops(out.path()), ["a.parquet"]);
    let files = committed(out.path());
    assert!(
        files
            .keys()
            .all(|name| name.starts_with("embeddings/a.parquet/")),
        "{:?}",
        files.keys()
    );
    let rows = rows(out.path().join("embeddings"));
    let columns: Vec<String> = rows
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let expected = [
        "object_id",
        "ra",
        "dec",
        "_healpix_29",
        "embedding",
        "z_spec",
        "deleted",
        "model_id",
        "drop",
    ];
    assert_eq!(columns, expected);
    assert_eq!(ledger(out.path())[0]["rows"]["written"], 6);
    let current = folder();
    let to = text(&current.path().join("current"));
    Program::new(["export", &place, "--to", &to])
        .ends(1)
        .says(&["drop a.parquet has embeddings and no redshifts"]);
    Program::new(["verify", &place]).ends(0);
}

#[test]
fn embeddings_of_a_model_without_any_are_refused() {
    let (out, at) = (folder(), folder());
    head(at.path());
    Program::on("run", &text(survey()), &text(out.path()), at.path())
        .with("--embeddings")
        .ends(2)
        .says(&["--embeddings: model a line gives none, only z_phot"]);
    // A catalog without embeddings is none for a head.
    let catalog = folder();
    write_parquet(catalog.path().join("a.parquet"), &some_galaxies(6), 4);
    let plan = Program::on("plan", &text(catalog.path()), &text(out.path()), at.path()).ends(3);
    let says = "no column `embedding`";
    assert!(plan.stdout.contains(says), "{}", plan.stdout);
}

/// A run of such a model would write its rows nowhere.
#[test]
fn a_model_whose_outputs_cannot_be_written_is_refused() {
    let (catalog, out) = (folder(), folder());
    write_parquet(catalog.path().join("a.parquet"), &some_galaxies(6), 4);
    let levels = vec![0.16, 0.5, 0.84];
    let model = Describing::new(ModelOutput::ZQuantiles { levels });
    let job = Job::builder(&text(catalog.path()), &text(out.path())).own_model(model);
    let refused = job.build().map(|_job| ()).unwrap_err();
    let says = "model describing gives only z_quantiles (3 values)";
    assert!(
        refused.is_usage() && refused.to_string().contains(says),
        "{refused}"
    );
}
