//! Reads rows of an image file as a batch of the drop.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;

use super::{ImageFile, id_kind};
use crate::error::ImportError;
use crate::finder::MagFields;
use crate::positions::{PositionFile, RowPositions};
use connectors::drop_writer::{CutoutShape, unit_field};
use connectors::galaxy::{IdKind, mag_column};

/// Columns that the file does not have.
pub(crate) struct GivenColumns<'a> {
    /// The id of the next row, if rows are numbered.
    pub(crate) next_id: Option<&'a mut i64>,
    /// The positions of the next rows, if the file does not have them.
    pub(crate) positions: Option<&'a mut PositionFile>,
}

impl ImageFile {
    /// Reads rows as a batch of the drop.
    pub(crate) fn read(
        &mut self,
        rows: Range<u64>,
        given: &mut GivenColumns<'_>,
    ) -> Result<RecordBatch, ImportError> {
        let layout = self.layout();
        let count = rows.end - rows.start;
        let positions = match &mut given.positions {
            Some(positions) => Some(positions.take(count)?),
            None => None,
        };
        let positions = match positions {
            Some(positions) => positions,
            None => self.read_positions(&rows)?,
        };
        let degrees = |degrees: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(degrees)) };
        let ids: ArrayRef = match positions.ids {
            Some(ids) => Arc::new(Int64Array::from(ids)),
            None => self.read_ids(&rows, given.next_id.as_deref_mut())?,
        };
        let mut columns: Vec<(Field, ArrayRef)> = vec![
            (Field::new("object_id", ids.data_type().clone(), false), ids),
            (
                unit_field("ra", DataType::Float64, "deg", false),
                degrees(positions.ra_deg),
            ),
            (
                unit_field("dec", DataType::Float64, "deg", false),
                degrees(positions.dec_deg),
            ),
        ];
        let mags = self.read_mags(&rows)?.into_iter().flatten();
        for (band, mags) in self.bands.iter().zip(mags) {
            let field = unit_field(&mag_column(band), DataType::Float32, "mag", false);
            columns.push((field, Arc::new(Float32Array::from(mags))));
        }
        if let Some(field) = self.z_spec {
            let z_spec = Float32Array::from(self.floats(field, &rows)?);
            let field = Field::new("z_spec", DataType::Float32, true);
            columns.push((field, Arc::new(z_spec)));
        }
        let pixels = self.floats(self.cutout, &rows)?;
        batch(layout.cutouts, columns, pixels).map_err(|error| {
            ImportError::corrupt(&self.file, format!("its rows do not fit together: {error}"))
        })
    }

    fn floats(&mut self, field: usize, rows: &Range<u64>) -> Result<Vec<f32>, ImportError> {
        let bytes = self.arrays.read(field, rows.clone())?;
        let floats = self.arrays.fields[field].1.dtype.to_f32(&bytes);
        Ok(floats.expect("invariant: fields of numbers are checked when they are found"))
    }

    fn read_positions(&mut self, rows: &Range<u64>) -> Result<RowPositions, ImportError> {
        let mut degrees = |field: usize| {
            let bytes = self.arrays.read(field, rows.clone())?;
            let degrees = self.arrays.fields[field].1.dtype.to_f64(&bytes);
            Ok(degrees.expect("invariant: fields of numbers are checked when they are found"))
        };
        let zeros = || vec![0.0; (rows.end - rows.start) as usize];
        let [ra_deg, dec_deg] = match self.position {
            Some([ra, dec]) => [degrees(ra)?, degrees(dec)?],
            None => [zeros(), zeros()],
        };
        Ok(RowPositions {
            ids: None,
            ra_deg,
            dec_deg,
        })
    }

    /// The magnitudes by band.
    fn read_mags(&mut self, rows: &Range<u64>) -> Result<Option<Vec<Vec<f32>>>, ImportError> {
        let mags = match &self.mags {
            None => return Ok(None),
            Some(MagFields::Each(fields)) => {
                let fields = fields.clone().into_iter();
                fields
                    .map(|field| self.floats(field, rows))
                    .collect::<Result<_, _>>()?
            }
            Some(MagFields::Together(field)) => {
                let (all, count) = (self.floats(*field, rows)?, self.bands.len());
                let of_band = |band| all.iter().skip(band).step_by(count).copied().collect();
                (0..count).map(of_band).collect()
            }
        };
        Ok(Some(mags))
    }

    fn read_ids(
        &mut self,
        rows: &Range<u64>,
        next_id: Option<&mut i64>,
    ) -> Result<ArrayRef, ImportError> {
        let count = (rows.end - rows.start) as i64;
        let Some(field) = self.object_id else {
            let next =
                next_id.expect("invariant: rows without ids are numbered or have ids from a file");
            let end = next.checked_add(count).ok_or_else(|| {
                ImportError::columns(
                    &self.file,
                    "--first-id is too large: the ids of its rows do not fit into int64",
                )
            })?;
            let ids = Int64Array::from_iter_values(*next..end);
            *next = end;
            return Ok(Arc::new(ids));
        };
        let bytes = self.arrays.read(field, rows.clone())?;
        let (name, array) = &self.arrays.fields[field];
        let bad = |what: &str| ImportError::columns(&self.file, format!("`{name}`: {what}"));
        let whole = || {
            let whole = array.dtype.to_whole(&bytes);
            whole.expect("invariant: the type of the ids is checked when they are found")
        };
        Ok(match id_kind(array.dtype) {
            IdKind::Int64 => {
                let ids = whole().into_iter().map(|id| id as i64);
                Arc::new(Int64Array::from_iter_values(ids))
            }
            IdKind::UInt64 => {
                let ids = whole().into_iter().map(|id| id as u64);
                Arc::new(UInt64Array::from_iter_values(ids))
            }
            IdKind::String => {
                let text = array.dtype.to_text(&bytes);
                let text = text.ok_or_else(|| bad("an object id is not valid text"))?;
                Arc::new(StringArray::from(text))
            }
        })
    }
}

fn batch(
    cutouts: CutoutShape,
    mut columns: Vec<(Field, ArrayRef)>,
    pixels: Vec<f32>,
) -> Result<RecordBatch, ArrowError> {
    let pixels = cutouts.column(pixels, None)?;
    columns.push((cutouts.field(false), Arc::new(pixels)));
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
