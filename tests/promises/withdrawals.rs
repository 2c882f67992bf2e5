//! A withdrawn object is committed as a row that has only its id and a flag.
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use connectors::part::BELOW_ZERO;
use testkit::{
    galaxy_rows::{int64, some_galaxies, with_column, with_values, write_parquet},
    rejects::reject_reasons,
    rows::{column, flags_of, float_of, ids, row_of, rows},
    survey::run_catalog,
    tree::folder,
};

#[test]
fn withdrawn_objects_keep_only_their_id() {
    let (catalog, out) = (folder(), folder());
    let deleted =
        |flags: [Option<bool>; 4]| Arc::new(BooleanArray::from(flags.to_vec())) as ArrayRef;
    // The other columns of a withdrawal are ignored, even if they are bad.
    let rows_in = with_column(
        &some_galaxies(4),
        "deleted",
        deleted([None, Some(true), Some(false), Some(true)]),
    );
    write_parquet(
        catalog.path().join("drop-1/a.parquet"),
        &with_values(&rows_in, "mag_r", &[(3, None)]),
        10,
    );
    let alone = RecordBatch::try_from_iter([
        ("object_id", int64([1, 3])),
        (
            "deleted",
            Arc::new(BooleanArray::from(vec![true, true])) as ArrayRef,
        ),
    ]);
    write_parquet(catalog.path().join("drop-2.parquet"), &alone.unwrap(), 10);
    run_catalog(&catalog, &out).ends(0);
    for (drop, withdrawn, there) in [
        ("drop-1", ["2", "4"], vec!["1", "3"]),
        ("drop-2.parquet", ["1", "3"], vec![]),
    ] {
        let photoz = rows(out.path().join("photoz").join(drop));
        for id in withdrawn {
            let row = row_of(&photoz, id);
            for name in ["ra", "dec", "_healpix_29", "mag_r", "z_phot", "z_spec"] {
                assert!(
                    column(&photoz, name).is_null(row),
                    "{name} of the withdrawn object {id} of {drop}"
                );
            }
            assert_eq!(
                flags_of(&photoz, id),
                1,
                "flags of the withdrawn object {id} of {drop}"
            );
        }
        for id in &there {
            let z_phot = float_of(&photoz, id, "z_phot").unwrap();
            // The model of the tests is not trained.
            let expected = if z_phot < 0.0 { BELOW_ZERO } else { 0 };
            assert_eq!(flags_of(&photoz, id), expected, "{id}: {z_phot}");
        }
        assert_eq!(photoz.num_rows(), withdrawn.len() + there.len());
    }
}

#[test]
fn rows_with_only_an_id_must_be_withdrawals() {
    let (catalog, out) = (folder(), folder());
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let alone =
        RecordBatch::try_from_iter([("object_id", int64([1, 2])), ("deleted", flags)]).unwrap();
    write_parquet(catalog.path().join("drop.parquet"), &alone, 10);
    run_catalog(&catalog, &out).ends(0);
    assert_eq!(ids(&rows(out.path().join("photoz"))), ["1"]);
    assert_eq!(
        reject_reasons(out.path(), "drop.parquet")
            .into_values()
            .collect::<Vec<_>>(),
        ["ra is null"]
    );
}
