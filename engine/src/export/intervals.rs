//! Calibrates the intervals of exported rows, with the shifts of the calibration as of the exported entry.
//!
//! | column | value |
//! |---|---|
//! | `z_low68` `z_high68` | `[z_low68 - shift_68 (1 + z_phot), z_high68 + shift_68 (1 + z_phot)]` |
//! | `z_low95` `z_high95` | the same with `shift_95` |
//!
//! An interval that the model does not give begins and ends at z_phot. The bounds are null if there is no shift.
use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float32Array, RecordBatch},
    datatypes::{DataType, Field, FieldRef, Float32Type, Metadata, Schema, SchemaRef},
};
use connectors::{Ledger, Output, galaxy::mag_column, part::INTERVAL_BOUNDS};
use operators::metrics::{Calibration, Slice};
use parquet::file::metadata::KeyValue;
use serde::Serialize;

use crate::{Error, OutputError, status::metrics};

/// What the columns of the bounds are: UCD and description. The bounds of an interval lie side by side.
const DESCRIBED: [(&str, &str); 4] = [
    (
        "src.redshift.phot;stat.min",
        "lower bound of the calibrated interval for 68% of the objects",
    ),
    (
        "src.redshift.phot;stat.max",
        "upper bound of the calibrated interval for 68% of the objects",
    ),
    (
        "src.redshift.phot;stat.min",
        "lower bound of the calibrated interval for 95% of the objects",
    ),
    (
        "src.redshift.phot;stat.max",
        "upper bound of the calibrated interval for 95% of the objects",
    ),
];
const Z_PHOT: &str = "z_phot";
/// The key of the calibration in the metadata of a file.
const NOTE: &str = "hubbleflow.calibration";

/// The calibration as of an entry.
#[derive(Serialize)]
pub(super) struct Intervals {
    /// The number of the entry.
    sequence: u64,
    #[serde(flatten)]
    calibration: Calibration,
}

impl Intervals {
    /// Reads the calibration as of an entry, or computes it if its file is missing.
    pub async fn as_of(output: &Output, ledger: &Ledger, sequence: u64) -> Result<Self, Error> {
        let metrics = metrics(output, ledger, sequence).await;
        let metrics = metrics.map_err(|reason| OutputError::NotCalibrated {
            out: output.location().url.clone(),
            reason,
        })?;
        // Without a committed drop there are no metrics, and no rows to calibrate.
        let metrics = metrics.map(|metrics| (metrics.sequence, metrics.calibration));
        let (sequence, calibration) = metrics.unwrap_or((sequence, Calibration::default()));
        Ok(Self {
            sequence,
            calibration,
        })
    }

    /// The entry, and each cell of the calibration with its number of objects and its shifts, as metadata of a file.
    pub fn note(&self) -> KeyValue {
        let text = serde_json::to_string(self).expect("invariant: shifts are plain data");
        KeyValue::new(NOTE.to_owned(), text)
    }

    /// Puts the calibrated bounds in the place of the model's own. The columns are those of [`calibrated_schema`].
    pub fn calibrate(&self, rows: &RecordBatch) -> Result<RecordBatch, String> {
        let bounds = self.bounds(rows)?;
        let schema = calibrated_schema(rows.schema_ref());
        let column = |field: &FieldRef| match place_of(field) {
            Some(place) => bounds[place].clone(),
            None => rows[field.name().as_str()].clone(),
        };
        let columns = schema.fields().iter().map(column).collect();
        RecordBatch::try_new(schema.clone(), columns).map_err(|error| error.to_string())
    }

    fn bounds(&self, rows: &RecordBatch) -> Result<[ArrayRef; 4], String> {
        let z_phot = floats(rows, Z_PHOT)?.ok_or("there is no column z_phot")?;
        let band = self.calibration.by_mag.band.as_deref();
        let mags = match band.map(mag_column) {
            Some(name) => floats(rows, &name)?,
            None => None,
        };
        let mut own = [None; 4];
        for (own, (name, ..)) in own.iter_mut().zip(INTERVAL_BOUNDS) {
            *own = floats(rows, name)?;
        }
        let mut of_bins = BTreeMap::new();
        let mut bounds = [(); 4].map(|()| Vec::with_capacity(rows.num_rows()));
        for row in 0..rows.num_rows() {
            let mag = value(mags, row).filter(|mag| !mag.is_nan());
            let bin = mag.map(Slice::of_mag_ab);
            let shifts = of_bins.entry(bin).or_insert_with(|| {
                let shift = self.calibration.shift(bin);
                [shift.shift_68, shift.shift_95]
            });
            for (interval, shift) in shifts.iter().enumerate() {
                let [low, high] = [2 * interval, 2 * interval + 1];
                let own = value(own[low], row).zip(value(own[high], row));
                let calibrated = calibrated(value(Some(z_phot), row), own, *shift);
                bounds[low].push(calibrated.map(|[low, _]| low));
                bounds[high].push(calibrated.map(|[_, high]| high));
            }
        }
        Ok(bounds.map(|bounds| Arc::new(Float32Array::from(bounds)) as ArrayRef))
    }
}

/// The calibrated interval of an object, from its z_phot and the interval that its model gives.
fn calibrated(
    z_phot: Option<f32>,
    own: Option<(f32, f32)>,
    shift: Option<f64>,
) -> Option<[f32; 2]> {
    // An object with a redshift of -1 or less has no score either.
    let z_phot = z_phot.filter(|z| *z > -1.0)?;
    let (low, high) = own.unwrap_or((z_phot, z_phot));
    let shift = shift? * (1.0 + f64::from(z_phot));
    Some([f64::from(low) - shift, f64::from(high) + shift].map(|bound| bound as f32))
}

/// The columns of an export of a file with these columns: the bounds follow z_phot, and are described as calibrated.
pub(super) fn calibrated_schema(file: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in file
        .fields()
        .iter()
        .filter(|field| place_of(field).is_none())
    {
        fields.push(field.clone());
        if field.name() == Z_PHOT {
            let columns = INTERVAL_BOUNDS.into_iter().zip(DESCRIBED);
            fields.extend(columns.map(|((name, _), (ucd, description))| {
                let facts = Metadata::from_iter([("ucd", ucd), ("description", description)]);
                Arc::new(Field::new(name, DataType::Float32, true).with_metadata(facts))
            }));
        }
    }
    Arc::new(Schema::new_with_metadata(fields, file.metadata().clone()))
}

/// The place of a column among the bounds.
fn place_of(field: &FieldRef) -> Option<usize> {
    INTERVAL_BOUNDS
        .iter()
        .position(|(name, ..)| field.name() == name)
}

/// The column of this name, if there is one.
fn floats<'a>(rows: &'a RecordBatch, name: &str) -> Result<Option<&'a Float32Array>, String> {
    let Some(column) = rows.column_by_name(name) else {
        return Ok(None);
    };
    let floats = column.as_primitive_opt::<Float32Type>();
    let wrong = || format!("column {name} has type {}, not Float32", column.data_type());
    floats.map(Some).ok_or_else(wrong)
}

fn value(column: Option<&Float32Array>, row: usize) -> Option<f32> {
    let column = column.filter(|column| column.is_valid(row))?;
    Some(column.value(row))
}
