//! Exactly once: each row of each drop leaves by one door, and the ledger says by which.
use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array,
    },
    datatypes::{
        DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type,
    },
};
use sha2::{Digest, Sha256};

use crate::survey::{
    Program, changed, column, committed, floats, folder, galaxies, ids, int64, ledger, read, rows,
    some_galaxies, strings, survey, with, write,
};

const DOORS: [&str; 3] = ["photoz", "specz", "rejects"];
/// A few rows a split, and more workers than cores: rows come in any order.
const SCATTERED: &str = "--split-bytes 60kB --memory 1MB --workers 4";

/// Ids that left by any door, in order.
fn left(out: &Path, drop: &str) -> Vec<String> {
    let mut all: Vec<String> = DOORS
        .iter()
        .filter_map(|door| read(&out.join(door).join(drop)))
        .flat_map(|rows| ids(&rows))
        .collect();
    all.sort();
    all
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}

/// The value of a float column of one object of a batch.
fn value(rows: &RecordBatch, id: &str, name: &str) -> Option<f32> {
    floats(rows, name)[place(rows, id)]
}

fn flags(rows: &RecordBatch, id: &str) -> i32 {
    column(rows, "z_flags")
        .as_primitive::<Int32Type>()
        .value(place(rows, id))
}

fn place(rows: &RecordBatch, id: &str) -> usize {
    let ids = ids(rows);
    ids.iter()
        .position(|other| other == id)
        .unwrap_or_else(|| panic!("{id} is not among {ids:?}"))
}

/// Reject reasons by object, row group and row.
fn reasons(out: &Path, drop: &str) -> BTreeMap<(String, u32, u64), String> {
    let rows = rows(out.join("rejects").join(drop));
    let groups = column(&rows, "row_group")
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec();
    let places = column(&rows, "row")
        .as_primitive::<UInt64Type>()
        .values()
        .to_vec();
    let objects = strings(&rows, "object");
    objects
        .into_iter()
        .zip(groups)
        .zip(places)
        .map(|((object, group), row)| (object, group, row))
        .zip(strings(&rows, "reason"))
        .collect()
}

#[test]
fn every_row_of_a_survey_leaves_by_one_door() {
    let out = folder();
    let json = Program::run(survey(), &out)
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
            left(out.path(), drop),
            came,
            "what left is not what came, in {drop}"
        );
        assert_eq!(counts["read"], came.len());
        let by_door = DOORS
            .map(|door| read(&out.path().join(door).join(drop)).map_or(0, |rows| rows.num_rows()));
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
fn a_rejected_row_is_named_with_its_fault() {
    let out = folder();
    Program::run(survey(), &out).with(SCATTERED).ends(0);
    let mut faults = 0;
    for drop in ["drop-0001", "drop-0002"] {
        let came = rows(survey().join(drop));
        for ((object, group, row), reason) in reasons(out.path(), drop) {
            assert_eq!((object, group), (format!("{drop}/part-0000.parquet"), 0));
            assert_eq!(reason, fault(&came, row as usize), "row {row} of {drop}");
            faults += 1;
        }
        let bad = (0..came.num_rows()).filter(|&row| !fault(&came, row).is_empty());
        assert_eq!(
            bad.count(),
            reasons(out.path(), drop).len(),
            "bad rows of {drop} that were not rejected"
        );
    }
    assert!(
        faults >= 6,
        "the survey has {faults} bad rows, less than one of each kind"
    );
}

/// What is wrong with a row of the sample survey, in its own words; nothing where it is good.
fn fault(rows: &RecordBatch, row: usize) -> String {
    if column(rows, "deleted").as_boolean().value(row) {
        return String::new();
    }
    let float64 = |name| column(rows, name).as_primitive::<Float64Type>().value(row);
    let (ra, dec) = (float64("ra"), float64("dec"));
    if ra.is_nan() || dec > 90.0 {
        return format!("ra {ra}, dec {dec} is no position on the sky, in degrees");
    }
    for name in ["mag_u", "mag_z"] {
        match floats(rows, name)[row] {
            Some(mag) if mag <= 0.0 => return format!("{name} is {mag}, not between 0 and 40"),
            _ => {}
        }
    }
    let cutout = column(rows, "cutout").as_fixed_size_list().value(row);
    let finite = cutout
        .as_primitive::<Float32Type>()
        .values()
        .iter()
        .all(|pixel| pixel.is_finite());
    if finite {
        String::new()
    } else {
        "cutout has a pixel that is not finite".to_owned()
    }
}

/// Eight rows in two objects and four row groups, with the id `twice` in four places; z_spec tells which is which.
fn drop_with_duplicates(catalog: &Path, id: &dyn Fn(usize) -> ArrayRef) {
    let rows = galaxies(id(0));
    let z_spec: Vec<(usize, Option<f32>)> =
        (0..8).map(|row| (row, Some(row as f32 / 8.0))).collect();
    let rows = changed(&rows, "z_spec", &z_spec);
    write(catalog.join("drop/a.parquet"), &rows.slice(0, 4), 2);
    write(catalog.join("drop/b.parquet"), &rows.slice(4, 4), 2);
}

#[test]
fn the_first_of_duplicates_stays_whatever_the_type_of_the_ids() {
    // `twice` is in a: row group 0 row 1 and row group 1 row 0; in b: row group 0 row 0 and row group 1 row 1.
    let pattern = [1_u64, 9, 9, 2, 9, 3, 4, 9];
    let large = u64::MAX - 100;
    let forms: [(ArrayRef, String); 3] = [
        (int64(pattern.map(|id| -(id as i64))), "-9".to_owned()),
        (
            Arc::new(UInt64Array::from_iter_values(pattern.map(|id| large + id))),
            (large + 9).to_string(),
        ),
        (
            Arc::new(StringArray::from_iter_values(
                pattern.map(|id| format!("J{id}")),
            )),
            "J9".to_owned(),
        ),
    ];
    for (id, twice) in forms {
        let (catalog, out) = (folder(), folder());
        drop_with_duplicates(catalog.path(), &|_| id.clone());
        Program::run(&catalog, &out)
            .with("--split-bytes 30kB --memory 1MB --workers 4")
            .ends(0);
        let photoz = rows(out.path().join("photoz"));
        assert_eq!(column(&photoz, "object_id").data_type(), id.data_type());
        assert_eq!(
            (photoz.num_rows(), value(&photoz, &twice, "z_spec")),
            (5, Some(1.0 / 8.0))
        );
        let first = "object_id comes twice in this drop: the first stays, in drop/a.parquet, row group 0, row 1";
        let places = [
            ("drop/a.parquet", 1, 0),
            ("drop/b.parquet", 0, 0),
            ("drop/b.parquet", 1, 1),
        ];
        let expected =
            places.map(|(object, group, row)| ((object.to_owned(), group, row), first.to_owned()));
        assert_eq!(
            reasons(out.path(), "drop"),
            BTreeMap::from(expected),
            "ids of type {}",
            id.data_type()
        );
    }
}

#[test]
fn a_rejected_row_makes_no_duplicate() {
    let (catalog, out) = (folder(), folder());
    let rows_in = changed(&galaxies(int64([7, 7, 8])), "mag_u", &[(0, None)]);
    write(
        catalog.path().join("drop/a.parquet"),
        &changed(&rows_in, "z_spec", &[(1, Some(0.5))]),
        10,
    );
    Program::run(&catalog, &out).ends(0);
    let photoz = rows(out.path().join("photoz"));
    assert_eq!(
        (ids(&photoz).len(), value(&photoz, "7", "z_spec")),
        (2, Some(0.5))
    );
    assert_eq!(
        reasons(out.path(), "drop")
            .into_values()
            .collect::<Vec<_>>(),
        ["mag_u is null"]
    );
}

#[test]
fn withdrawn_objects_keep_their_id_alone() {
    let (catalog, out) = (folder(), folder());
    let deleted =
        |flags: [Option<bool>; 4]| Arc::new(BooleanArray::from(flags.to_vec())) as ArrayRef;
    // Whatever else such a row says, even what would be a fault, does not count.
    let rows_in = with(
        &some_galaxies(4),
        "deleted",
        deleted([None, Some(true), Some(false), Some(true)]),
    );
    write(
        catalog.path().join("drop-1/a.parquet"),
        &changed(&rows_in, "mag_r", &[(3, None)]),
        10,
    );
    let alone = RecordBatch::try_from_iter([
        ("object_id", int64([1, 3])),
        (
            "deleted",
            Arc::new(BooleanArray::from(vec![true, true])) as ArrayRef,
        ),
    ]);
    write(catalog.path().join("drop-2.parquet"), &alone.unwrap(), 10);
    Program::run(&catalog, &out).ends(0);
    for (drop, withdrawn, there) in [
        ("drop-1", ["2", "4"], vec!["1", "3"]),
        ("drop-2.parquet", ["1", "3"], vec![]),
    ] {
        let photoz = rows(out.path().join("photoz").join(drop));
        for id in withdrawn {
            let row = place(&photoz, id);
            for name in ["ra", "dec", "_healpix_29", "mag_r", "z_phot", "z_spec"] {
                assert!(
                    column(&photoz, name).is_null(row),
                    "{name} of the withdrawn object {id} of {drop}"
                );
            }
            assert_eq!(
                flags(&photoz, id),
                1,
                "flags of the withdrawn object {id} of {drop}"
            );
        }
        assert!(
            there
                .iter()
                .all(|id| value(&photoz, id, "z_phot").is_some() && flags(&photoz, id) == 0)
        );
        assert_eq!(photoz.num_rows(), withdrawn.len() + there.len());
    }
}

#[test]
fn rows_that_say_nothing_beside_their_id_must_be_withdrawn() {
    let (catalog, out) = (folder(), folder());
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let alone =
        RecordBatch::try_from_iter([("object_id", int64([1, 2])), ("deleted", flags)]).unwrap();
    write(catalog.path().join("drop.parquet"), &alone, 10);
    Program::run(&catalog, &out).ends(0);
    assert_eq!(ids(&rows(out.path().join("photoz"))), ["1"]);
    assert_eq!(
        reasons(out.path(), "drop.parquet")
            .into_values()
            .collect::<Vec<_>>(),
        ["ra is null"]
    );
}

#[test]
fn a_z_spec_that_is_none_does_not_reach_the_output() {
    let (catalog, out) = (folder(), folder());
    let z_spec = [
        (1, None),
        (2, Some(f32::NAN)),
        (3, Some(-9999.0)),
        (4, Some(f32::INFINITY)),
        (5, Some(-0.001)),
    ];
    write(
        catalog.path().join("drop/a.parquet"),
        &changed(&some_galaxies(6), "z_spec", &z_spec),
        10,
    );
    Program::run(&catalog, &out).ends(0);
    let photoz = rows(out.path().join("photoz"));
    let ignored = 2;
    let expected = [
        (Some(0.1), 0),
        (None, 0),
        (None, 0),
        (None, ignored),
        (None, ignored),
        (Some(-0.001), 0),
    ];
    for (id, (z, flag)) in ["1", "2", "3", "4", "5", "6"].iter().zip(expected) {
        assert_eq!(
            (value(&photoz, id, "z_spec"), flags(&photoz, id)),
            (z, flag),
            "object {id}"
        );
        assert!(
            value(&photoz, id, "z_phot").is_some(),
            "object {id} is predicted all the same"
        );
    }
}

#[test]
fn spec_z_without_a_redshift_teach_nothing() {
    let (catalog, out) = (folder(), folder());
    let z_spec = [(1, None), (2, Some(f32::NAN)), (3, Some(-9999.0))];
    let rows_in = changed(&some_galaxies(4), "z_spec", &z_spec)
        .project(&[0, 9])
        .unwrap();
    assert_eq!(rows_in.schema().field(1).name(), "z_spec");
    write(catalog.path().join("spectra.parquet"), &rows_in, 10);
    Program::run(&catalog, &out).ends(0);
    let specz = rows(out.path().join("specz"));
    assert_eq!(
        (ids(&specz), floats(&specz, "z_spec")),
        (vec!["1".to_owned()], vec![Some(0.1)])
    );
    assert_eq!(strings(&specz, "drop"), ["spectra.parquet"]);
    let reasons: Vec<String> = reasons(out.path(), "spectra.parquet")
        .into_values()
        .collect();
    assert_eq!(reasons[0], "z_spec is null: the row teaches nothing");
    assert_eq!(
        &reasons[1..],
        [
            "z_spec is NaN, which is no redshift",
            "z_spec is -9999, which is no redshift"
        ]
    );
    assert!(
        read(&out.path().join("photoz")).is_none(),
        "a spec-z drop was predicted"
    );
}

#[test]
fn each_fault_of_a_row_has_its_reason() {
    let (catalog, out) = (folder(), folder());
    let rows_in = some_galaxies(8);
    let rows_in = with(
        &rows_in,
        "object_id",
        Arc::new(
            [
                Some(1),
                None,
                Some(3),
                Some(4),
                Some(5),
                Some(6),
                Some(7),
                Some(8),
            ]
            .into_iter()
            .collect::<arrow::array::Int64Array>(),
        ),
    );
    let dec = Float64Array::from(vec![
        Some(0.0),
        Some(0.0),
        None,
        Some(-90.5),
        Some(0.0),
        Some(0.0),
        Some(0.0),
        Some(90.0),
    ]);
    let rows_in = changed(
        &with(&rows_in, "dec", Arc::new(dec)),
        "mag_g",
        &[(4, None), (5, Some(f32::NAN)), (6, Some(40.0))],
    );
    write(catalog.path().join("drop/a.parquet"), &rows_in, 10);
    Program::run(&catalog, &out).ends(0);
    let reasons: Vec<String> = reasons(out.path(), "drop").into_values().collect();
    assert_eq!(
        reasons,
        [
            "object_id is null",
            "dec is null",
            "ra 150.75, dec -90.5 is no position on the sky, in degrees",
            "mag_g is null",
            "mag_g is NaN, not between 0 and 40",
            "mag_g is 40, not between 0 and 40",
        ]
    );
    assert_eq!(sorted(ids(&rows(out.path().join("photoz")))), ["1", "8"]);
    assert_eq!(left(out.path(), "drop").len(), 8);
}

#[test]
fn cutouts_of_another_size_are_cropped_or_rejected() {
    let (catalog, out) = (folder(), folder());
    let small: ArrayRef = {
        let pixels = arrow::array::Float32Array::from(vec![1.0_f32; 2 * 5 * 16 * 16]);
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        Arc::new(arrow::array::ListArray::new(
            item,
            arrow::buffer::OffsetBuffer::from_lengths([1280, 1280]),
            Arc::new(pixels),
            None,
        ))
    };
    write(
        catalog.path().join("drop/a.parquet"),
        &with(&some_galaxies(2), "cutout", small),
        10,
    );
    Program::run(&catalog, &out).ends(0);
    for reason in reasons(out.path(), "drop").into_values() {
        assert!(
            reason.contains("16x16") && reason.contains("32x32"),
            "{reason}"
        );
    }
    assert_eq!(ledger(out.path())[0]["rows"]["rejected"], 2);
}

#[test]
fn the_ledger_tells_the_checksums_of_its_files() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
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
            "{path} is not named by its content {sha256}"
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
fn files_are_sorted_on_the_sky() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
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
