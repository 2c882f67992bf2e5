//! Exactly once: each row of each drop leaves by one door (predicted, learned or rejected), and the ledger counts it there.
use std::path::Path;

use arrow::{array::AsArray, datatypes::Int64Type};
use sha2::{Digest, Sha256};
use testkit::{
    outputs::{committed, ledger},
    rejects::{DOORS, ids_that_left},
    rows::{column, ids, rows, rows_if_any},
    survey::{SCATTERED, run_catalog, survey},
    tree::folder,
};

#[test]
fn every_row_of_a_survey_leaves_by_one_door() {
    let out = folder();
    let json = run_catalog(survey(), &out)
        .with(SCATTERED)
        .with("--json")
        .ends(0)
        .json();
    let entries = ledger(out.path());
    assert_eq!(entries.len(), 3);
    let mut read_all = 0;
    for entry in &entries {
        let (drop, counts) = (entry["drop"].as_str().unwrap(), &entry["rows"]);
        let came = sorted(ids(&rows(survey().join(drop))));
        assert_eq!(
            ids_that_left(out.path(), drop),
            came,
            "the ids that left {drop} are not the ids that it has"
        );
        assert_eq!(counts["read"], came.len());
        let by_door = DOORS.map(|door| {
            rows_if_any(&out.path().join(door).join(drop)).map_or(0, |rows| rows.num_rows())
        });
        assert_eq!(
            [&counts["written"], &counts["learned"], &counts["rejected"]],
            by_door.map(serde_json::Value::from).each_ref()
        );
        read_all += came.len();
    }
    assert_eq!(json["rows_read"], read_all);
    assert_eq!(
        json["rows_read"].as_u64(),
        Some(
            ["written", "learned", "rejected"]
                .iter()
                .map(|door| json[format!("rows_{door}")].as_u64().unwrap())
                .sum()
        )
    );
    assert!(
        entries[2]["rows"]["learned"].as_u64() > Some(0) && entries[2]["rows"]["written"] == 0,
        "{}",
        entries[2]
    );
}

#[test]
fn the_ledger_has_the_checksums_of_its_files() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let files = committed(out.path());
    let mut listed = Vec::new();
    for file in ledger(out.path())
        .iter()
        .flat_map(|entry| entry["files"].as_array().unwrap().clone())
    {
        let path = file["path"].as_str().unwrap().to_owned();
        let bytes = &files[&path];
        let sha256: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(file["sha256"], sha256.as_str(), "{path}");
        assert!(
            path.ends_with(&format!("/part-0000-{}.parquet", &sha256[..8])),
            "{path} does not have its checksum {sha256} in its name"
        );
        assert_eq!(
            (&file["bytes"], &file["rows"]),
            (&bytes.len().into(), &rows_of(out.path(), &path).into())
        );
        listed.push(path);
    }
    assert_eq!(sorted(listed), files.into_keys().collect::<Vec<_>>());
}

fn rows_of(out: &Path, file: &str) -> usize {
    let folder = Path::new(file).parent().unwrap();
    rows(out.join(folder)).num_rows()
}

#[test]
fn files_are_sorted_by_sky_position() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    for drop in ["drop-0001", "drop-0002"] {
        let photoz = rows(out.path().join("photoz").join(drop));
        let cells: Vec<Option<i64>> = column(&photoz, "_healpix_29")
            .as_primitive::<Int64Type>()
            .iter()
            .collect();
        let ids: Vec<i64> = column(&photoz, "object_id")
            .as_primitive::<Int64Type>()
            .values()
            .to_vec();
        // Withdrawn rows have no cell and come last.
        let keys: Vec<(i64, i64)> = cells
            .iter()
            .map(|cell| cell.unwrap_or(i64::MAX))
            .zip(ids)
            .collect();
        assert!(keys.is_sorted(), "{drop} is not sorted by cell and id");
    }
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
