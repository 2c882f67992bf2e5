//! The rows of the sample survey as Arrow batches.
//!
//! | column | type | |
//! |---|---|---|
//! | `object_id` | int64 | |
//! | `ra`, `dec` | float64 | degrees |
//! | `mag_<band>`, a column for each band of the survey | float32 | AB, corrected for Galactic extinction, with errors |
//! | `ebv` | float32 | Galactic reddening E(B-V) in mag, by which the cutout is dimmed |
//! | `z_spec` | float32, nullable | |
//! | `parent` | int32 | row of the photometry that the galaxy was drawn from, from 0 |
//! | `cutout` | fixed-shape tensor of float32, `[band, y, x]` | nanomaggies per pixel |
//! | `deleted` | bool | only if rows may be withdrawn; in a withdrawn row, all columns but `object_id` are null |

use crate::bands::BANDS;
use crate::error::SampleError;
use crate::image_drop::{DropRow, ImageDrop, RowFault, RowKind};
use crate::survey::SampleSurvey;
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use connectors::drop_writer::unit_field;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The text under the key `origin` in the metadata of each file.
pub const ORIGIN: &str =
    "sample survey: real photometry and redshifts, smoothed; cutouts are rendered, not observed";

/// The columns of an image drop.
pub fn image_schema(survey: &SampleSurvey) -> SchemaRef {
    // A withdrawn row has only an `object_id`.
    let nullable = survey.has_withdrawals;
    let unit = |name: &str, data_type, unit: &str| unit_field(name, data_type, unit, nullable);
    let mut fields = vec![
        Field::new("object_id", DataType::Int64, false),
        unit("ra", DataType::Float64, "deg"),
        unit("dec", DataType::Float64, "deg"),
    ];
    for band in survey.bands.names() {
        fields.push(unit(&format!("mag_{band}"), DataType::Float32, "mag"));
    }
    fields.push(unit("ebv", DataType::Float32, "mag"));
    fields.push(Field::new("z_spec", DataType::Float32, true));
    fields.push(Field::new("parent", DataType::Int32, nullable));
    fields.push(survey.cutout_shape().field(nullable));
    if survey.has_withdrawals {
        fields.push(Field::new("deleted", DataType::Boolean, false));
    }
    Arc::new(Schema::new_with_metadata(fields, origin()))
}

/// The columns of a spec-z drop.
pub fn specz_schema() -> SchemaRef {
    let fields = vec![
        Field::new("object_id", DataType::Int64, false),
        Field::new("z_spec", DataType::Float32, true),
    ];
    Arc::new(Schema::new_with_metadata(fields, origin()))
}

fn origin() -> HashMap<String, String> {
    HashMap::from([("origin".to_owned(), ORIGIN.to_owned())])
}

/// Rows of a spec-z drop as a batch: `(object, z_spec)`.
pub fn specz_batch(survey: &SampleSurvey, rows: &[(u64, f32)]) -> Result<RecordBatch, SampleError> {
    let ids =
        Int64Array::from_iter_values(rows.iter().map(|&(object, _)| survey.object_id(object)));
    let z_spec = Float32Array::from_iter_values(rows.iter().map(|&(_, z_spec)| z_spec));
    Ok(RecordBatch::try_new(
        specz_schema(),
        vec![Arc::new(ids), Arc::new(z_spec)],
    )?)
}

/// A row of a batch without its cutout.
struct RowCells {
    object_id: i64,
    position: Option<(f64, f64)>,
    /// In ugriz.
    mags: Option<[f32; BANDS]>,
    ebv: Option<f32>,
    z_spec: Option<f32>,
    parent: Option<i32>,
}

/// Renders rows of an image drop on all threads of the current rayon pool.
pub fn image_batch(
    survey: &SampleSurvey,
    drop: &ImageDrop,
    rows: Range<u64>,
) -> Result<RecordBatch, SampleError> {
    let shape = survey.cutout_shape();
    let row_count = (rows.end - rows.start) as usize;
    let mut pixels = vec![0f32; row_count * shape.pixels()];
    let cells: Vec<RowCells> = pixels
        .par_chunks_exact_mut(shape.pixels())
        .enumerate()
        .map(|(place, cutout)| fill_row(survey, drop, drop.row(rows.start + place as u64), cutout))
        .collect();
    let floats = |of: &dyn Fn(&RowCells) -> Option<f64>| -> ArrayRef {
        Arc::new(cells.iter().map(of).collect::<Float64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            cells.iter().map(|row| row.object_id),
        )),
        floats(&|row| row.position.map(|(ra_deg, _)| ra_deg)),
        floats(&|row| row.position.map(|(_, dec_deg)| dec_deg)),
    ];
    for band in survey.bands.iter() {
        let mags = cells.iter().map(|row| row.mags.map(|mags| mags[band]));
        columns.push(Arc::new(mags.collect::<Float32Array>()));
    }
    let ebv: Float32Array = cells.iter().map(|row| row.ebv).collect();
    let z_spec: Float32Array = cells.iter().map(|row| row.z_spec).collect();
    let parent: Int32Array = cells.iter().map(|row| row.parent).collect();
    columns.push(Arc::new(ebv));
    columns.push(Arc::new(z_spec));
    columns.push(Arc::new(parent));
    let observed: Vec<bool> = cells.iter().map(|row| row.position.is_some()).collect();
    let nulls = survey
        .has_withdrawals
        .then(|| NullBuffer::from(observed.clone()));
    columns.push(Arc::new(shape.column(pixels, nulls)?));
    if survey.has_withdrawals {
        let deleted: BooleanArray = observed.iter().map(|&observed| Some(!observed)).collect();
        columns.push(Arc::new(deleted));
    }
    Ok(RecordBatch::try_new(image_schema(survey), columns)?)
}

/// Renders the cutout of a row and returns its other columns.
fn fill_row(survey: &SampleSurvey, drop: &ImageDrop, row: DropRow, cutout: &mut [f32]) -> RowCells {
    let object_id = survey.object_id(row.object);
    if row.kind == RowKind::Withdrawal {
        return RowCells {
            object_id,
            position: None,
            mags: None,
            ebv: None,
            z_spec: None,
            parent: None,
        };
    }
    let truth = survey.truth(row.object);
    survey.render(row.object, drop.number, &truth, cutout);
    let mags = survey.measured_mags(row.object, drop.number, &truth, row.kind);
    let mut cells = RowCells {
        object_id,
        position: Some((truth.ra_deg, truth.dec_deg)),
        mags: Some(mags.map(|mag| mag as f32)),
        ebv: Some(truth.reddening as f32),
        z_spec: truth.has_z_spec.then_some(truth.draw.galaxy.z_spec as f32),
        parent: Some(truth.draw.parent as i32),
    };
    if let RowKind::New { fault: Some(fault) } = row.kind {
        spoil(survey, fault, &mut cells, cutout);
    }
    cells
}

/// Puts a fault into a row.
fn spoil(survey: &SampleSurvey, fault: RowFault, cells: &mut RowCells, cutout: &mut [f32]) {
    let (bands, plane_px) = (&survey.bands, survey.side_px * survey.side_px);
    let middle = bands.reference_plane() * plane_px + plane_px / 2;
    let mut set_mag = |band: usize, to: f32| {
        if let Some(mags) = &mut cells.mags {
            mags[band] = to;
        }
    };
    match fault {
        RowFault::PixelNan => cutout[middle] = f32::NAN,
        RowFault::PixelInfinite => cutout[middle] = f32::INFINITY,
        RowFault::MagMissing => set_mag(bands.bluest(), -9999.0),
        RowFault::MagZero => set_mag(bands.reddest(), 0.0),
        RowFault::DecOffSky => cells.position = cells.position.map(|(ra_deg, _)| (ra_deg, 95.0)),
        RowFault::RaNan => cells.position = cells.position.map(|(_, dec_deg)| (f64::NAN, dec_deg)),
    }
}

/// Number of rows of an image batch that have a cutout but no spec-z.
pub fn rows_without_spec_z(batch: &RecordBatch) -> u64 {
    let nulls = |name| {
        batch
            .column_by_name(name)
            .map_or(0, |column| column.null_count())
    };
    (nulls("z_spec") - nulls("cutout")) as u64
}
