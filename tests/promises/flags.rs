//! Rows unlike those of the model's training, and redshifts below 0, are predicted with a flag and counted.
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Float32Array, Int64Array, RecordBatch},
    compute::concat_batches,
    datatypes::{Float32Type, Int32Type},
};
use connectors::part::{BELOW_ZERO, DELETED, FLUX_MISMATCH, OUTSIDE_TRAINING, Z_SPEC_IGNORED};
use hubbleflow::{Inputs, Job, Model, ModelOutput, Needs};
use serde_json::{Value, json};
use tch::Tensor;
use testkit::{
    galaxy_rows::{
        PIXELS, SIDE_PX, cutouts, some_galaxies, with_column, with_values, write_parquet,
    },
    outputs::ledger,
    program::Program,
    rows::{column, floats, ids, rows, z_phot},
    survey::{BRIEFLY, run_catalog, trained_model, training_survey},
    tree::{copy_tree, folder, text, write_file},
};

/// The galaxies of a kind in the catalog of wrong rows.
const OF_A_KIND: usize = 60;

fn config(model: &Path) -> Value {
    serde_json::from_slice(&fs::read(model.join("config.json")).unwrap()).unwrap()
}

/// Rows with other cutouts: `change` gets the pixels of a row.
fn with_cutouts(rows: &RecordBatch, change: impl Fn(&mut [f32])) -> RecordBatch {
    let mut pixels = pixels(rows);
    pixels.chunks_exact_mut(PIXELS).for_each(change);
    with_column(rows, "cutout", cutouts(Float32Array::from(pixels)))
}

fn pixels(rows: &RecordBatch) -> Vec<f32> {
    let mut lists: ArrayRef = column(rows, "cutout").clone();
    // Lists of lists, or one list.
    while let Some(inner) = lists.as_fixed_size_list_opt() {
        lists = inner.values().clone();
    }
    lists.as_primitive::<Float32Type>().values().to_vec()
}

/// Rows of the sample, and the same rows made wrong in a way each, with the flag that they should get.
fn wrong_rows() -> [(&'static str, RecordBatch, i32); 8] {
    let all = rows(training_survey());
    let usual = with_cutouts(&all.slice(0, OF_A_KIND), |_| ());
    let plane = SIDE_PX * SIDE_PX;
    let swapped = with_cutouts(&usual, |pixels| {
        for place in 0..plane {
            pixels.swap(place, 4 * plane + place);
        }
    });
    let counts = with_cutouts(&usual, |pixels| {
        pixels.iter_mut().for_each(|pixel| *pixel *= 200.0);
    });
    let sky = with_cutouts(&usual, |pixels| {
        for (place, pixel) in pixels.iter_mut().enumerate() {
            *pixel = 1e-3 * (place as f32).sin();
        }
    });
    let saturated = with_cutouts(&usual, |pixels| {
        pixels[2 * plane..3 * plane].fill(1e5);
        pixels[2 * plane] = 9e4;
    });
    // The light of each band in a point source.
    let stars = with_cutouts(&usual, |pixels| {
        pixels.chunks_exact_mut(plane).for_each(|pixels| {
            let flux = pixels.iter().sum::<f32>().max(0.0);
            for (place, pixel) in pixels.iter_mut().enumerate() {
                *pixel = flux * point_source(place % SIDE_PX, place / SIDE_PX);
            }
        });
    });
    let mags = floats(&usual, "mag_r").into_iter().enumerate();
    let fainter: Vec<_> = mags
        .map(|(row, mag)| (row, Some(mag.unwrap() + 2.0)))
        .collect();
    let fainter = with_values(&usual, "mag_r", &fainter);
    [
        ("usual", usual, 0),
        ("swapped bands", swapped, FLUX_MISMATCH),
        ("counts", counts, FLUX_MISMATCH),
        ("sky", sky, FLUX_MISMATCH),
        ("saturated", saturated, FLUX_MISMATCH),
        ("stars", stars, OUTSIDE_TRAINING),
        ("fainter in r", fainter.clone(), OUTSIDE_TRAINING),
        ("fainter in r, whose flux differs", fainter, FLUX_MISMATCH),
    ]
}

/// The share of the light of a source at the centre that a pixel of a cutout gets.
fn point_source(x_px: usize, y_px: usize) -> f32 {
    const SIGMA_PX: f32 = 1.4;
    let from_centre = |place: usize| place as f32 - (SIDE_PX - 1) as f32 / 2.0;
    let squares = from_centre(x_px).powi(2) + from_centre(y_px).powi(2);
    let variance = SIGMA_PX * SIGMA_PX;
    (-squares / (2.0 * variance)).exp() / (std::f32::consts::TAU * variance)
}

/// A catalog of all wrong rows, whose ids say of which kind they are.
fn wrong_catalog(at: &Path) {
    let kinds = wrong_rows();
    let columns = [
        "ra", "dec", "mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "cutout",
    ];
    let of_kind = |(kind, rows): (usize, &RecordBatch)| {
        let id = |row: usize| (1000 * kind + row) as i64;
        let ids = Int64Array::from_iter_values((0..OF_A_KIND).map(id));
        let mut of_columns: Vec<(&str, ArrayRef)> = vec![("object_id", Arc::new(ids))];
        of_columns.extend(columns.map(|name| (name, column(rows, name).clone())));
        RecordBatch::try_from_iter(of_columns).unwrap()
    };
    let batches: Vec<RecordBatch> = kinds
        .iter()
        .map(|(_, rows, _)| rows)
        .enumerate()
        .map(of_kind)
        .collect();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    write_parquet(at.join("a/1.parquet"), &all, 50);
}

/// The flags in an output, by object.
fn flags(out: &Path) -> BTreeMap<String, i32> {
    let rows = rows(out.join("photoz"));
    let flags = column(&rows, "z_flags").as_primitive::<Int32Type>();
    ids(&rows)
        .into_iter()
        .zip(flags.values().iter().copied())
        .collect()
}

/// The number of rows with each flag, as the program counts them.
fn counted(flags: &BTreeMap<String, i32>) -> Value {
    let names = [
        ("DELETED", DELETED),
        ("Z_SPEC_IGNORED", Z_SPEC_IGNORED),
        ("OUTSIDE_TRAINING", OUTSIDE_TRAINING),
        ("FLUX_MISMATCH", FLUX_MISMATCH),
        ("BELOW_ZERO", BELOW_ZERO),
    ];
    let count = |bit: i32| flags.values().filter(|flags| *flags & bit != 0).count();
    let counts = names.map(|(name, bit)| (name.to_owned(), json!(count(bit))));
    counts
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .collect()
}

#[test]
fn rows_unlike_those_of_the_training_are_flagged_and_counted() {
    let [catalog, out] = [folder(), folder()];
    wrong_catalog(catalog.path());
    let run = |out: &Path| Program::on("run", &text(catalog.path()), &text(out), trained_model());
    let ended = run(out.path()).with("--json").ends(0);
    let summary = ended.json();
    assert_eq!(summary["rows_written"], 8 * OF_A_KIND);
    let found = flags(out.path());
    for (kind, (what, _, flag)) in wrong_rows().into_iter().enumerate() {
        let of_kind = (0..OF_A_KIND).map(|row| found[&(1000 * kind + row).to_string()]);
        let unlike = OUTSIDE_TRAINING | FLUX_MISMATCH;
        let flagged = of_kind.filter(|flags| match flag {
            0 => flags & unlike != 0,
            flag => flags & flag != 0,
        });
        let flagged = flagged.count();
        match flag {
            0 => assert!(flagged <= 2, "{what}: {flagged}"),
            _ => assert_eq!(flagged, OF_A_KIND, "{what}"),
        }
    }
    // Everything that counts flags counts the same.
    let counted = counted(&found);
    assert_eq!(summary["rows_flagged"], counted);
    assert_eq!(ledger(out.path())[0]["flags"], counted);
    let shown = format!("{} FLUX_MISMATCH", counted["FLUX_MISMATCH"]);
    ended.says(&["a: committed as 1", &shown]);
    let status = Program::new(["status", &text(out.path())]);
    assert!(status.ends(0).stdout.contains(&shown));
    let status = Program::new(["status", &text(out.path()), "--json"])
        .ends(0)
        .json();
    assert_eq!(
        (&status["flags"], &status["drops"][0]["flags"]),
        (&counted, &counted)
    );
    Program::new(["verify", &text(out.path())]).ends(0);

    // However the rows are dealt out, from checkpoints and again.
    let [dealt, batched, embedded] = [(); 3].map(|()| folder());
    let shape = "--workers 4 --checkpoint 100ms";
    run(dealt.path()).with(shape).ends(0);
    assert_eq!(flags(dealt.path()), found);
    // In other batches a redshift near 0 may have other last bits, and so another sign.
    let but_below_zero = |found: BTreeMap<String, i32>| -> Vec<i32> {
        found.values().map(|flags| flags & !BELOW_ZERO).collect()
    };
    let batches = "--split-bytes 60kB --memory 1MB --batch 3";
    run(batched.path()).with(shape).with(batches).ends(0);
    let batched = flags(batched.path());
    assert_eq!(but_below_zero(batched), but_below_zero(found.clone()));
    run(embedded.path()).with("--embeddings").ends(0);
    assert_eq!(flags(embedded.path()), found);
    run(out.path()).with("--again --drop a").ends(0);
    assert_eq!(flags(out.path()), found);
}

/// A redshift of the same bits: what the model says of its training changes no prediction.
#[test]
fn a_model_that_says_nothing_of_its_training_predicts_the_same_and_flags_nothing() {
    let [catalog, silent, out, without] = [(); 4].map(|()| folder());
    wrong_catalog(catalog.path());
    copy_tree(trained_model(), silent.path());
    let mut config = config(trained_model());
    config
        .as_object_mut()
        .unwrap()
        .remove("training_inputs")
        .unwrap();
    write_file(silent.path().join("config.json"), config.to_string());
    let predicted = |model: &Path, out: &Path| {
        Program::on("run", &text(catalog.path()), &text(out), model).ends(0);
        z_phot(out.join("photoz"))
    };
    let silent = predicted(silent.path(), without.path());
    assert_eq!(predicted(trained_model(), out.path()), silent);
    let unlike = OUTSIDE_TRAINING | FLUX_MISMATCH;
    let all = flags(without.path()).into_values();
    assert!(all.fold(0, |all, flags| all | flags) & unlike == 0);
}

#[test]
fn a_training_of_few_rows_says_that_it_learns_no_flags() {
    let out = folder();
    let at = out.path().join("model");
    let words = [
        "train",
        "finetune",
        &text(training_survey()),
        "--out",
        &text(&at),
    ];
    let said = Program::new(words)
        .with(BRIEFLY)
        .with("--training 0:0.3")
        .ends(0);
    said.says(&["are fewer than 1000", "OUTSIDE_TRAINING or FLUX_MISMATCH"]);
    assert_eq!(config(&at)["training_inputs"], Value::Null);
}

#[test]
fn a_damaged_block_is_refused() {
    let [broken, out] = [folder(), folder()];
    copy_tree(trained_model(), broken.path());
    let mut config = config(trained_model());
    config["training_inputs"]["mean"]
        .as_array_mut()
        .unwrap()
        .pop();
    write_file(broken.path().join("config.json"), config.to_string());
    let refused = Program::on("run", "/nowhere", &text(out.path()), broken.path()).ends(1);
    refused.says(&["`training_inputs.mean` has 14 entries: it must have 15"]);
}

/// A count that is not that of the files is a fault.
#[test]
fn verify_counts_the_flags_again() {
    let [catalog, out] = [folder(), folder()];
    let ignored = with_values(&some_galaxies(4), "z_spec", &[(1, Some(99.0))]);
    write_parquet(catalog.path().join("a/1.parquet"), &ignored, 10);
    run_catalog(catalog.path(), &out).ends(0);
    let entry = out
        .path()
        .join("_hubbleflow/ledger/00000000000000000001.json");
    let mut changed = ledger(out.path()).remove(0);
    assert_eq!(changed["flags"]["Z_SPEC_IGNORED"], 1);
    changed["flags"]["Z_SPEC_IGNORED"] = 2.into();
    changed.as_object_mut().unwrap().remove("checksum");
    write_file(entry, changed.to_string());
    let told = Program::new(["verify", &text(out.path())]).ends(1);
    assert!(told.stdout.contains("2 Z_SPEC_IGNORED"), "{}", told.stdout);
    assert!(told.stdout.contains("1 Z_SPEC_IGNORED"), "{}", told.stdout);
}

/// A model whose redshift is 0 at r = 17.52, and grows with r.
#[derive(Clone)]
struct Linear(Needs);

impl Model for Linear {
    fn id(&self) -> &str {
        "linear"
    }

    fn name(&self) -> &str {
        "linear"
    }

    fn needs(&self) -> &Needs {
        &self.0
    }

    fn forward(&self, inputs: &Inputs, _: &[ModelOutput]) -> Result<Vec<Tensor>, models::Error> {
        let mags = inputs.mags.as_ref().expect("magnitudes are needed");
        let z_phot = mags.f_select(1, 0)? - 17.52_f32 as f64;
        // The third row's is exactly 0, and -0 is not below it.
        Ok(vec![z_phot.f_mul_scalar(10.0)?])
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn a_redshift_below_zero_is_flagged_and_kept() {
    let (catalog, out) = (folder(), folder());
    // Their magnitudes begin at 17.5 and grow by 0.01.
    let galaxies = with_values(&some_galaxies(6), "mag_r", &[(2, Some(17.52)), (5, None)]);
    write_parquet(catalog.path().join("a.parquet"), &galaxies, 4);
    let needs = Needs::of_mags(["r"]);
    let job = Job::builder(&text(catalog.path()), &text(out.path())).own_model(Linear(needs));
    let summary = job.build().unwrap().run().unwrap();
    assert_eq!((summary.rows_written, summary.rows_rejected), (5, 1));
    assert_eq!(summary.rows_flagged.of_flag("BELOW_ZERO"), 2);
    let photoz = rows(out.path().join("photoz"));
    let found = flags(out.path());
    for (id, z_phot) in ids(&photoz).iter().zip(floats(&photoz, "z_phot")) {
        let expected = if z_phot.unwrap() < 0.0 { BELOW_ZERO } else { 0 };
        assert_eq!(found[id], expected, "{id}: {z_phot:?}");
    }
}

#[test]
fn a_page_has_the_flags_of_each_drop() {
    let [catalog, out] = [folder(), folder()];
    let ignored = with_values(&some_galaxies(4), "z_spec", &[(1, Some(99.0))]);
    write_parquet(catalog.path().join("one/1.parquet"), &ignored, 10);
    run_catalog(catalog.path(), &out).ends(0);
    let page = out.path().join("report.html");
    Program::new(["report", &text(out.path()), "--html", &text(&page)]).ends(0);
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("<th>Z_SPEC_IGNORED</th>"), "{page}");
    let below = flags(out.path())
        .values()
        .filter(|flags| *flags & BELOW_ZERO != 0)
        .count();
    let row = format!(
        "<tr><td>one</td><td>0</td><td>1</td><td>0</td><td>0</td><td>0</td><td>{below}</td></tr>"
    );
    assert!(page.contains(&row), "no {row}");
}
