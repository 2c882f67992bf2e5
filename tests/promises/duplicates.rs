//! Of the rows of a drop with the same id the first is predicted. The others are rejected.
use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::array::{ArrayRef, StringArray, UInt64Array};
use testkit::{
    galaxy_rows::{galaxies_with_ids, int64, with_values, write_parquet},
    rejects::reject_reasons,
    rows::{column, float_of, ids, rows},
    survey::run_catalog,
    tree::folder,
};

/// Writes eight rows in two objects and four row groups. `z_spec` is unique, so it identifies the row.
fn drop_with_duplicates(catalog: &Path, id: &dyn Fn(usize) -> ArrayRef) {
    let rows = galaxies_with_ids(id(0));
    let z_spec: Vec<(usize, Option<f32>)> =
        (0..8).map(|row| (row, Some(row as f32 / 8.0))).collect();
    let rows = with_values(&rows, "z_spec", &z_spec);
    write_parquet(catalog.join("drop/a.parquet"), &rows.slice(0, 4), 2);
    write_parquet(catalog.join("drop/b.parquet"), &rows.slice(4, 4), 2);
}

#[test]
fn the_first_duplicate_stays_for_every_type_of_ids() {
    // The id 9 is in a.parquet (row group 0 row 1, row group 1 row 0) and b.parquet (row group 0 row 0, row group 1 row 1).
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
        run_catalog(&catalog, &out)
            .with("--split-bytes 30kB --memory 1MB --workers 4")
            .ends(0);
        let photoz = rows(out.path().join("photoz"));
        assert_eq!(column(&photoz, "object_id").data_type(), id.data_type());
        assert_eq!(
            (photoz.num_rows(), float_of(&photoz, &twice, "z_spec")),
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
            reject_reasons(out.path(), "drop"),
            BTreeMap::from(expected),
            "ids of type {}",
            id.data_type()
        );
    }
}

#[test]
fn a_rejected_row_is_not_counted_as_a_duplicate() {
    let (catalog, out) = (folder(), folder());
    let rows_in = with_values(&galaxies_with_ids(int64([7, 7, 8])), "mag_u", &[(0, None)]);
    write_parquet(
        catalog.path().join("drop/a.parquet"),
        &with_values(&rows_in, "z_spec", &[(1, Some(0.5))]),
        10,
    );
    run_catalog(&catalog, &out).ends(0);
    let photoz = rows(out.path().join("photoz"));
    assert_eq!(
        (ids(&photoz).len(), float_of(&photoz, "7", "z_spec")),
        (2, Some(0.5))
    );
    assert_eq!(
        reject_reasons(out.path(), "drop")
            .into_values()
            .collect::<Vec<_>>(),
        ["mag_u is null"]
    );
}
