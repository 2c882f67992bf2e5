//! Nothing silent: a bad row is rejected with its place and its fault.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, Float64Array, RecordBatch},
    datatypes::{DataType, Field, Float32Type, Float64Type},
};
use testkit::{
    galaxy_rows::{some_galaxies, with_column, with_values, write_parquet},
    outputs::ledger,
    rejects::{ids_that_left, reject_reasons},
    rows::{column, floats, ids, rows},
    survey::{SCATTERED, run_catalog, survey},
    tree::folder,
};

#[test]
fn each_reject_names_its_row_and_its_fault() {
    let out = folder();
    run_catalog(survey(), &out).with(SCATTERED).ends(0);
    let mut faults = 0;
    for drop in ["drop-0001", "drop-0002"] {
        let came = rows(survey().join(drop));
        for ((object, group, row), reason) in reject_reasons(out.path(), drop) {
            assert_eq!((object, group), (format!("{drop}/part-0000.parquet"), 0));
            assert_eq!(reason, fault(&came, row as usize), "row {row} of {drop}");
            faults += 1;
        }
        let bad = (0..came.num_rows()).filter(|&row| !fault(&came, row).is_empty());
        assert_eq!(
            bad.count(),
            reject_reasons(out.path(), drop).len(),
            "bad rows of {drop} that were not rejected"
        );
    }
    assert!(
        faults >= 6,
        "the survey has {faults} bad rows, less than one of each kind"
    );
}

/// The fault of a row of the sample survey, in the words of a reject, or an empty text if the row is good.
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

#[test]
fn each_fault_of_a_row_has_its_reason() {
    let (catalog, out) = (folder(), folder());
    let rows_in = some_galaxies(8);
    let rows_in = with_column(
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
    let rows_in = with_values(
        &with_column(&rows_in, "dec", Arc::new(dec)),
        "mag_g",
        &[(4, None), (5, Some(f32::NAN)), (6, Some(40.0))],
    );
    write_parquet(catalog.path().join("drop/a.parquet"), &rows_in, 10);
    run_catalog(&catalog, &out).ends(0);
    let reasons: Vec<String> = reject_reasons(out.path(), "drop").into_values().collect();
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
    let mut predicted = ids(&rows(out.path().join("photoz")));
    predicted.sort();
    assert_eq!(predicted, ["1", "8"]);
    assert_eq!(ids_that_left(out.path(), "drop").len(), 8);
}

#[test]
fn cutouts_that_are_too_small_are_rejected() {
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
    write_parquet(
        catalog.path().join("drop/a.parquet"),
        &with_column(&some_galaxies(2), "cutout", small),
        10,
    );
    run_catalog(&catalog, &out).ends(0);
    for reason in reject_reasons(out.path(), "drop").into_values() {
        assert!(
            reason.contains("16x16") && reason.contains("32x32"),
            "{reason}"
        );
    }
    assert_eq!(ledger(out.path())[0]["rows"]["rejected"], 2);
}
