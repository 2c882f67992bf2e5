//! Compares a row with the rows that the model was trained on.
use arrow::array::Array;
use connectors::{
    galaxy::Galaxies,
    part::{FLUX_MISMATCH, OUTSIDE_TRAINING},
};
use models::{Needs, TrainingInputs, Unlike};

/// The flags of a row to predict that is unlike the rows of the model's training; 0 if the model does not say what they were
/// like.
pub(crate) fn flags_of_unlike(galaxies: &Galaxies, row: usize, needs: &Needs) -> i32 {
    let Some(training_inputs) = &needs.training_inputs else {
        return 0;
    };
    let mags = match (&training_inputs.mags, &galaxies.mags) {
        (Some(_), Some(mags)) => mags.iter().map(|band| band.value(row)).collect(),
        _ => Vec::new(),
    };
    let reference = galaxies.reference_mag.as_ref();
    let reference = reference.filter(|mags| mags.is_valid(row));
    let fluxes = fluxes_nmgy(galaxies, row, needs, training_inputs);
    let reference = reference.map(|mags| mags.value(row));
    let Unlike {
        outside_training,
        flux_mismatch,
    } = training_inputs.compare(&mags, reference, &fluxes);
    let flag = |is_set: bool, flag: i32| if is_set { flag } else { 0 };
    flag(outside_training, OUTSIDE_TRAINING) | flag(flux_mismatch, FLUX_MISMATCH)
}

/// The flux of each band in the aperture, and then in its core, corrected for dust if the model corrects its cutouts; empty if
/// the model compares no cutouts.
fn fluxes_nmgy(
    galaxies: &Galaxies,
    row: usize,
    needs: &Needs,
    training_inputs: &TrainingInputs,
) -> Vec<f64> {
    let cutout = galaxies.cutouts.as_ref().map(|cutouts| cutouts.get(row));
    let (Some(apertures), Some(of_model), Some(Ok(cutout))) =
        (&training_inputs.apertures, &needs.cutouts, cutout)
    else {
        return Vec::new();
    };
    let factors: Vec<f32> = needs.dereddening_factors(galaxies.ebv.value(row)).collect();
    let mut fluxes = Vec::with_capacity(2 * cutout.bands());
    for side_px in apertures.sides_px() {
        let side_px = side_px.min(of_model.px);
        fluxes.extend((0..cutout.bands()).map(|band| {
            let factor = factors.get(band).copied().unwrap_or(1.0);
            cutout.flux_nmgy(band, of_model.px, side_px, factor)
        }));
    }
    fluxes
}
