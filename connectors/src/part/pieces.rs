//! Rows of a chunk, by the folder and the part they go to.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Float32Array, Float64Array, Int32Array, PrimitiveArray, RecordBatch,
        StringArray, UInt32Array, UInt64Array,
    },
    compute::take,
    datatypes::{ArrowPrimitiveType, FieldRef},
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
    let mut rows: BTreeMap<(Folder, u32), Vec<u32>> = Default::default();
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
    let indices = UInt32Array::from(rows.to_vec());
    let values = Values {
        galaxies,
        doors,
        z_phot,
    };
    let each = || rows.iter().map(|&row| row as usize);
    let ra: Float64Array = each()
        .map(|row| values.of_predicted(row, &galaxies.ra))
        .collect();
    let dec: Float64Array = each()
        .map(|row| values.of_predicted(row, &galaxies.dec))
        .collect();
    let z_phot: Float32Array = each().map(|row| values.z_phot(row)).collect();
    let z_spec: Float32Array = each()
        .map(|row| values.z_spec(row).filter(|z| is_redshift(*z)))
        .collect();
    let mag_r: Float32Array = each().map(|row| values.mag_r(row)).collect();
    let flags: Int32Array = each().map(|row| values.flags(row)).collect();
    let mut columns: Vec<Column> = vec![
        (
            "object_id".into(),
            take(&galaxies.object_id, &indices, None)?,
            false,
        ),
        ("ra".into(), Arc::new(ra), true),
        ("dec".into(), Arc::new(dec), true),
        ("z_phot".into(), Arc::new(z_phot), true),
        ("z_spec".into(), Arc::new(z_spec), true),
        ("mag_r".into(), Arc::new(mag_r), true),
        ("z_flags".into(), Arc::new(flags), false),
    ];
    for (field, values) in keep.iter().zip(&galaxies.keep) {
        columns.push((field.name().clone(), take(values, &indices, None)?, true));
    }
    columns.extend(places(origin, rows));
    batch(columns)
}

/// What a row of `photoz/` says: a withdrawn one says nothing but that.
struct Values<'a> {
    galaxies: &'a Galaxies,
    doors: &'a [Door],
    z_phot: &'a [f32],
}

impl Values<'_> {
    fn is_predicted(&self, row: usize) -> bool {
        self.doors[row] == Door::Predicted
    }

    fn of_predicted<T: ArrowPrimitiveType>(
        &self,
        row: usize,
        values: &PrimitiveArray<T>,
    ) -> Option<T::Native> {
        (self.is_predicted(row) && values.is_valid(row)).then(|| values.value(row))
    }

    fn z_phot(&self, row: usize) -> Option<f32> {
        self.is_predicted(row).then(|| self.z_phot[row])
    }

    fn z_spec(&self, row: usize) -> Option<f32> {
        self.of_predicted(row, &self.galaxies.z_spec)
    }

    fn mag_r(&self, row: usize) -> Option<f32> {
        self.of_predicted(row, &self.galaxies.mags.as_ref()?[2])
    }

    /// A null or NaN z_spec is how tables say "none"; any other that is no redshift is worth a flag.
    fn flags(&self, row: usize) -> i32 {
        match self.z_spec(row) {
            _ if !self.is_predicted(row) => DELETED,
            Some(z) if !z.is_nan() && !is_redshift(z) => Z_SPEC_IGNORED,
            _ => 0,
        }
    }
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
