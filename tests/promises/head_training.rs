//! A head is trained on the embeddings of a survey, as a network is on cutouts, and predicts the survey again.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::array::{Array, BooleanArray, RecordBatch};
use connectors::part::id_hash;
use hubbleflow::train::Interval;
use serde_json::{Value, json};
use testkit::{
    galaxy_rows::{some_galaxies, with_column, with_values, write_parquet},
    program::Program,
    rows::{column, floats, ids, rows, z_phot},
    survey::survey,
    tree::{copy_tree, folder, text},
    watch::{stop_watch, wait_until_published},
};

use crate::training::kill_further_on;

/// The embeddings of the survey by the bundled model: a catalog in a folder of the test's own.
fn embedded(out: &Path) -> PathBuf {
    embeddings_of(survey(), out)
}

fn embeddings_of(survey: &Path, out: &Path) -> PathBuf {
    Program::new(["run", &text(survey), "--out", &text(out)])
        .with("--model bundled --embeddings --precision fp32")
        .ends(0);
    out.join("embeddings")
}

/// Trains a head on most of the embeddings.
fn finetune(catalog: &Path, out: &Path, inputs: &str) -> Program {
    let flags = "--batch 16 --threads 1 --learn-preprocess --state-every 1 --epochs 12 \
                 --training 0:0.7 --validation 0.7:0.8 --test 0.8:1";
    Program::new(["train", "finetune", &text(catalog), "--out", &text(out)])
        .with(flags)
        .args(["--inputs", inputs])
}

fn config(model: &Path) -> Value {
    serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap()
}

/// The squared errors of the predictions and of the mean redshift, over objects that no training saw.
fn squares_of_unseen(photoz: &RecordBatch) -> (f32, f32) {
    let (ids, unseen) = (column(photoz, "object_id"), Interval::new(0.8, 1.0));
    let (phot, spec) = (floats(photoz, "z_phot"), floats(photoz, "z_spec"));
    let is_unseen = |row: &usize| unseen.holds(id_hash(ids, *row));
    let pair = |row: usize| Some((phot[row]?, spec[row]?));
    let pairs: Vec<(f32, f32)> = (0..ids.len()).filter(is_unseen).filter_map(pair).collect();
    assert!(pairs.len() > 20, "{} unseen objects", pairs.len());
    let mean = pairs.iter().map(|(_, spec)| spec).sum::<f32>() / pairs.len() as f32;
    pairs
        .iter()
        .fold((0.0, 0.0), |(error, variance), (phot, spec)| {
            (
                error + (phot - spec).powi(2),
                variance + (spec - mean).powi(2),
            )
        })
}

#[test]
fn a_head_on_embeddings_predicts_better_than_the_mean() {
    let dir = folder();
    let survey = dir.path().join("survey");
    Program::new(["sample", &text(&survey)])
        .with("--px 32 --galaxies 1000 --drops 2")
        .ends(0);
    let embeddings = embeddings_of(&survey, &dir.path().join("first"));
    for (inputs, allowed) in [("embedding", 0.7), ("embedding,mags", 0.4)] {
        let at = |name: &str| dir.path().join(format!("{name} of {inputs}"));
        let (model, out) = (at("model"), at("out"));
        let report = finetune(&embeddings, &model, inputs).ends(0).json();
        assert!(report["validation"]["sigma_nmad"].as_f64().unwrap() > 0.0);
        let config = config(&model);
        assert_eq!(config["architecture"], "head");
        assert_eq!(config["embedding_width"], 192);
        assert_eq!(config["hidden"], json!([512, 512]));
        assert_eq!(
            config["inputs"],
            json!(inputs.split(',').collect::<Vec<_>>())
        );
        Program::new(["model", "check", &text(&model)]).ends(0);
        Program::on("run", &text(&embeddings), &text(&out), &model).ends(0);
        let (error, variance) = squares_of_unseen(&rows(out.join("photoz")));
        assert!(
            error < allowed * variance,
            "{inputs}: {error} of {variance}"
        );
    }
}

#[test]
fn a_trained_head_follows_the_embeddings_of_a_survey() {
    let dir = folder();
    let [followed, model, once, out] =
        ["followed", "model", "once", "out"].map(|name| dir.path().join(name));
    let embeddings = embedded(&dir.path().join("first"));
    finetune(&embeddings, &model, "embedding,mags").ends(0);
    Program::on("run", &text(&embeddings), &text(&once), &model).ends(0);
    copy_tree(&embeddings.join("drop-0001"), &followed.join("drop-0001"));
    let watch = Program::on("watch", &text(&followed), &text(&out), &model)
        .with("--poll 50ms --settle 500ms --threads 1 --json")
        .start();
    wait_until_published(&out, 1);
    // The second drop corrects and withdraws galaxies of the first.
    copy_tree(&embeddings.join("drop-0002"), &followed.join("drop-0002"));
    wait_until_published(&out, 2);
    stop_watch(watch);
    assert_eq!(z_phot(out.join("photoz")), z_phot(once.join("photoz")));
}

#[test]
fn the_training_of_a_head_that_was_killed_ends_at_the_same_weights() {
    let dir = folder();
    let [whole, killed] = ["whole", "killed"].map(|name| dir.path().join(name));
    let embeddings = embedded(&dir.path().join("first"));
    let training = |out: &Path| finetune(&embeddings, out, "embedding,mags");
    training(&whole).ends(0);
    for _ in 0..2 {
        kill_further_on(training(&killed), &killed);
    }
    training(&killed)
        .with("--seed 7")
        .ends(1)
        .says(&["of another training"]);
    training(&killed).ends(0).says(&["going on after step"]);
    let files = |dir: &Path| {
        ["model.safetensors", "config.json"].map(|file| fs::read(dir.join(file)).unwrap())
    };
    assert!(files(&whole) == files(&killed));
    training(&killed).ends(2).says(&["whose training is over"]);
    // A head goes on from a head, with its inputs and its scales.
    let further = dir.path().join("further");
    let flags = "--epochs 1 --batch 16 --rate 1e-5 --threads 1 --training 0:0.7 --validation 0.7:0.8 --test 0.8:1";
    let after = Program::new([
        "train",
        "finetune",
        &text(&embeddings),
        "--out",
        &text(&further),
    ])
    .with(flags)
    .args(["--from", &text(&whole)])
    .ends(0)
    .json();
    assert!(after["test"]["mse"].as_f64().unwrap() > 0.0);
    assert_eq!(config(&further)["preprocess"], config(&whole)["preprocess"]);
}

/// Galaxies with an embedding: the pixels of their cutouts.
fn with_embeddings(galaxies: &RecordBatch) -> RecordBatch {
    with_column(galaxies, "embedding", column(galaxies, "cutout").clone())
}

fn rows_learned_from(catalog: &Path, model: &Path) -> u64 {
    let flags = "--batch 8 --threads 1 --training 0:1 --validation 0:1 --test 1:1 --epochs 1";
    let training = Program::new(["train", "finetune", &text(catalog), "--out", &text(model)]);
    let report = training
        .with(flags)
        .with("--inputs embedding")
        .ends(0)
        .json();
    report["rows"].as_u64().unwrap()
}

#[test]
fn rows_that_teach_nothing_are_left_out() {
    let dir = folder();
    let missing = [
        (0, None),
        (1, Some(99.0)),
        (2, Some(0.0)),
        (3, Some(f32::NAN)),
    ];
    let galaxies = with_values(&some_galaxies(40), "z_spec", &missing);
    let deleted = (0..40).map(|row| Some(row == 4)).collect::<BooleanArray>();
    let galaxies = with_column(&with_embeddings(&galaxies), "deleted", Arc::new(deleted));
    let catalog = dir.path().join("catalog");
    write_parquet(catalog.join("a.parquet"), &galaxies, 100);
    assert_eq!(rows_learned_from(&catalog, &dir.path().join("model")), 35);
}

/// A training counts the row of an object that a run counts last, and no withdrawn object, whatever drops hold.
#[test]
fn a_head_learns_from_the_rows_that_a_run_keeps() {
    let dir = folder();
    let embeddings = embedded(&dir.path().join("first"));
    let mut latest = BTreeMap::new();
    for drop in ["drop-0001", "drop-0002"] {
        let rows = rows(embeddings.join(drop));
        let z_spec = floats(&rows, "z_spec");
        let mags = floats(&rows, "mag_r");
        for (row, id) in ids(&rows).into_iter().enumerate() {
            // A withdrawn row has no magnitude.
            match mags[row] {
                Some(_) => {
                    let before = latest.remove(&id).flatten();
                    latest.insert(id, z_spec[row].or(before));
                }
                None => {
                    latest.remove(&id);
                }
            }
        }
    }
    let with_z_spec = latest.values().flatten().count() as u64;
    let model = dir.path().join("model");
    assert_eq!(rows_learned_from(&embeddings, &model), with_z_spec);
}

#[test]
fn impossible_heads_are_refused() {
    let dir = folder();
    let model = dir.path().join("model");
    let embeddings = embedded(&dir.path().join("first"));
    let on = |inputs: &str| finetune(&embeddings, &model, inputs);
    on("embeddings")
        .ends(2)
        .says(&["--inputs", "embedding,mags"]);
    for mixed in [
        "cutouts,embedding",
        "cutouts",
        "mags",
        "embedding,embedding",
    ] {
        let says = format!("--inputs {mixed}: a head takes embedding, or embedding,mags");
        on(mixed).ends(2).says(&[&says]);
    }
    on("embedding").with("--mags r").ends(2).says(&["--mags"]);
    on("embedding").with("--depth 2").ends(2).says(&["--depth"]);
    on("embedding")
        .with("--precision bf16")
        .ends(2)
        .says(&["fp32"]);
    on("embedding,mags")
        .with("--mags r,W1")
        .ends(1)
        .says(&["rows are rejected", "mag_W1 is null"]);
    on("embedding")
        .with("--drop no-drop")
        .ends(2)
        .says(&["no drop no-drop"]);
    // Without --inputs a network on cutouts is meant.
    Program::new([
        "train",
        "finetune",
        &text(&embeddings),
        "--out",
        &text(&model),
    ])
    .ends(1)
    .says(&["no galaxies to train on", "--inputs embedding,mags"]);
    finetune(survey(), &model, "embedding")
        .ends(2)
        .says(&["has a column `embedding`", "--embeddings"]);
    // A second drop, of another model's embeddings.
    let mixed = dir.path().join("mixed");
    copy_tree(&embeddings.join("drop-0001"), &mixed.join("drop-0001"));
    write_parquet(
        mixed.join("drop-0002.parquet"),
        &with_embeddings(&some_galaxies(6)),
        4,
    );
    finetune(&mixed, &model, "embedding").ends(1).says(&[
        "drop-0002.parquet",
        "must be a list of 192 float16 or float32",
    ]);
    assert!(!model.join("model.safetensors").exists());
}
