//! Incremental: a run continues where the ledger ends, and reads nothing twice.
use std::path::Path;

use serde_json::Value;
use testkit::{
    galaxy_rows::{galaxies_with_ids, int64, some_galaxies, write_parquet},
    outputs::{committed, drops, ledger},
    rows::{ids, rows},
    survey::{SURVEY_DROPS, run_catalog, survey, survey_rows},
    tree::{Tree, assert_same, copy_tree, folder, tree, write_file},
};

#[test]
fn a_second_run_does_nothing() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let before = tree(out.path());
    let again = run_catalog(survey(), &out).with("--json").ends(0);
    again.says(&["nothing to do"]);
    assert_eq!(
        (&again.json()["drops_committed"], &again.json()["rows_read"]),
        (&0.into(), &0.into())
    );
    assert_same(&before, &tree(out.path()));
}

#[test]
fn a_new_drop_is_read_alone_and_the_order_of_runs_does_not_matter() {
    let (catalog, out, at_once) = (folder(), folder(), folder());
    run_catalog(survey(), &at_once).ends(0);
    for drop in ["drop-0003-specz", "drop-0001", "drop-0002"] {
        copy_tree(&survey().join(drop), &catalog.path().join(drop));
        let json = run_catalog(&catalog, &out).with("--json").ends(0).json();
        assert_eq!(
            (&json["drops_committed"], &json["rows_read"]),
            (&1.into(), &survey_rows(drop).into())
        );
    }
    assert_eq!(
        drops(out.path()),
        ["drop-0003-specz", "drop-0001", "drop-0002"]
    );
    assert_same(&committed(at_once.path()), &committed(out.path()));
}

#[test]
fn files_that_are_not_drops_are_ignored() {
    let (catalog, out) = (folder(), folder());
    for name in [
        "_tmp/a.parquet",
        ".hidden.parquet",
        "b/_part/a.parquet",
        "notes.txt",
        "d/notes.txt",
    ] {
        write_file(catalog.path().join(name), "not Parquet");
    }
    for name in ["b/deep/er/a.parquet", "c.parquet", "a/a.parquet"] {
        write_parquet(catalog.path().join(name), &some_galaxies(3), 10);
    }
    run_catalog(&catalog, &out).ends(0);
    assert_eq!(drops(out.path()), ["a", "b", "c.parquet"]);
    let inputs: Vec<Value> = ledger(out.path())
        .iter()
        .map(|entry| entry["inputs"][0]["path"].clone())
        .collect();
    assert_eq!(inputs, ["a/a.parquet", "b/deep/er/a.parquet", "c.parquet"]);
}

#[test]
fn drops_can_be_chosen_by_name() {
    let out = folder();
    run_catalog(survey(), &out).with("--drop drop-0002").ends(0);
    assert_eq!(drops(out.path()), ["drop-0002"]);
    run_catalog(survey(), &out)
        .with("--drop drop-0003-specz --drop drop-0001")
        .ends(0);
    assert_eq!(
        drops(out.path()),
        ["drop-0002", "drop-0001", "drop-0003-specz"]
    );
}

#[test]
fn a_run_without_a_limit_replaces_a_limited_run() {
    let (out, whole) = (folder(), folder());
    run_catalog(survey(), &whole).ends(0);
    let run = |flags: &str| {
        run_catalog(survey(), &out)
            .with("--json")
            .with(flags)
            .ends(0)
            .json()
    };
    let rows_tried = survey_rows("drop-0001") + 20;
    assert_eq!(
        run(&format!("--limit {rows_tried}"))["rows_read"],
        rows_tried
    );
    assert_eq!(drops(out.path()), ["drop-0001", "drop-0002"]);
    assert_eq!(ledger(out.path())[1]["rows"]["read"], 20);
    let all = SURVEY_DROPS
        .iter()
        .map(|drop| survey_rows(drop))
        .sum::<u64>();
    assert_eq!(run("")["rows_read"], all);
    assert_eq!(drops(out.path())[2..], SURVEY_DROPS);
    assert_same(&committed(whole.path()), &committed(out.path()));
    assert_eq!(run("")["rows_read"], 0);
}

#[test]
fn a_limit_takes_the_first_rows() {
    let out = folder();
    run_catalog(survey(), &out)
        .with("--limit 50 --split-bytes 300kB --workers 2")
        .ends(0);
    let mut got: Vec<String> = tree(out.path())
        .keys()
        .filter_map(|name| name.strip_suffix(".parquet"))
        .flat_map(|name| ids(&rows(Path::new(&out.path().join(name)).parent().unwrap())))
        .collect();
    let mut expected = ids(&rows(survey().join("drop-0001")).slice(0, 50));
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

#[test]
fn a_drop_that_is_run_again_replaces_its_files() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let before = committed(out.path());
    let again = || run_catalog(survey(), &out).with("--drop drop-0001 --again");
    let json = again().with("--keep parent --json").ends(0).json();
    assert_eq!(
        (&json["drops_committed"], &json["rows_read"]),
        (&1.into(), &survey_rows("drop-0001").into())
    );
    let after = committed(out.path());
    let of_drop = |name: &str| name.contains("/drop-0001/");
    let files = |tree: &Tree| {
        tree.keys()
            .filter(|name| of_drop(name))
            .cloned()
            .collect::<Vec<_>>()
    };
    let entry = &ledger(out.path())[3];
    let listed: Vec<&str> = entry["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        listed,
        files(&after),
        "files that the newest entry does not list must be removed"
    );
    assert_ne!(
        files(&before),
        files(&after),
        "a kept column changes the files"
    );
    let others = |mut tree: Tree| {
        tree.retain(|name, _| !of_drop(name));
        tree
    };
    assert_same(&others(before.clone()), &others(after));
    // Without the column the files have the bytes of the first run again.
    again().ends(0);
    assert_same(&before, &committed(out.path()));
    assert_eq!(drops(out.path())[3..], ["drop-0001", "drop-0001"]);
}

#[test]
fn a_catalog_can_be_one_drop() {
    let (place, out) = (folder(), folder());
    let catalog = place.path().join("dr17");
    write_parquet(
        catalog.join("Norder=0/Npix=1.parquet"),
        &galaxies_with_ids(int64(0..5)),
        10,
    );
    write_parquet(
        catalog.join("Norder=0/Npix=2.parquet"),
        &galaxies_with_ids(int64(5..9)),
        10,
    );
    run_catalog(&catalog, &out).with("--drop-by all").ends(0);
    assert_eq!(drops(out.path()), ["dr17"]);
    assert_eq!(rows(out.path().join("photoz/dr17")).num_rows(), 9);
    run_catalog(&catalog, &out)
        .with("--drop-by all")
        .ends(0)
        .says(&["nothing to do"]);
}
