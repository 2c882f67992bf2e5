//! A run finishes what an earlier run left unfinished: it publishes committed attempts and clears all others.
use std::{fs, path::Path};

use serde_json::Value;
use testkit::{
    outputs::{committed, ledger, staged_files},
    survey::{run_catalog, survey},
    tree::{assert_same, folder, write_file},
};

#[test]
fn an_uncommitted_attempt_is_abandoned_and_cleared() {
    let (out, whole) = (folder(), folder());
    run_catalog(survey(), &whole).ends(0);
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    let stage = out
        .path()
        .join("_hubbleflow/staging/0123456789abcdef-000001");
    write_file(
        stage.join("photoz/drop-0002/part-0000-00000000.parquet"),
        "half a file",
    );
    write_file(stage.join("left-over"), "rows");
    run_catalog(survey(), &out).ends(0);
    let entry = &ledger(out.path())[1];
    assert_eq!(
        (&entry["kind"], &entry["attempt"], &entry["sequence"]),
        (
            &"abandoned".into(),
            &"0123456789abcdef-000001".into(),
            &2.into()
        )
    );
    assert!(
        staged_files(out.path()).is_empty(),
        "the stage was not cleared"
    );
    assert_same(&committed(whole.path()), &committed(out.path()));
}

/// Moves the files of a committed drop back into the stage, as if the run had crashed between commit and publishing.
fn unpublish(out: &Path, entry: &Value) {
    let stage = out
        .join("_hubbleflow/staging")
        .join(entry["attempt"].as_str().unwrap());
    for file in entry["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        write_file(stage.join(path), fs::read(out.join(path)).unwrap());
        fs::remove_file(out.join(path)).unwrap();
    }
}

#[test]
fn a_committed_attempt_is_published() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let (before, entries) = (committed(out.path()), ledger(out.path()));
    unpublish(out.path(), &entries[0]);
    // One file of the second drop is published already.
    unpublish(out.path(), &entries[1]);
    let first = entries[1]["files"][0]["path"].as_str().unwrap();
    write_file(out.path().join(first), &before[first]);
    assert_ne!(committed(out.path()).len(), before.len());
    run_catalog(survey(), &out).ends(0).says(&["nothing to do"]);
    assert_same(&before, &committed(out.path()));
    assert_eq!(
        ledger(out.path()),
        entries,
        "a committed drop was committed again"
    );
    assert!(
        staged_files(out.path()).is_empty(),
        "the stage was not cleared"
    );
}

#[test]
fn a_replaced_attempt_is_not_published() {
    let out = folder();
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    let first = ledger(out.path())[0].clone();
    let old = first["files"][0]["path"].as_str().unwrap().to_owned();
    let old_bytes = committed(out.path())[&old].clone();
    run_catalog(survey(), &out)
        .with("--drop drop-0001 --again --keep parent")
        .ends(0);
    let before = committed(out.path());
    write_file(
        out.path()
            .join("_hubbleflow/staging")
            .join(first["attempt"].as_str().unwrap())
            .join(&old),
        old_bytes,
    );
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    assert_same(&before, &committed(out.path()));
    assert!(
        staged_files(out.path()).is_empty(),
        "the stage was not cleared"
    );
}

#[test]
fn a_stale_file_of_a_replaced_drop_is_removed_at_the_next_start() {
    // The output looks like after a crash that came after the commit of `--again` and before the old files were removed.
    let out = folder();
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    let old = committed(out.path());
    run_catalog(survey(), &out)
        .with("--drop drop-0001 --again --keep parent")
        .ends(0);
    let new = committed(out.path());
    unpublish(out.path(), &ledger(out.path())[1]);
    old.iter()
        .for_each(|(name, bytes)| write_file(out.path().join(name), bytes));
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    assert_same(&new, &committed(out.path()));
}
