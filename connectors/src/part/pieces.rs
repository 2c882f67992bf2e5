//! Rows of a chunk, by the folder and the part they go to.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Float32Array, Float64Array, Int32Array, RecordBatch, StringArray,
        UInt32Array, UInt64Array,
    },
    compute::take,
    datatypes::FieldRef,
    error::ArrowError,
};

use super::{
    Column, DELETED, Door, Folder, Piece, ROW, ROW_GROUP, Z_SPEC_IGNORED, batch, is_redshift,
    part_of,
};
use crate::{galaxy::Galaxies, read::Origin};

/// Sorts the rows of a chunk by folder and part. `doors` and `z_phot` have one value for each row; a row that is not
/// predicted has any `z_phot`.
///
/// # Errors
/// Where Arrow cannot take rows of a kept column.
pub fn pieces(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    z_phot: &[f32],
    keep: &[FieldRef],
    parts: u32,
) -> Result<Vec<Piece>, ArrowError> {
    let mut rows: std::collections::BTreeMap<(Folder, u32), Vec<u32>> = Default::default();
    for (row, door) in doors.iter().enumerate() {
        let folder = match door {
            Door::Predicted | Door::Withdrawn => Folder::Photoz,
            Door::Learned => Folder::SpecZ,
            Door::Rejected(_) => Folder::Rejects,
        };
        rows.entry((folder, part_of(&galaxies.object_id, row, parts)))
            .or_default()
            .push(row as u32);
    }
    rows.into_iter()
        .map(|((folder, part), rows)| {
            let rows = match folder {
                Folder::Photoz => photoz_rows(galaxies, origin, doors, z_phot, keep, &rows),
                Folder::SpecZ => specz_rows(galaxies, origin, &rows),
                Folder::Rejects => rejected_rows(galaxies, origin, doors, &rows),
            }?;
            Ok(Piece {
                part,
                folder,
                object: origin.object.clone(),
                object_index: origin.object_index,
                rows,
            })
        })
        .collect()
}

fn photoz_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    z_phot: &[f32],
    keep: &[FieldRef],
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let there = |row: &u32| doors[*row as usize] == Door::Predicted;
    let float64 = |array: &Float64Array| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| there(row).then(|| array.value(*row as usize)))
                .collect::<Float64Array>(),
        )
    };
    let z_spec = |row: &u32| {
        galaxies
            .z_spec
            .is_valid(*row as usize)
            .then(|| galaxies.z_spec.value(*row as usize))
    };
    let known = |row: &u32| {
        there(row)
            .then(|| z_spec(row).filter(|z| is_redshift(*z)))
            .flatten()
    };
    let mag_r = |row: &u32| {
        let mags = galaxies.mags.as_ref().filter(|_| there(row))?;
        mags[2]
            .is_valid(*row as usize)
            .then(|| mags[2].value(*row as usize))
    };
    let flags = rows.iter().map(|row| {
        // A null or NaN z_spec is how tables say "none"; any other that is no redshift is worth a flag.
        let ignored = there(row) && z_spec(row).is_some_and(|z| !z.is_nan() && !is_redshift(z));
        if there(row) {
            if ignored { Z_SPEC_IGNORED } else { 0 }
        } else {
            DELETED
        }
    });
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &UInt32Array::from(rows.to_vec()), None)?,
            false,
        ),
        ("ra".into(), float64(&galaxies.ra), true),
        ("dec".into(), float64(&galaxies.dec), true),
        (
            "z_phot".into(),
            Arc::new(
                rows.iter()
                    .map(|row| there(row).then(|| z_phot[*row as usize]))
                    .collect::<Float32Array>(),
            ),
            true,
        ),
        (
            "z_spec".into(),
            Arc::new(rows.iter().map(known).collect::<Float32Array>()),
            true,
        ),
        (
            "mag_r".into(),
            Arc::new(rows.iter().map(mag_r).collect::<Float32Array>()),
            true,
        ),
        (
            "z_flags".into(),
            Arc::new(flags.collect::<Int32Array>()),
            false,
        ),
    ];
    for (field, values) in keep.iter().zip(&galaxies.keep) {
        columns.push((
            field.name().clone(),
            take(values, &UInt32Array::from(rows.to_vec()), None)?,
            true,
        ));
    }
    columns.extend(places(origin, rows));
    batch(columns)
}

fn specz_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let indices = UInt32Array::from(rows.to_vec());
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &indices, None)?,
            false,
        ),
        (
            "z_spec".into(),
            take(&galaxies.z_spec, &indices, None)?,
            true,
        ),
    ];
    columns.extend(places(origin, rows));
    batch(columns)
}

fn rejected_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    doors: &[Door],
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let reason = |row: &u32| match &doors[*row as usize] {
        Door::Rejected(reason) => reason.as_str(),
        _ => "",
    };
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &UInt32Array::from(rows.to_vec()), None)?,
            true,
        ),
        (
            "reason".into(),
            Arc::new(StringArray::from_iter_values(rows.iter().map(reason))),
            false,
        ),
    ];
    columns.extend(places(origin, rows));
    batch(columns)
}

/// Where rows were found: the row group, and the row in it.
fn places(origin: &Origin, rows: &[u32]) -> [Column; 2] {
    let (groups, rows): (Vec<u32>, Vec<u64>) =
        rows.iter().map(|row| origin.locate(*row as usize)).unzip();
    let rows: ArrayRef = Arc::new(UInt64Array::from(rows));
    [
        (ROW_GROUP.into(), Arc::new(UInt32Array::from(groups)), false),
        (ROW.into(), rows, false),
    ]
}
