//! `export` writes the current state of the survey: the latest row of each object.
use std::{collections::BTreeMap, fs, path::Path};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Field, Int32Type},
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use testkit::{
    program::Program,
    rows::{column, ids, rows, strings},
    s3::S3,
    survey::{run_catalog, survey},
    tree::{assert_same, folder, text, tree},
};

fn export(out: &Path, to: &Path) -> Program {
    Program::new(["export", &text(out), "--to", &text(to), "--json"])
}

/// For each object the drop of its latest row, computed from the files of `photoz/`. Withdrawn objects are left out.
fn latest(out: &Path, drops: &[&str]) -> BTreeMap<String, String> {
    let mut latest = BTreeMap::new();
    for drop in drops {
        let rows = rows(out.join("photoz").join(drop));
        let flags = column(&rows, "z_flags").as_primitive::<Int32Type>().clone();
        for (row, id) in ids(&rows).into_iter().enumerate() {
            match flags.value(row) & 1 {
                0 => latest.insert(id, (*drop).to_owned()),
                _ => latest.remove(&id),
            };
        }
    }
    latest
}

/// For each exported object its drop.
fn exported(to: &Path) -> BTreeMap<String, String> {
    let rows = rows(to);
    let drops = strings(&rows, "drop");
    assert_eq!(ids(&rows).len(), rows.num_rows());
    ids(&rows).into_iter().zip(drops).collect()
}

#[test]
fn an_export_holds_the_latest_row_of_each_object_without_withdrawals() {
    let (out, to) = (folder(), folder());
    run_catalog(survey(), &out).ends(0);
    let now = to.path().join("now");
    let told = export(out.path(), &now).ends(0).json();
    let expected = latest(out.path(), &["drop-0001", "drop-0002"]);
    assert_eq!(exported(&now), expected);
    assert_eq!(told["rows"], expected.len());
    assert_same_columns(&rows(out.path().join("photoz")), &rows(&now));
    let all = rows(out.path().join("photoz")).num_rows();
    assert_eq!(told["rows_superseded"], all - expected.len());
    assert!(
        all > expected.len(),
        "the survey has corrections and withdrawals"
    );
    assert_notes(&now);
    assert_one_file_in_order(out.path(), &now);

    // If the ids do not fit into memory, they are read several times, and the answer is the same.
    let small = to.path().join("small");
    export(out.path(), &small).with("--memory 1KB").ends(0);
    assert_same(&tree(&now), &tree(&small));

    let before = to.path().join("before");
    export(out.path(), &before)
        .with("--as-of drop-0001")
        .ends(0);
    assert_eq!(exported(&before), latest(out.path(), &["drop-0001"]));

    // An export goes to any store, and never into a place that is not empty.
    let s3 = S3::start();
    Program::new(["export", &text(out.path()), "--to", "s3://sky/current"])
        .on_s3(&s3)
        .ends(0);
    assert_same(&tree(&now), &tree(&s3.bucket().join("current")));
    export(out.path(), &now).ends(2).says(&["is not empty"]);
    export(out.path(), &out.path().join("photoz"))
        .ends(2)
        .says(&["lie in each other"]);
    export(out.path(), &to.path().join("none"))
        .with("--as-of drop-7")
        .ends(2)
        .says(&["drop-7"]);
}

/// Asserts that exported rows have the columns of `photoz/`, with their metadata. The bounds of intervals say that they are
/// calibrated.
fn assert_same_columns(photoz: &RecordBatch, exported: &RecordBatch) {
    let (theirs, ours) = (photoz.schema(), exported.schema());
    assert_eq!(ours.fields().len(), theirs.fields().len());
    for (their, our) in theirs.fields().iter().zip(ours.fields()) {
        if !["z_low", "z_high"]
            .iter()
            .any(|bound| our.name().starts_with(bound))
        {
            assert_eq!(our, their);
            continue;
        }
        let of = |field: &Field| {
            (
                field.name().clone(),
                field.data_type().clone(),
                field.is_nullable(),
            )
        };
        assert_eq!(of(our), of(their));
        assert_eq!(our.metadata()["ucd"], their.metadata()["ucd"]);
        assert!(our.metadata()["description"].contains("calibrated"));
    }
}

/// Asserts that each exported file has the notes of the output, and says where its calibration comes from.
fn assert_notes(to: &Path) {
    for part in tree(to)
        .into_keys()
        .filter(|name| name.ends_with(".parquet"))
    {
        let file = fs::File::open(to.join(part)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let notes = reader.metadata().file_metadata().key_value_metadata();
        let mut keys: Vec<&str> = notes
            .unwrap()
            .iter()
            .map(|note| note.key.as_str())
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "ARROW:schema",
                "hubbleflow.calibration",
                "hubbleflow.model_id",
                "hubbleflow.z_flags"
            ]
        );
    }
}

/// Asserts that an export is one file (a file for each part of each drop would make thousands), and that its rows are in
/// the order of their drops, and within a drop in the order of the output.
fn assert_one_file_in_order(out: &Path, to: &Path) {
    let names = tree(to).into_keys();
    let files = names.filter(|name| name.ends_with(".parquet"));
    assert_eq!(files.count(), 1);
    let order = strings(&rows(to), "drop");
    assert!(order.is_sorted(), "rows of a drop are apart: {order:?}");
    let exported = ids(&rows(to));
    for drop in ["drop-0001", "drop-0002"] {
        let theirs = ids(&rows(out.join("photoz").join(drop)));
        let place = |id: &String| theirs.iter().position(|their| their == id);
        let of_drop = exported.iter().zip(&order).filter(|(_, of)| *of == drop);
        assert!(of_drop.map(|(id, _)| place(id)).is_sorted());
    }
}
