//! Sorts the rows of a chunk into pieces, by the folder and the part to which they go.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, Float32Array, Float64Array, Int32Array, PrimitiveArray, RecordBatch,
        StringArray, UInt32Array, UInt64Array,
    },
    compute::take,
    datatypes::{ArrowPrimitiveType, DataType},
    error::ArrowError,
};

use super::{
    columns::{Column, OF_EMBEDDINGS, REFERENCE_MAG, ROW, ROW_GROUP, batch, named},
    door::{Door, Folder},
    flags::{DELETED, Z_SPEC_IGNORED},
    hash::part_of,
    model_column::{ModelColumn, Z_PHOT, no_bounds},
};
use crate::{
    galaxy::{Galaxies, mag_column},
    read::{Chunk, Origin},
};

/// Rows of one object on their way to a part.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The part.
    pub part: u32,
    /// The folder to which the rows go.
    pub folder: Folder,
    /// The path below the catalog of the object from which the rows were read.
    pub object: String,
    /// The place of the object among the drop's objects.
    pub object_index: u32,
    /// The rows: the columns of the output that are known already, then the places at which the rows were found.
    pub rows: RecordBatch,
}

impl Piece {
    /// Bytes of its rows in memory.
    pub fn bytes(&self) -> u64 {
        self.rows.columns().iter().map(|column| bytes(column)).sum()
    }
}

/// Bytes of a column in memory. A column that was decoded shares its buffer with others, and counts only its own bytes.
fn bytes(column: &dyn Array) -> u64 {
    let whole = column.get_array_memory_size();
    let bytes = match column.data_type() {
        // Views share text, which they may keep alone.
        DataType::Utf8View | DataType::BinaryView => whole,
        _ => column.to_data().get_slice_memory_size().unwrap_or(whole),
    };
    bytes as u64
}

/// The outcome of each row of a chunk: one value for each row.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes<'a> {
    /// The doors through which the rows leave.
    pub doors: &'a [Door],
    /// The bits of `z_flags` that do not depend on the prediction, for predicted rows.
    pub flags: &'a [i32],
    /// The outputs of the model.
    pub columns: &'a [ModelColumn],
    /// The bands of the model's magnitudes.
    pub mag_bands: &'a [String],
}

/// Sorts the rows of a chunk by folder and part.
///
/// # Errors
/// If Arrow cannot select rows of a kept column.
pub fn pieces(chunk: &Chunk, outcomes: Outcomes<'_>, parts: u32) -> Result<Vec<Piece>, ArrowError> {
    let (galaxies, origin) = (&chunk.galaxies, &chunk.origin);
    let mut rows: BTreeMap<(Folder, u32), Vec<u32>> = Default::default();
    for (row, door) in outcomes.doors.iter().enumerate() {
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
                Folder::Photoz | Folder::Embeddings => predicted_rows(chunk, outcomes, &rows),
                Folder::SpecZ => specz_rows(galaxies, origin, &rows),
                Folder::Rejects => rejected_rows(galaxies, origin, outcomes.doors, &rows),
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

fn predicted_rows(
    chunk: &Chunk,
    outcomes: Outcomes<'_>,
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let galaxies = &chunk.galaxies;
    let indices = UInt32Array::from(rows.to_vec());
    let values = Values { galaxies, outcomes };
    let each = || rows.iter().map(|&row| row as usize);
    let ra: Float64Array = each()
        .map(|row| values.of_predicted(row, &galaxies.ra))
        .collect();
    let dec: Float64Array = each()
        .map(|row| values.of_predicted(row, &galaxies.dec))
        .collect();
    let z_spec: Float32Array = each().map(|row| values.z_spec(row)).collect();
    let mag: Float32Array = each().map(|row| values.reference_mag(row)).collect();
    let flags: Int32Array = each().map(|row| values.flags(row)).collect();
    let ids = take(&galaxies.object_id, &indices, None)?;
    let mut columns: Vec<Column> = vec![
        named("object_id", ids, false),
        named("ra", Arc::new(ra), true),
        named("dec", Arc::new(dec), true),
        named("z_spec", Arc::new(z_spec), true),
        named(REFERENCE_MAG, Arc::new(mag), true),
        named("z_flags", Arc::new(flags), false),
    ];
    columns.extend(model_columns(galaxies, outcomes, rows)?);
    for (field, values) in chunk.keep.iter().zip(&galaxies.keep) {
        // The column may be missing in another file, so nulls are always allowed.
        let field = field.as_ref().clone().with_nullable(true);
        columns.push((Arc::new(field), take(values, &indices, None)?));
    }
    columns.extend(places(&chunk.origin, rows));
    batch(columns)
}

/// The columns of the model's outputs. Rows of `embeddings/` also get the magnitudes that the model knows.
fn model_columns(
    galaxies: &Galaxies,
    outcomes: Outcomes<'_>,
    rows: &[u32],
) -> Result<Vec<Column>, ArrowError> {
    let values = Values { galaxies, outcomes };
    let each = || rows.iter().map(|&row| row as usize);
    let is_there: Vec<bool> = each().map(|row| values.is_predicted(row)).collect();
    let mut given = Vec::new();
    for column in outcomes.columns {
        given.extend(column.columns(rows, &is_there)?);
    }
    let gives = |is: fn(&ModelColumn) -> bool| outcomes.columns.iter().any(is);
    if gives(|column| column.name() == Z_PHOT) && !gives(ModelColumn::is_quantiles) {
        given.extend(no_bounds(rows.len()));
    }
    if gives(ModelColumn::is_embedding) {
        for (place, band) in outcomes.mag_bands.iter().enumerate() {
            let mags = galaxies.mags.as_ref().map(|mags| &mags[place]);
            let mag = |row| values.of_predicted(row, mags?);
            let mags: Float32Array = each().map(mag).collect();
            let name = format!("{OF_EMBEDDINGS}{}", mag_column(band));
            given.push(named(&name, Arc::new(mags), true));
        }
    }
    Ok(given)
}

/// The values of a row of `photoz/`. All values of a withdrawn row are null.
struct Values<'a> {
    galaxies: &'a Galaxies,
    outcomes: Outcomes<'a>,
}

impl Values<'_> {
    fn is_predicted(&self, row: usize) -> bool {
        self.outcomes.doors[row] == Door::Predicted
    }

    fn of_predicted<T: ArrowPrimitiveType>(
        &self,
        row: usize,
        values: &PrimitiveArray<T>,
    ) -> Option<T::Native> {
        (self.is_predicted(row) && values.is_valid(row)).then(|| values.value(row))
    }

    /// The spec-z of a row, or `None` if it is ignored or missing (NaN).
    fn z_spec(&self, row: usize) -> Option<f32> {
        let z_spec = self.of_predicted(row, &self.galaxies.z_spec)?;
        let counts = !z_spec.is_nan() && self.outcomes.flags[row] & Z_SPEC_IGNORED == 0;
        counts.then_some(z_spec)
    }

    fn reference_mag(&self, row: usize) -> Option<f32> {
        self.of_predicted(row, self.galaxies.reference_mag.as_ref()?)
    }

    fn flags(&self, row: usize) -> i32 {
        let columns = self.outcomes.columns.iter();
        let predicted = columns.map(|column| column.flags_of(row));
        match self.is_predicted(row) {
            true => predicted.fold(self.outcomes.flags[row], |flags, more| flags | more),
            false => DELETED,
        }
    }
}

fn specz_rows(
    galaxies: &Galaxies,
    origin: &Origin,
    rows: &[u32],
) -> Result<RecordBatch, ArrowError> {
    let indices = UInt32Array::from(rows.to_vec());
    let ids = take(&galaxies.object_id, &indices, None)?;
    let mut columns: Vec<Column> = vec![
        named("object_id", ids, false),
        named("z_spec", take(&galaxies.z_spec, &indices, None)?, true),
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
    let indices = UInt32Array::from(rows.to_vec());
    let ids = take(&galaxies.object_id, &indices, None)?;
    let reasons: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(reason)));
    let mut columns: Vec<Column> = vec![
        named("object_id", ids, true),
        named("reason", reasons, false),
    ];
    columns.extend(places(origin, rows));
    batch(columns)
}

/// The columns with the places of rows: the row group, and the row in it.
fn places(origin: &Origin, rows: &[u32]) -> [Column; 2] {
    let (groups, rows): (Vec<u32>, Vec<u64>) =
        rows.iter().map(|row| origin.locate(*row as usize)).unzip();
    [
        named(ROW_GROUP, Arc::new(UInt32Array::from(groups)), false),
        named(ROW, Arc::new(UInt64Array::from(rows)), false),
    ]
}
