//! Judge each row once: predict it, withdraw its object, learn from it, or reject it with a reason.
use arrow::array::Array;
use connectors::{
    galaxy::{BANDS, FileKind, Galaxies},
    part::{Door, is_redshift},
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
}

/// Rows, each with the door it leaves through.
#[derive(Debug)]
pub struct Judged {
    /// The rows.
    pub rows: Rows,
    /// One for each of them.
    pub doors: Vec<Door>,
}

/// Judges rows.
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
    rows.tally.validate_seconds += (clock() - began).as_secs_f64();
    Judged { rows, doors }
}

/// The door of each row.
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
                FileKind::SpecZ => check_z_spec(galaxies, row).map(|()| Door::Learned),
                FileKind::Galaxies => check_galaxy(galaxies, row, rules).map(|()| Door::Predicted),
            };
            verdict.unwrap_or_else(Door::Rejected)
        })
        .collect()
}

fn check_z_spec(galaxies: &Galaxies, row: usize) -> Result<(), String> {
    if galaxies.z_spec.is_null(row) {
        return Err("z_spec is null: the row teaches nothing".to_owned());
    }
    match galaxies.z_spec.value(row) {
        z if is_redshift(z) => Ok(()),
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
    if !cutout.is_finite() {
        return Err("cutout has a pixel that is not finite".to_owned());
    }
    Ok(())
}
