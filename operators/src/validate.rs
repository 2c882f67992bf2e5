//! Judges each row once: it is predicted, withdraws its object, teaches a spec-z, or is rejected with a [`RejectReason`].
use arrow::array::Array;
use connectors::{
    galaxy::{EBV_MAX, FLUX_MAX_NMGY, FileKind, Galaxies},
    part::{BLANK_BAND, Door, RejectReason, Z_SPEC_IGNORED},
    sky,
};
use models::{CutoutNeeds, Needs};
use timely::dataflow::{channels::pact::Pipeline, operators::generic::Operator};

use crate::{Clock, Failure, Flow, ReadRows, unlike::flags_of_unlike};

/// The rules that a row is judged by.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The inputs that the model needs. Only these are judged.
    pub needs: Needs,
    /// Magnitudes (AB) lie above this limit: tables write 0 or -9999 for a missing magnitude.
    pub mag_min: f32,
    /// Magnitudes (AB) lie below this limit.
    pub mag_max: f32,
    /// The smallest z_spec that counts as a redshift.
    pub z_spec_min: f32,
    /// The largest z_spec that counts as a redshift: many tables write 99 or 9999 for a missing redshift.
    pub z_spec_max: f32,
}

impl Rules {
    /// Whether a z_spec counts as a redshift. Many tables write exactly 0 for a missing redshift, so 0 never counts.
    pub fn is_redshift(&self, z_spec: f32) -> bool {
        // No range contains NaN.
        (self.z_spec_min..=self.z_spec_max).contains(&z_spec) && z_spec != 0.0
    }
}

/// The rows of a chunk, each with the door it leaves through.
#[derive(Debug)]
pub struct Judged {
    /// The rows.
    pub rows: ReadRows,
    /// The door of each row.
    pub doors: Vec<Door>,
    /// The bits of `z_flags` of each row that do not depend on its prediction; 0 for rows that are not predicted.
    pub flags: Vec<i32>,
}

/// Judges rows.
///
/// Two galaxies go in; the second has a declination of 95 degrees:
/// ```
/// # mod night { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doctest/night.rs")); }
/// # use night::{Night, rules};
/// use connectors::part::Door;
/// use hubbleflow_operators::{Read, Validate};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let night = Night::of_two_galaxies();
/// # let (splits, reader) = (night.splits().collect::<Vec<_>>(), night.reader());
///
/// timely::example(move |scope| {
///     let splits = splits.to_stream(scope).container::<Vec<_>>();
///     splits.read(&reader).validate(rules(), reader.clock).inspect(|judged| {
///         let doors = &judged.as_ref().unwrap().doors;
///         assert_eq!(doors[0], Door::Predicted);
///         assert_eq!(doors[1], Door::Rejected("ra 180, dec 95 is no position on the sky, in degrees".to_owned()));
///     });
/// });
/// ```
pub trait Validate<'s> {
    /// Judges each row with [`judge`], on the worker that read it. A [`Failure`] passes through.
    fn validate(self, rules: Rules, clock: Clock) -> Flow<'s, Result<Judged, Failure>>;
}

impl<'s> Validate<'s> for Flow<'s, Result<ReadRows, Failure>> {
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

fn judge_rows(mut rows: ReadRows, rules: &Rules, clock: Clock) -> Judged {
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
/// # use connectors::{galaxy::{FileKind, Layout, MagRequest, Request}, part::Door};
/// # use models::Needs;
/// use hubbleflow_operators::{Rules, validate::judge};
/// # let mut columns: Vec<(&str, ArrayRef)> = vec![
/// #     ("object_id", Arc::new(Int64Array::from(vec![1, 2]))),
/// #     ("ra", Arc::new(Float64Array::from(vec![180.0, 180.0]))),
/// #     ("dec", Arc::new(Float64Array::from(vec![20.0, 95.0]))),
/// # ];
/// # for mag in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z"] {
/// #     columns.push((mag, Arc::new(Float32Array::from(vec![17.0, 17.0]))));
/// # }
/// # let batch = RecordBatch::try_from_iter(columns).unwrap();
/// # let request = Request { mags: MagRequest::required(["u", "g", "r", "i", "z"], "r"), ..Request::default() };
/// # let galaxies = Layout::resolve(batch.schema_ref(), &request).unwrap().decode(&batch).unwrap();
///
/// let needs = Needs::of_mags(["u", "g", "r", "i", "z"]);
/// let rules = Rules { needs, mag_min: 0.0, mag_max: 40.0, z_spec_min: -0.01, z_spec_max: 10.0 };
/// // Two galaxies; the second has a declination of 95 degrees.
/// let doors = judge(&galaxies, FileKind::Galaxies, &rules);
/// assert_eq!(doors[0], Door::Predicted);
/// assert_eq!(doors[1], Door::Rejected("ra 180, dec 95 is no position on the sky, in degrees".to_owned()));
/// ```
pub fn judge(galaxies: &Galaxies, kind: FileKind, rules: &Rules) -> Vec<Door> {
    (0..galaxies.rows)
        .map(|row| {
            if galaxies.object_id.is_null(row) {
                return RejectReason::IdNull.into();
            }
            if galaxies.deleted.value(row) {
                return Door::Withdrawn;
            }
            let verdict = match kind {
                FileKind::SpecZ => check_z_spec(galaxies, row, rules).map(|()| Door::Learned),
                FileKind::Galaxies => check_galaxy(galaxies, row, rules).map(|()| Door::Predicted),
            };
            verdict.unwrap_or_else(Door::from)
        })
        .collect()
}

/// The bits of `z_flags` of each row that do not depend on its prediction, by the doors that [`judge`] gave.
pub fn flags(galaxies: &Galaxies, doors: &[Door], rules: &Rules) -> Vec<i32> {
    let of_predicted = |row: usize| {
        let mut flags = 0;
        let z_spec = galaxies
            .z_spec
            .is_valid(row)
            .then(|| galaxies.z_spec.value(row));
        // Null and NaN mean a missing spec-z. Any other value that is ignored sets a flag.
        if z_spec.is_some_and(|z| !z.is_nan() && !rules.is_redshift(z)) {
            flags |= Z_SPEC_IGNORED;
        }
        let cutout = galaxies.cutouts.as_ref().map(|cutouts| cutouts.get(row));
        if let Some(needs) = &rules.needs.cutouts
            && let Some(Ok(cutout)) = cutout
            && cutout.blank_bands(needs.px) > 0
        {
            flags |= BLANK_BAND;
        }
        flags | flags_of_unlike(galaxies, row, &rules.needs)
    };
    let rows = doors.iter().enumerate();
    rows.map(|(row, door)| match door {
        Door::Predicted => of_predicted(row),
        _ => 0,
    })
    .collect()
}

fn check_z_spec(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), RejectReason> {
    if galaxies.z_spec.is_null(row) {
        return Err(RejectReason::ZSpecNull);
    }
    match galaxies.z_spec.value(row) {
        z if rules.is_redshift(z) => Ok(()),
        z_spec => Err(RejectReason::ZSpecNotRedshift { z_spec }),
    }
}

fn check_galaxy(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), RejectReason> {
    for (column, values) in [("ra", &galaxies.ra), ("dec", &galaxies.dec)] {
        if values.is_null(row) {
            return Err(RejectReason::PositionNull { column });
        }
    }
    let (ra_deg, dec_deg) = (galaxies.ra.value(row), galaxies.dec.value(row));
    if !sky::on_sky(ra_deg, dec_deg) {
        return Err(RejectReason::PositionOffSky { ra_deg, dec_deg });
    }
    if rules.needs.mags_required {
        check_mags(galaxies, row, rules)?;
    }
    if rules.needs.embedding_width.is_some() {
        let embeddings = galaxies.embeddings.as_ref();
        let embeddings = embeddings.ok_or(RejectReason::NoEmbeddings)?;
        let checked = embeddings.check(row);
        checked.map_err(RejectReason::EmbeddingFaulty)?;
    }
    if let Some(needs) = &rules.needs.cutouts {
        check_cutout(galaxies, row, needs)?;
    }
    if !rules.needs.dereddening.is_empty() {
        check_ebv(galaxies, row)?;
    }
    Ok(())
}

fn check_ebv(galaxies: &Galaxies, row: usize) -> Result<(), RejectReason> {
    if galaxies.ebv.is_null(row) {
        return Err(RejectReason::EbvNull);
    }
    match galaxies.ebv.value(row) {
        ebv if (0.0..=EBV_MAX).contains(&ebv) => Ok(()),
        ebv => Err(RejectReason::EbvOutOfRange { ebv }),
    }
}

fn check_mags(galaxies: &Galaxies, row: usize, rules: &Rules) -> Result<(), RejectReason> {
    let mags = galaxies.mags.as_ref().ok_or(RejectReason::NoMags)?;
    if let Some(fault) = galaxies.mag_faults.get(&row) {
        let fault = fault.clone();
        return Err(RejectReason::MagsFaulty { fault });
    }
    let (mag_min, mag_max) = (rules.mag_min, rules.mag_max);
    for (band, values) in rules.needs.mags.iter().zip(mags) {
        if values.is_null(row) {
            let band = band.clone();
            return Err(RejectReason::MagNull { band });
        }
        let mag = values.value(row);
        // This comparison is false for NaN, so NaN is out of range.
        if !(mag > mag_min && mag < mag_max) {
            return Err(RejectReason::MagOutOfRange {
                band: band.clone(),
                mag,
                mag_min,
                mag_max,
            });
        }
    }
    Ok(())
}

fn check_cutout(galaxies: &Galaxies, row: usize, needs: &CutoutNeeds) -> Result<(), RejectReason> {
    let cutouts = galaxies.cutouts.as_ref().ok_or(RejectReason::NoCutouts)?;
    let cutout = cutouts.get(row).map_err(RejectReason::CutoutFaulty)?;
    let (side_px, model_px) = (cutout.side_px(), needs.px);
    if side_px < model_px {
        return Err(RejectReason::CutoutSmall { side_px, model_px });
    }
    let flux_nmgy = cutout.flux_abs_max();
    if !flux_nmgy.is_finite() {
        return Err(RejectReason::PixelNotFinite);
    }
    if flux_nmgy > FLUX_MAX_NMGY {
        return Err(RejectReason::PixelNotFlux { flux_nmgy });
    }
    if cutout.blank_bands(model_px) == cutout.bands() {
        return Err(RejectReason::CutoutBlank);
    }
    Ok(())
}
