//! Judge each row once: predict it, withdraw its object, learn from it, or reject it with a reason.
use arrow::array::Array;
use connectors::{
    galaxy::{BANDS, FLUX_MAX_NMGY, FileKind, Galaxies},
    part::{BLANK_BAND, Door, Z_SPEC_IGNORED},
    sky,
};
use models::Needs;
use timely::dataflow::{channels::pact::Pipeline, operators::generic::Operator};

use crate::{Clock, Failure, Flow, Rows};

/// What a row must have to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What the model looks at; the rest is not judged.
    pub needs: Needs,
    /// The side of the model's cutouts, in pixels.
    pub cutout_px: usize,
    /// Magnitudes lie above this: 0 and -9999 are how tables say "none".
    pub mag_min: f32,
    /// Magnitudes lie below this.
    pub mag_max: f32,
    /// The smallest redshift that a z_spec may be.
    pub z_spec_min: f32,
    /// The largest redshift that a z_spec may be: many tables write 99 or 9999 for a missing redshift.
    pub z_spec_max: f32,
}

impl Rules {
    /// Whether a z_spec is a redshift. Many tables write exactly 0 for a missing redshift, so 0 never counts.
    pub fn is_redshift(&self, z_spec: f32) -> bool {
        // NaN is in no range.
        (self.z_spec_min..=self.z_spec_max).contains(&z_spec) && z_spec != 0.0
    }
}

/// Rows, each with the door it leaves through.
#[derive(Debug)]
pub struct Judged {
    /// The rows.
    pub rows: Rows,
    /// One for each of them.
    pub doors: Vec<Door>,
    /// The bits of `z_flags` that the predicted rows get; 0 for the other rows.
    pub flags: Vec<i32>,
}

/// Judges rows.
/// [`judge`] tells the doors; what has failed already passes through.
pub trait Validate<'s> {
    /// Judges each row by the rules, on the worker that read it.
    fn validate(self, rules: Rules, clock: Clock) -> Flow<'s, Result<Judged, Failure>>;
}

impl<'s> Validate<'s> for Flow<'s, Result<Rows, Failure>> {
    fn validate(self, rules: Rules, clock: Clock) -> Flow<'s, Result<Judged, Failure>> {
        self.unary(Pipeline, "Validate", move |_capability, _info| {
            move |input, output| {
                input.for_each_time(|time, data| {
                    let mut session = output.session(&time);
                    for rows in data.flat_map(|items| items.drain(..)) {
                        session.give(rows.map(|rows| judge_rows(rows, &rules, clock)));
                    }
                });
            }
        })
    }
}

fn judge_rows(mut rows: Rows, rules: &Rules, clock: Clock) -> Judged {
    let began = clock();
    let doors = judge(&rows.chunk.galaxies, rows.split.kind, rules);
    let flags = flags(&rows.chunk.galaxies, &doors, rules);
    rows.tally.validate_seconds += (clock() - began).as_secs_f64();
    Judged { rows, doors, flags }
}

/// The door of each row.
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch};
/// # use connectors::{galaxy::{ColumnNames, FileKind, Layout, Request}, part::Door};
/// # use models::Needs;
/// use operators::{Rules, validate::judge};
/// # let mut columns: Vec<(&str, ArrayRef)> = vec![
/// #     ("object_id", Arc::new(Int64Array::from(vec![1, 2]))),
/// #     ("ra", Arc::new(Float64Array::from(vec![180.0, 180.0]))),
/// #     ("dec", Arc::new(Float64Array::from(vec![20.0, 95.0]))),
/// # ];
/// # for mag in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"] {
/// #     columns.push((mag, Arc::new(Float32Array::from(vec![17.0, 17.0]))));
/// # }
/// # let batch = RecordBatch::try_from_iter(columns).unwrap();
/// # let request = Request { names: ColumnNames::default(), keep: vec![], needs_cutouts: false, needs_mags: true, cutout_px: 1 };
/// # let galaxies = Layout::resolve(batch.schema_ref(), &request).unwrap().decode(&batch).unwrap();
///
/// let needs = Needs { cutouts: false, mags: true };
/// let rules = Rules { needs, cutout_px: 32, mag_min: 0.0, mag_max: 40.0, z_spec_min: -0.01, z_spec_max: 10.0 };
/// // Two galaxies; the second has a declination of 95 degrees.
/// let doors = judge(&galaxies, FileKind::Galaxies, &rules);
/// assert_eq!(doors[0], Door::Predicted);
/// assert_eq!(doors[1], Door::Rejected("ra 180, dec 95 is no position on the sky, in degrees".to_owned()));
/// ```
pub fn judge(galaxies: &Galaxies, kind: FileKind, rules: &Rules) -> Vec<Door> {
    (0..galaxies.rows)
        .map(|row| {
            if galaxies.object_id.is_null(row) {
                return Door::Rejected("object_id is null".to_owned());
            }
            if galaxies.deleted.value(row) {
                return Door::Withdrawn;
            }
            let verdict = match kind {
                FileKind::SpecZ => check_z_spec(galaxies, row, rules).map(|()| Door::Learned),
                FileKind::Galaxies => check_galaxy(galaxies, row, rules).map(|()| Door::Predicted),
            };
            verdict.unwrap_or_else(Door::Rejected)
        })
        .collect()
}

/// The bits of `z_flags` of each row, by the doors that [`judge`] gave.
pub fn flags(galaxies: &Galaxies, doors: &[Door], rules: &Rules) -> Vec<i32> {
    let of_predicted = |row: usize| {
        let mut flags = 0;
        let z_spec = galaxies
            .z_spec
            .is_valid(row)
            .then(|| galaxies.z_spec.value(row));
        // Null and NaN say that there is no spec-z; any other value that is ignored is worth a flag.
        if z_spec.is_some_and(|z| !z.is_nan() && !rules.is_redshift(z)) {
            flags |= Z_SPEC_IGNORED;
        }
        let cutout = galaxies.cutouts.as_ref().map(|cutouts| cutouts.get(row));
        if rules.needs.cutouts
            && let Some(Ok(cutout)) = cutout
            && cutout.blank_bands(rules.cutout_px) > 0
        {
            flags |= BLANK_BAND;
        }
        flags
    };
    let rows = doors.iter().enumerate();
    rows.map(|(row, door)| match door {
        Door::Predicted => of_predicted(row),
        _ => 0,
    })
    .collect()
}

fn check_z_spec(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), String> {
    if galaxies.z_spec.is_null(row) {
        return Err("z_spec is null: the row teaches nothing".to_owned());
    }
    match galaxies.z_spec.value(row) {
        z if rules.is_redshift(z) => Ok(()),
        z => Err(format!("z_spec is {z}, which is no redshift")),
    }
}

fn check_galaxy(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), String> {
    for (name, values) in [("ra", &galaxies.ra), ("dec", &galaxies.dec)] {
        if values.is_null(row) {
            return Err(format!("{name} is null"));
        }
    }
    let (ra, dec) = (galaxies.ra.value(row), galaxies.dec.value(row));
    if !sky::on_sky(ra, dec) {
        return Err(format!(
            "ra {ra}, dec {dec} is no position on the sky, in degrees"
        ));
    }
    if rules.needs.mags {
        check_mags(galaxies, row, rules)?;
    }
    if rules.needs.cutouts {
        check_cutout(galaxies, row, rules)?;
    }
    Ok(())
}

fn check_mags(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), String> {
    let mags = galaxies.mags.as_ref().ok_or("the file has no magnitudes")?;
    if let Some(fault) = galaxies.mag_faults.get(&row) {
        return Err(fault.clone());
    }
    for (band, values) in BANDS.iter().zip(mags) {
        if values.is_null(row) {
            return Err(format!("mag_{band} is null"));
        }
        let mag = values.value(row);
        // Written so that NaN is out of range too.
        if !(mag > rules.mag_min && mag < rules.mag_max) {
            let (min, max) = (rules.mag_min, rules.mag_max);
            return Err(format!("mag_{band} is {mag}, not between {min} and {max}"));
        }
    }
    Ok(())
}

fn check_cutout(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), String> {
    let cutouts = galaxies.cutouts.as_ref().ok_or("the file has no cutouts")?;
    let cutout = cutouts.get(row).map_err(|fault| fault.to_string())?;
    if cutout.side_px() < rules.cutout_px {
        let (side, px) = (cutout.side_px(), rules.cutout_px);
        return Err(format!(
            "cutout is {side}x{side} pixels, and the model looks at {px}x{px}"
        ));
    }
    let brightest = cutout.flux_abs_max();
    if !brightest.is_finite() {
        return Err("cutout has a pixel that is not finite".to_owned());
    }
    if brightest > FLUX_MAX_NMGY {
        return Err(format!(
            "cutout has a pixel of {brightest:e} nanomaggies, which is no flux: more than {FLUX_MAX_NMGY:e}"
        ));
    }
    if cutout.blank_bands(rules.cutout_px) == BANDS.len() {
        return Err("cutout is blank: each of its bands has one value in all pixels".to_owned());
    }
    Ok(())
}
