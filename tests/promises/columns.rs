//! Columns can be renamed and kept, and each value stays with its row.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use testkit::{
    galaxy_rows::{
        galaxies_with_ids, int64, some_galaxies, with_column, without_column, write_parquet,
    },
    outputs::{committed, ledger},
    program::Program,
    rows::{column, floats, ids, rows, z_phot},
    survey::{model, run_catalog, survey},
    tree::{assert_same, folder, text},
};

use crate::quantiles::BOUNDS;

#[test]
fn kept_values_stay_with_their_rows() {
    let out = folder();
    run_catalog(survey(), &out)
        .with("--keep parent --drop drop-0001 --split-bytes 300kB")
        .ends(0);
    let parents = |rows: &RecordBatch| -> BTreeMap<String, Option<i32>> {
        let parents = column(rows, "parent").as_primitive::<arrow::datatypes::Int32Type>();
        ids(rows).into_iter().zip(parents.iter()).collect()
    };
    let (came, went) = (
        parents(&rows(survey().join("drop-0001"))),
        parents(&rows(out.path().join("photoz"))),
    );
    assert!(
        went.len() > 100
            && went
                .iter()
                .all(|(id, parent)| parent.is_some() && came[id] == *parent)
    );
}

#[test]
fn columns_can_have_other_names() {
    let (plain, renamed, out, out_renamed) = (folder(), folder(), folder(), folder());
    let good = some_galaxies(6);
    write_parquet(plain.path().join("a.parquet"), &good, 10);
    let mut other = good.clone();
    for (name, theirs) in [
        ("object_id", "objID"),
        ("cutout", "image"),
        ("mag_r", "modelMag_r"),
        ("z_spec", "zs"),
    ] {
        other = with_column(
            &without_column(&other, name),
            theirs,
            column(&good, name).clone(),
        );
    }
    // The catalog also has a column `cutout` that is not the cutout. The mapping must win.
    other = with_column(
        &other,
        "cutout",
        Arc::new(arrow::array::StringArray::from(vec!["see image"; 6])),
    );
    write_parquet(renamed.path().join("a.parquet"), &other, 10);
    run_catalog(&plain, &out).ends(0);
    let columns = "--column object_id=objID --column cutout=image --column mag_r=modelMag_r --column z_spec=zs";
    run_catalog(&renamed, &out_renamed).with(columns).ends(0);
    assert_same(&committed(out.path()), &committed(out_renamed.path()));
    let photoz = rows(out_renamed.path().join("photoz"));
    assert!(
        floats(&photoz, "mag_r")
            .iter()
            .chain(&floats(&photoz, "z_spec"))
            .all(Option::is_some)
    );
}

#[test]
fn each_prediction_belongs_to_its_row() {
    // The second file has the same galaxies in reverse order. Each must get the same redshift.
    let (catalog, out) = (folder(), folder());
    let rows = some_galaxies(40);
    let backwards = arrow::array::UInt32Array::from_iter_values((0..40).rev());
    write_parquet(catalog.path().join("a.parquet"), &rows, 100);
    write_parquet(
        catalog.path().join("b.parquet"),
        &arrow::compute::take_record_batch(&rows, &backwards).unwrap(),
        100,
    );
    run_catalog(&catalog, &out).with("--precision fp32").ends(0);
    let [a, b] =
        ["a.parquet", "b.parquet"].map(|drop| z_phot(out.path().join("photoz").join(drop)));
    let far: Vec<_> = a.iter().filter(|(id, z)| !near(**z, b[*id])).collect();
    assert!(far.is_empty() && a.len() == 40, "{far:?}");
    let values: BTreeSet<_> = a.values().collect();
    assert!(
        values.len() > 30,
        "only {} different predictions: the test cannot tell the galaxies apart",
        values.len()
    );
}

fn near(a: Option<u32>, b: Option<u32>) -> bool {
    let [a, b] = [a, b].map(|z| f32::from_bits(z.expect("each galaxy is predicted")));
    (a - b).abs() < 1e-6
}

#[test]
fn a_kept_column_has_one_type_in_a_drop() {
    let (catalog, out) = (folder(), folder());
    let numbers: [ArrayRef; 2] = [int64(1..9), Arc::new(Float64Array::from(vec![0.5; 8]))];
    for (name, number) in ["a", "b"].iter().zip(numbers) {
        let first = if *name == "a" { 0 } else { 8 };
        let rows = with_column(&galaxies_with_ids(int64(first..first + 8)), "k", number);
        let path = catalog
            .path()
            .join("drop-1")
            .join(format!("{name}.parquet"));
        write_parquet(path, &rows, 100);
    }
    let run = || run_catalog(&catalog, &out);
    run().with("--keep k").ends(3).says(&[
        "column `k` of --keep is Float64 in ",
        "drop-1/b.parquet, and Int64 in ",
        "drop-1/a.parquet; write it alike in both, or leave --keep out",
    ]);
    // A mistake that the command alone shows is a usage error, not a failed drop.
    run().with("--keep k --keep k").ends(2).says(&["twice"]);
    run().ends(0);
}

#[test]
fn a_column_of_the_output_cannot_be_kept() {
    let out = folder();
    for column in BOUNDS.into_iter().chain(["z_quantiles", "z_phot"]) {
        let refused = run_catalog(survey(), &out).with(&format!("--keep {column}"));
        let says = format!("--keep {column}: the output has a column of that name already");
        refused.ends(2).says(&[&says, "of its own"]);
    }
    assert!(ledger(out.path()).is_empty());
}

#[test]
fn galaxies_whose_cutout_column_has_another_name_are_reported() {
    let (catalog, out) = (folder(), folder());
    let galaxies = galaxies_with_ids(int64(1..9));
    let images = galaxies.column_by_name("cutout").unwrap().clone();
    let renamed = with_column(&without_column(&galaxies, "cutout"), "image", images);
    write_parquet(catalog.path().join("drop-1/a.parquet"), &renamed, 100);
    let run = |flags: &str| run_catalog(&catalog, &out).with(flags).ends(0);
    let said = run("");
    said.says(&[
        "drop drop-1: ",
        "drop-1/a.parquet has magnitudes and z_spec and no column cutout",
        "--column cutout=NAME",
    ]);
    assert!(!said.stderr.contains('\u{1b}'), "colours are for terminals");
    // A name that is not there is named, with those that are.
    run("--again --column cutout=images")
        .says(&["--column cutout=images names none of these", "`image`"]);
    let (from, to) = (text(catalog.path()), text(out.path()));
    let plan = |flags: &str| Program::on("plan", &from, &to, model()).with(flags).ends(0);
    assert_eq!(plan("--again --json").json()["drops"][0]["kind"], "specz");
    assert!(plan("--again").stdout.contains("spec-z"));
    let mapped = plan("--again --column cutout=image --json");
    assert_eq!(mapped.json()["drops"][0]["kind"], "galaxies");
    let said = run("--again --column cutout=image --json");
    assert_eq!(said.json()["rows_written"], 8);
    // The drop was one of spec-z before: its folder there is gone with its last file.
    assert!(out.path().join("photoz/drop-1").exists());
    assert!(!out.path().join("specz/drop-1").exists());
}
