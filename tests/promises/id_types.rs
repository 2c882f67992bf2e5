//! A catalog has one type of ids. A drop with another type fails.
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use testkit::{
    galaxy_rows::{galaxies_with_ids, int64, write_good_drop, write_parquet},
    outputs::drops,
    program::Program,
    protected::assert_one_bad_drop_fails,
    survey::{model, run_catalog},
    tree::{folder, text},
};

#[test]
fn a_catalog_has_one_type_of_ids() {
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["J1", "J2"]));
    let bad = galaxies_with_ids(strings);
    assert_one_bad_drop_fails(
        |drop| write_parquet(drop.join("a.parquet"), &bad, 100),
        &["object_id is string, and int64 in drop drop-1"],
    );
}

#[test]
fn drops_with_another_type_of_ids_fail_in_every_run() {
    let (catalog, out) = (folder(), folder());
    write_good_drop(catalog.path(), "drop-1", 100);
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..8).map(|n| n.to_string())));
    for drop in ["drop-2", "drop-3"] {
        let path = catalog.path().join(drop).join("a.parquet");
        write_parquet(path, &galaxies_with_ids(names.clone()), 100);
    }
    let places = [text(catalog.path()), "--out".to_owned(), text(out.path())];
    let plan = Program::new(["plan", "--model", &text(model())]);
    plan.args(places).ends(3);
    for _ in 0..2 {
        run_catalog(&catalog, &out).ends(3).says(&[
            "drop-2: FAILED",
            "drop-3: FAILED",
            "object_id is string, and int64 in drop drop-1; a catalog has one type",
        ]);
    }
    assert_eq!(drops(out.path()), ["drop-1"]);
}

/// A drop that is run again replaces the only drop with which its ids would be compared.
#[test]
fn the_only_drop_can_change_its_type_of_ids() {
    let (catalog, out) = (folder(), folder());
    let path = catalog.path().join("drop-1").join("a.parquet");
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..8).map(|n| n.to_string())));
    write_parquet(path.clone(), &galaxies_with_ids(names), 100);
    run_catalog(&catalog, &out).ends(0);
    write_parquet(path, &galaxies_with_ids(int64(0..8)), 100);
    run_catalog(&catalog, &out).with("--again").ends(0);
    // Later drops are compared with the replacement.
    write_good_drop(catalog.path(), "drop-2", 100);
    run_catalog(&catalog, &out).ends(0);
    assert_eq!(drops(out.path()), ["drop-1", "drop-1", "drop-2"]);
}
