//! The rows of the sample survey as Arrow, and drops of them as Parquet objects.
//!
//! | column | type | |
//! |---|---|---|
//! | `object_id` | int64 | |
//! | `ra`, `dec` | float64 | degrees |
//! | `mag_u` … `mag_z` | float32 | AB, corrected for Galactic extinction |
//! | `z_spec` | float32, nullable | |
//! | `parent` | int32 | row of the photometry that the galaxy was drawn from, from 0 |
//! | `cutout` | fixed-shape tensor of float32, `[band, y, x]` | nanomaggies a pixel |
//! | `deleted` | bool | only where rows are withdrawn: all else but `object_id` is then null |

use super::SampleError;
use super::camera::BANDS;
use super::survey::{Fault, ImageDrop, Row, RowKind, Survey, Truth};
use arrow::array::{
    ArrayRef, BooleanArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use connectors::drop_writer::{cutout_field, cutout_len, cutouts, unit_field};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What every file says of itself, under the key `origin`.
pub const ORIGIN: &str =
    "sample survey: real photometry and redshifts, smoothed; cutouts are rendered, not observed";

/// The columns of an image drop.
pub fn image_schema(survey: &Survey) -> SchemaRef {
    // A withdrawn row needs its `object_id` alone.
    let nullable = survey.has_withdrawals;
    let unit = |name: &str, data_type, unit: &str| unit_field(name, data_type, unit, nullable);
    let mut fields = vec![
        Field::new("object_id", DataType::Int64, false),
        unit("ra", DataType::Float64, "deg"),
        unit("dec", DataType::Float64, "deg"),
    ];
    for band in ["u", "g", "r", "i", "z"] {
        fields.push(unit(&format!("mag_{band}"), DataType::Float32, "mag"));
    }
    fields.push(Field::new("z_spec", DataType::Float32, true));
    fields.push(Field::new("parent", DataType::Int32, nullable));
    fields.push(cutout_field(survey.side_px, nullable));
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

/// Rows of a spec-z drop as a batch.
pub fn specz_batch(survey: &Survey, rows: &[(u64, f32)]) -> Result<RecordBatch, SampleError> {
    let ids =
        Int64Array::from_iter_values(rows.iter().map(|&(object, _)| survey.object_id(object)));
    let z_spec = Float32Array::from_iter_values(rows.iter().map(|&(_, z_spec)| z_spec));
    Ok(RecordBatch::try_new(
        specz_schema(),
        vec![Arc::new(ids), Arc::new(z_spec)],
    )?)
}

/// A row of a batch, but for its cutout.
struct Cells {
    object_id: i64,
    position: Option<(f64, f64)>,
    mags: Option<[f32; BANDS]>,
    z_spec: Option<f32>,
    parent: Option<i32>,
}

/// Renders rows of an image drop, on all threads of the rayon pool that this is called in.
pub fn image_batch(
    survey: &Survey,
    drop: &ImageDrop,
    rows: Range<u64>,
) -> Result<RecordBatch, SampleError> {
    let cutout_len = cutout_len(survey.side_px);
    let row_count = (rows.end - rows.start) as usize;
    let mut pixels = vec![0f32; row_count * cutout_len];
    let cells: Vec<Cells> = pixels
        .par_chunks_exact_mut(cutout_len)
        .enumerate()
        .map(|(place, cutout)| fill_row(survey, drop, drop.row(rows.start + place as u64), cutout))
        .collect();
    let floats = |of: &dyn Fn(&Cells) -> Option<f64>| -> ArrayRef {
        Arc::new(cells.iter().map(of).collect::<Float64Array>())
    };
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(
            cells.iter().map(|row| row.object_id),
        )),
        floats(&|row| row.position.map(|(ra_deg, _)| ra_deg)),
        floats(&|row| row.position.map(|(_, dec_deg)| dec_deg)),
    ];
    for band in 0..BANDS {
        let mags = cells.iter().map(|row| row.mags.map(|mags| mags[band]));
        columns.push(Arc::new(mags.collect::<Float32Array>()));
    }
    let z_spec: Float32Array = cells.iter().map(|row| row.z_spec).collect();
    let parent: Int32Array = cells.iter().map(|row| row.parent).collect();
    columns.push(Arc::new(z_spec));
    columns.push(Arc::new(parent));
    let observed: Vec<bool> = cells.iter().map(|row| row.position.is_some()).collect();
    let nulls = survey
        .has_withdrawals
        .then(|| NullBuffer::from(observed.clone()));
    columns.push(Arc::new(cutouts(survey.side_px, pixels, nulls)?));
    if survey.has_withdrawals {
        let deleted: BooleanArray = observed.iter().map(|&observed| Some(!observed)).collect();
        columns.push(Arc::new(deleted));
    }
    Ok(RecordBatch::try_new(image_schema(survey), columns)?)
}

fn fill_row(survey: &Survey, drop: &ImageDrop, row: Row, cutout: &mut [f32]) -> Cells {
    let object_id = survey.object_id(row.object);
    if row.kind == RowKind::Withdrawal {
        return Cells {
            object_id,
            position: None,
            mags: None,
            z_spec: None,
            parent: None,
        };
    }
    let truth = survey.truth(row.object);
    survey.render(row.object, drop.number, &truth, cutout);
    let mut cells = observed_cells(object_id, &truth, row.kind);
    if let RowKind::New { fault: Some(fault) } = row.kind {
        spoil(fault, &mut cells, cutout);
    }
    cells
}

fn observed_cells(object_id: i64, truth: &Truth, kind: RowKind) -> Cells {
    let galaxy = &truth.draw.galaxy;
    let mags = match kind {
        RowKind::Correction => truth.draw.mags_improved,
        RowKind::New { .. } | RowKind::Withdrawal => galaxy.mags,
    };
    Cells {
        object_id,
        position: Some((truth.ra_deg, truth.dec_deg)),
        mags: Some(mags.map(|mag| mag as f32)),
        z_spec: truth.has_z_spec.then_some(galaxy.z_spec as f32),
        parent: Some(truth.draw.parent as i32),
    }
}

fn spoil(fault: Fault, cells: &mut Cells, cutout: &mut [f32]) {
    let middle = cutout.len() / 2;
    match fault {
        Fault::PixelNan => cutout[middle] = f32::NAN,
        Fault::PixelInfinite => cutout[middle] = f32::INFINITY,
        Fault::MagMissing => cells.mags = cells.mags.map(|[_, g, r, i, z]| [-9999.0, g, r, i, z]),
        Fault::MagZero => cells.mags = cells.mags.map(|[u, g, r, i, _]| [u, g, r, i, 0.0]),
        Fault::DecOffSky => cells.position = cells.position.map(|(ra_deg, _)| (ra_deg, 95.0)),
        Fault::RaNan => cells.position = cells.position.map(|(_, dec_deg)| (f64::NAN, dec_deg)),
    }
}

/// How many rows of an image batch were observed and have no spec-z.
pub fn rows_without_spec_z(batch: &RecordBatch) -> u64 {
    let nulls = |name| {
        batch
            .column_by_name(name)
            .map_or(0, |column| column.null_count())
    };
    (nulls("z_spec") - nulls("cutout")) as u64
}
