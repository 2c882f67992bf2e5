//! A model may correct its cutouts for the dust of the Milky Way, by the catalog's column `ebv`.
use std::{fs, path::Path, sync::Arc};

use arrow::array::{AsArray, Float32Array, RecordBatch};
use arrow::datatypes::Float32Type;
use serde_json::{Value, json};
use testkit::{
    galaxy_rows::{
        PIXELS, SIDE_PX, cutouts, some_galaxies, with_column, without_column, write_parquet,
    },
    program::Program,
    rejects::reject_reasons,
    rows::{column, z_phot},
    survey::model,
    tree::{copy_tree, folder, text},
};

/// A/E(B-V) in u, g, r, i and z: Schlafly & Finkbeiner 2011.
const EXTINCTION: [f64; 5] = [4.239, 3.303, 2.285, 1.698, 1.263];

/// The model of the tests, with this extinction.
fn correcting(at: &Path, extinction: &[f64]) {
    copy_tree(model(), at);
    let path = at.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["preprocess"]["cutout"]["dereddening"] = json!(extinction);
    fs::write(path, config.to_string()).unwrap();
}

fn ebv_of(row: usize) -> f32 {
    0.03 * row as f32
}

/// Galaxies, with the E(B-V) of each.
fn dimmed(count: i64) -> RecordBatch {
    let ebv = (0..count as usize).map(ebv_of).collect::<Vec<_>>();
    with_column(
        &some_galaxies(count),
        "ebv",
        Arc::new(Float32Array::from(ebv)),
    )
}

/// The same galaxies with cutouts as they are without dust.
fn corrected(dimmed: &RecordBatch) -> RecordBatch {
    let pixels = column(dimmed, "cutout")
        .as_fixed_size_list()
        .values()
        .clone();
    let pixels = pixels.as_primitive::<Float32Type>();
    let plane = SIDE_PX * SIDE_PX;
    let brighter = pixels.values().iter().enumerate().map(|(place, flux)| {
        let (row, band) = (place / PIXELS, place % PIXELS / plane);
        flux * 10_f64.powf(0.4 * EXTINCTION[band] * f64::from(ebv_of(row))) as f32
    });
    let pixels = brighter.collect::<Vec<_>>();
    with_column(dimmed, "cutout", cutouts(Float32Array::from(pixels)))
}

fn run(catalog: &Path, out: &Path, model: &Path) -> Program {
    Program::on("run", &text(catalog), &text(out), model)
}

#[test]
fn a_dimmed_cutout_gives_the_redshift_of_the_cutout_without_dust() {
    let [at, catalog, without_dust, out, plain, uncorrected] = [(); 6].map(|()| folder());
    correcting(at.path(), &EXTINCTION);
    let galaxies = dimmed(40);
    write_parquet(catalog.path().join("a/1.parquet"), &galaxies, 7);
    write_parquet(
        without_dust.path().join("a/1.parquet"),
        &corrected(&galaxies),
        7,
    );
    run(catalog.path(), out.path(), at.path()).ends(0);
    run(without_dust.path(), plain.path(), model()).ends(0);
    run(catalog.path(), uncorrected.path(), model()).ends(0);
    let found = [&out, &plain, &uncorrected].map(|out| z_phot(out.path().join("photoz")));
    assert_eq!(found[0].len(), 40);
    assert_eq!(found[0], found[1]);
    assert_ne!(found[0], found[2]);
    // In batches of other sizes the factors are the same.
    let alone = folder();
    run(catalog.path(), alone.path(), at.path())
        .with("--batch 3")
        .ends(0);
    assert_eq!(z_phot(alone.path().join("photoz")), found[0]);
}

#[test]
fn rows_whose_dust_is_not_known_are_rejected_with_the_reason() {
    let [at, catalog, out] = [(); 3].map(|()| folder());
    correcting(at.path(), &EXTINCTION);
    let ebv = [
        Some(0.1),
        None,
        Some(-0.01),
        Some(f32::NAN),
        Some(10.5),
        Some(0.0),
    ];
    let ebv = Arc::new(Float32Array::from(ebv.to_vec()));
    let galaxies = with_column(&some_galaxies(6), "ebv", ebv);
    write_parquet(catalog.path().join("a/1.parquet"), &galaxies, 10);
    run(catalog.path(), out.path(), at.path()).ends(0);
    let reasons: Vec<String> = reject_reasons(out.path(), "a").into_values().collect();
    let no_ebv = |ebv: &str| format!("ebv is {ebv}, which is no E(B-V): from 0 to 10");
    let null = "ebv is null, and the model corrects cutouts for dust".to_owned();
    assert_eq!(
        reasons,
        [null, no_ebv("-0.01"), no_ebv("NaN"), no_ebv("10.5")]
    );
    assert_eq!(z_phot(out.path().join("photoz")).len(), 2);
}

#[test]
fn a_catalog_without_ebv_is_refused_and_may_have_it_under_another_name() {
    let [at, catalog, out] = [(); 3].map(|()| folder());
    correcting(at.path(), &EXTINCTION);
    let galaxies = dimmed(4);
    let renamed = with_column(&galaxies, "EBV", column(&galaxies, "ebv").clone());
    let renamed = without_column(&renamed, "ebv");
    write_parquet(catalog.path().join("a/1.parquet"), &renamed, 10);
    let refused = run(catalog.path(), out.path(), at.path()).ends(3);
    refused.says(&["no column `ebv`"]);
    let mapped = run(catalog.path(), out.path(), at.path()).with("--column ebv=EBV");
    mapped.ends(0);
    assert_eq!(z_phot(out.path().join("photoz")).len(), 4);
}

#[test]
fn an_impossible_extinction_is_refused() {
    let out = folder();
    for (extinction, says) in [
        (&EXTINCTION[..4], "has 4 entries, and `bands` 5 bands"),
        (&[1.0, 1.0, 1.0, 1.0, -1.0], "from 0 to 20"),
    ] {
        let at = folder();
        correcting(at.path(), extinction);
        let refused = run(Path::new("/nowhere"), out.path(), at.path()).ends(1);
        refused.says(&["`preprocess.cutout.dereddening`", says]);
    }
}

#[test]
fn a_training_learns_from_cutouts_without_dust() {
    let [catalog, without_dust, models] = [(); 3].map(|()| folder());
    let galaxies = dimmed(64);
    write_parquet(catalog.path().join("a/1.parquet"), &galaxies, 100);
    write_parquet(
        without_dust.path().join("a/1.parquet"),
        &corrected(&galaxies),
        100,
    );
    let train = |catalog: &Path, out: &Path, more: &str| {
        let words = ["train", "finetune", &text(catalog), "--out", &text(out)];
        let small = "--preset astromae-tiny --training 0:0.7 --validation 0.7:1 --test 1:1 --epochs 1 --batch 16 \
                     --learn-preprocess --threads 1";
        Program::new(words).with(small).with(more).ends(0);
        fs::read(out.join("model.safetensors")).unwrap()
    };
    let dereddening = "--dereddening 4.239,3.303,2.285,1.698,1.263";
    let [corrects, plain] = ["corrects", "plain"].map(|name| models.path().join(name));
    let weights = train(catalog.path(), &corrects, dereddening);
    assert!(
        weights == train(without_dust.path(), &plain, ""),
        "other weights"
    );
    // An encoder goes on with the extinction that it was pretrained with.
    let encoder = text(&models.path().join("encoder"));
    let pretrain = [
        "train",
        "pretrain",
        &text(catalog.path()),
        "--out",
        &encoder,
    ];
    let small = "--preset astromae-tiny --training 0:0.7 --validation 0.7:1 --epochs 1 --batch 16 --threads 1";
    Program::new(pretrain).with(small).with(dereddening).ends(0);
    let other = text(&models.path().join("other"));
    let finetune = ["train", "finetune", &text(catalog.path()), "--out", &other];
    let refused = Program::new(finetune).args(["--pretrained", &encoder]);
    let refused = refused.with("--dereddening 1,1,1,1,1").ends(2);
    refused.says(&["was pretrained with [4.239, 3.303, 2.285, 1.698, 1.263]"]);
    let config = |at: &Path| -> Value {
        serde_json::from_slice(&fs::read(at.join("config.json")).unwrap()).unwrap()
    };
    let [mut corrects, plain] = [config(&corrects), config(&plain)];
    let cutout = corrects["preprocess"]["cutout"].as_object_mut().unwrap();
    assert_eq!(cutout.remove("dereddening"), Some(json!(EXTINCTION)));
    assert_eq!(corrects, plain);
}
