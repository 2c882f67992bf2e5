//! Nothing silent: a ledger that is damaged, missing or too new is reported, and nothing is committed to it.
use std::fs;

use testkit::{
    galaxy_rows::write_good_drop,
    program::Program,
    protected::ProtectedOutput,
    tree::{folder, text, write_file},
};

#[test]
fn a_ledger_of_a_newer_format_is_refused() {
    let protected = ProtectedOutput::new();
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    let entry = protected
        .out
        .path()
        .join("_hubbleflow/ledger/00000000000000000002.json");
    write_file(
        &entry,
        r#"{"format": 2, "sequence": 2, "kind": "merge", "of": [1]}"#,
    );
    let words = [
        &text(&entry),
        "format 2",
        "knows format 1",
        "use a newer hubbleflow",
    ];
    protected.run().ends(1).says(&words);
    Program::new(["status", &text(protected.out.path())])
        .ends(1)
        .says(&words);
    fs::remove_file(entry).unwrap();
    protected.holds(&["drop-1"]);
}

#[test]
fn a_ledger_with_a_gap_is_refused() {
    let protected = ProtectedOutput::new();
    let ledger = protected.out.path().join("_hubbleflow/ledger");
    fs::copy(
        ledger.join("00000000000000000001.json"),
        ledger.join("00000000000000000003.json"),
    )
    .unwrap();
    protected
        .run()
        .ends(1)
        .says(&["00000000000000000002.json", "is missing", "restore it"]);
    fs::remove_file(ledger.join("00000000000000000003.json")).unwrap();
    protected.holds(&["drop-1"]);
}

#[test]
fn other_files_in_the_ledger_folder_are_ignored() {
    let protected = ProtectedOutput::new();
    let ledger = protected.out.path().join("_hubbleflow/ledger");
    let strays =
        ["notes.json", "2.json", ".00000000000000000002.json"].map(|name| ledger.join(name));
    strays.iter().for_each(|stray| write_file(stray, "{}"));
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    protected.run().ends(0);
    for stray in strays {
        fs::remove_file(stray).unwrap();
    }
    protected.holds(&["drop-1", "drop-2"]);
}

#[test]
fn a_truncated_entry_is_named() {
    let protected = ProtectedOutput::new();
    let entry = protected
        .out
        .path()
        .join("_hubbleflow/ledger/00000000000000000001.json");
    let whole = fs::read(&entry).unwrap();
    write_file(&entry, &whole[..whole.len() / 2]);
    protected
        .run()
        .ends(1)
        .says(&[&text(&entry), "is no ledger entry", "restore it"]);
    write_file(&entry, whole);
    protected.holds(&["drop-1"]);
}

#[test]
fn an_output_without_a_ledger_has_no_status() {
    let nothing = folder();
    Program::new(["status", &text(nothing.path())])
        .ends(1)
        .says(&[&text(nothing.path()), "nothing is committed there"]);
    let protected = ProtectedOutput::new();
    Program::new(["status", &text(protected.out.path()), "--as-of", "drop-7"])
        .ends(2)
        .says(&["has no drop drop-7"]);
}
