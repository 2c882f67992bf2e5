//! What the inputs of a training were like, so that rows unlike them get a flag. It changes no prediction.
//!
//! A row is a vector `v`: its magnitudes, and after them its aperture magnitudes, one for each band of the cutouts, of the
//! aperture and then of its core, a smaller aperture inside. An aperture magnitude is an asinh magnitude (Lupton, Gunn &
//! Szalay 1999, [arXiv:astro-ph/9903081]) of the flux `f` in the central pixels, corrected for dust if the model corrects
//! its cutouts. It exists for a flux of 0 or below too:
//! ```text
//! 22.5 - 2.5 / ln(10) (asinh(f / (2 softening)) + ln(softening))          f and softening in nanomaggies
//! ```
//! `w = matrix (v - mean)` has uncorrelated components of variance one. The matrix is the inverse of the Cholesky factor
//! of the covariance, so it is lower triangular, and the components mean something:
//!
//! | components of `w` | are the whitened | their norm is |
//! |---|---|---|
//! | the first, one for each magnitude | magnitudes | the distance of the magnitudes |
//! | the next, one for each band of the cutouts | deviations of the aperture magnitudes from those that go with such magnitudes | the distance of the apertures |
//! | the last, one for each band of the cutouts | deviations of the core's magnitudes from those that go with such magnitudes and apertures | the distance of the cores |
//!
//! Bright galaxies have bright cutouts, so the distance of the apertures says whether a cutout belongs to its magnitudes,
//! and the distance of the cores whether its light has the profile of a galaxy.
//!
//! No distance tells a star: galaxies scatter widely towards spread light, and a star is only a little more concentrated
//! than the most compact galaxy. So there is a limit to the share of the aperture's light that is in the core. The bands are
//! added in units of their noise:
//! ```text
//! sum over bands(f of the core / softening) / sum over bands(f of the aperture / softening)
//! ```
//!
//! [arXiv:astro-ph/9903081]: https://arxiv.org/abs/astro-ph/9903081

mod learn;
#[cfg(test)]
mod tests;

use std::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

pub(crate) use self::learn::Learned;
pub use self::learn::TRAINING_ROWS_MIN;
use crate::preprocess::one_each;

/// What the inputs of a training were like: the block `training_inputs` of `config.json`.
///
/// ```
/// use hubbleflow_models::TrainingInputs;
/// let inputs: TrainingInputs = serde_json::from_str(
///     r#"{"mags": {"reference": [14.0, 17.8], "distance_max": 4.0}, "mean": [17.0], "matrix": [[1.0]]}"#,
/// )?;
/// assert!(!inputs.compare(&[17.5], Some(17.5), &[]).outside_training);
/// assert!(inputs.compare(&[19.0], Some(19.0), &[]).outside_training);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingInputs {
    /// The magnitudes; `None` if the model does not predict from magnitudes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mags: Option<MagRange>,
    /// The centres of the cutouts; `None` if the model uses no cutouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apertures: Option<ApertureRange>,
    /// The mean of each magnitude, then of each aperture magnitude.
    pub mean: Vec<f64>,
    /// The matrix, by rows, that whitens deviations from the mean. It is lower triangular.
    pub matrix: Vec<Vec<f64>>,
}

/// The magnitudes of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MagRange {
    /// The magnitudes in the reference band between which nearly all rows lie: a hard limit does not show in a distance.
    pub reference: [f64; 2],
    /// The distance that a thousandth of the rows exceed.
    pub distance_max: f64,
}

/// The centres of the cutouts of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApertureRange {
    /// The side of the aperture, around the centre of the pixels that the model uses.
    pub side_px: usize,
    /// For each band, the flux below which an aperture shows noise, in nanomaggies.
    pub softening: Vec<f64>,
    /// The distance that a thousandth of the rows exceed.
    pub distance_max: f64,
    /// The cores of the apertures; `None` if nothing is known of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreRange>,
}

/// The cores of the apertures of a training: how concentrated the light is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreRange {
    /// The side of the core, smaller than that of the aperture and around the same centre.
    pub side_px: usize,
    /// The distance that a thousandth of the rows exceed.
    pub distance_max: f64,
    /// The share of the aperture's light in its core that a thousandth of the rows exceed.
    pub share_max: f64,
}

/// How a row differs from the rows of a training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unlike {
    /// The magnitudes are unlike all of them, or the light is more concentrated. For a model of cutouts alone, the centre of
    /// the cutout is unlike all of them.
    pub outside_training: bool,
    /// The flux in the centre of the cutout does not belong to the magnitudes.
    pub flux_mismatch: bool,
}

impl TrainingInputs {
    /// Compares a row with the rows of the training: by its magnitudes in the order of the model, the one in the reference
    /// band, and the flux in nanomaggies in the aperture of each band and then in the core of each band: the sides of
    /// [`ApertureRange::sides_px`]. What [`Self::mags`] or [`Self::apertures`] does not describe is left out.
    ///
    /// A value that is not finite is unlike any other.
    pub fn compare(&self, mags: &[f32], reference: Option<f32>, fluxes_nmgy: &[f64]) -> Unlike {
        let mut vector: Vec<f64> = mags.iter().copied().map(f64::from).collect();
        let apertures = self.apertures.as_ref();
        if let Some(apertures) = apertures {
            vector.extend(apertures.mags(fluxes_nmgy));
        }
        let [of_mags, of_apertures, of_cores] = self.distances(&vector);
        // No range contains NaN.
        let is_near = |distance, max| (0.0..=max).contains(&distance);
        let has_fitting_mags = self.mags.as_ref().is_none_or(|range| {
            let [bright, faint] = range.reference.map(|mag| mag as f32);
            let is_between = reference.is_some_and(|mag| (bright..=faint).contains(&mag));
            is_between && is_near(of_mags, range.distance_max)
        });
        let has_fitting_flux = apertures.is_none_or(|range| {
            let core = range.core.as_ref();
            is_near(of_apertures, range.distance_max)
                && core.is_none_or(|core| is_near(of_cores, core.distance_max))
        });
        let is_compact = apertures.is_some_and(|range| range.is_compact(fluxes_nmgy));
        match self.mags {
            Some(_) => Unlike {
                outside_training: !has_fitting_mags || is_compact,
                flux_mismatch: !has_fitting_flux,
            },
            None => Unlike {
                outside_training: !has_fitting_flux || is_compact,
                flux_mismatch: false,
            },
        }
    }

    /// The distances of a row: of its magnitudes, of its apertures and of their cores. NaN if the vector has not as many
    /// numbers as the mean.
    fn distances(&self, vector: &[f64]) -> [f64; 3] {
        if vector.len() != self.mean.len() {
            return [f64::NAN; 3];
        }
        let deviations: Vec<f64> = vector.iter().zip(&self.mean).map(|(v, m)| v - m).collect();
        let whitened = self.matrix.iter().enumerate().map(|(row, factors)| {
            let below = factors.iter().zip(&deviations).take(row + 1);
            below.map(|(factor, deviation)| factor * deviation).sum()
        });
        let whitened: Vec<f64> = whitened.collect();
        let apertures = self.apertures.as_ref();
        let [bands, sides] = apertures.map_or([0, 0], |range| {
            [range.softening.len(), range.sides_px().count()]
        });
        let mags = whitened.len().saturating_sub(bands * sides);
        let (of_mags, of_fluxes) = whitened.split_at(mags);
        let (of_apertures, of_cores) = of_fluxes.split_at(bands.min(of_fluxes.len()));
        [of_mags, of_apertures, of_cores].map(norm)
    }

    /// Checks that the parts fit each other and a model, and names the first that does not: a model that predicts from `mags`
    /// magnitudes and from cutouts of `cutouts`, bands and side in pixels.
    pub(crate) fn validate(
        &self,
        mags: usize,
        cutouts: Option<(usize, usize)>,
    ) -> Result<(), String> {
        if self.mags.is_none() && self.apertures.is_none() {
            return Err("`training_inputs` must have `mags`, `apertures` or both".to_owned());
        }
        let mut numbers = 0;
        if let Some(range) = &self.mags {
            range.validate(mags)?;
            numbers += mags;
        }
        if let Some(range) = &self.apertures {
            range.validate(cutouts)?;
            numbers += range.softening.len() * range.sides_px().count();
        }
        self.validate_whitening(numbers)
    }

    fn validate_whitening(&self, numbers: usize) -> Result<(), String> {
        let one_each = |name: &str, found: usize| match found == numbers {
            true => Ok(()),
            false => Err(format!(
                "`training_inputs.{name}` has {found} entries: it must have {numbers}, one for each magnitude of \
                 `training_inputs.mags`, for each band of `training_inputs.apertures`, and for each band of its `core`"
            )),
        };
        one_each("mean", self.mean.len())?;
        one_each("matrix", self.matrix.len())?;
        for (row, factors) in self.matrix.iter().enumerate() {
            one_each(&format!("matrix[{row}]"), factors.len())?;
            let is_triangular = factors[row + 1..].iter().all(|factor| *factor == 0.0);
            if !(is_triangular && factors[row] > 0.0) {
                return Err(format!(
                    "`training_inputs.matrix[{row}]` must be above 0 on the diagonal, and 0 beyond it"
                ));
            }
        }
        let mut all = self.mean.iter().chain(self.matrix.iter().flatten());
        match all.all(|number| number.is_finite()) {
            true => Ok(()),
            false => Err("`training_inputs`: every number must be finite".to_owned()),
        }
    }
}

impl MagRange {
    fn validate(&self, mags: usize) -> Result<(), String> {
        if mags == 0 {
            return Err(
                "`training_inputs.mags` is of a model that predicts from magnitudes, and this one does not".to_owned(),
            );
        }
        let [bright, faint] = self.reference;
        if !(bright.is_finite() && faint.is_finite() && bright <= faint) {
            return Err(
                "`training_inputs.mags.reference` must be two magnitudes, the brighter one first"
                    .to_owned(),
            );
        }
        is_limit("mags.distance_max", self.distance_max)
    }
}

impl ApertureRange {
    /// The sides of the squares whose flux is compared: of the aperture, and of its core.
    pub fn sides_px(&self) -> impl Iterator<Item = usize> {
        let core = self.core.as_ref().map(|core| core.side_px);
        std::iter::once(self.side_px).chain(core)
    }

    /// The asinh magnitudes of the fluxes in nanomaggies: for each side, one for each band.
    fn mags(&self, fluxes_nmgy: &[f64]) -> impl Iterator<Item = f64> {
        let of_sides = fluxes_nmgy.chunks(self.softening.len().max(1));
        of_sides.zip(self.sides_px()).flat_map(|(fluxes, side_px)| {
            // The noise of a sum is that of a pixel times the root of the number of pixels.
            let noise = side_px as f64 / self.side_px as f64;
            let of_bands = fluxes.iter().zip(&self.softening);
            of_bands.map(move |(flux, softening)| asinh_mag(*flux, softening * noise))
        })
    }

    /// The share of the aperture's light that is in its core; `None` if there is no light, or no core.
    fn core_share(&self, fluxes_nmgy: &[f64]) -> Option<f64> {
        let light = |fluxes: &[f64]| -> f64 {
            let of_bands = fluxes.iter().zip(&self.softening);
            of_bands.map(|(flux, softening)| flux / softening).sum()
        };
        let bands = self.softening.len();
        let (apertures, cores) = fluxes_nmgy.split_at_checked(bands)?;
        let of_aperture = light(apertures);
        (of_aperture > 0.0 && cores.len() == bands).then(|| light(cores) / of_aperture)
    }

    /// Whether the light is more concentrated than that of the training.
    fn is_compact(&self, fluxes_nmgy: &[f64]) -> bool {
        let share = self.core_share(fluxes_nmgy);
        let core = self.core.as_ref().zip(share);
        core.is_some_and(|(core, share)| share > core.share_max)
    }

    fn validate(&self, cutouts: Option<(usize, usize)>) -> Result<(), String> {
        let Some((bands, px)) = cutouts else {
            return Err(
                "`training_inputs.apertures` is of a model of cutouts, and this one uses none"
                    .to_owned(),
            );
        };
        if !(1..=px).contains(&self.side_px) {
            return Err(format!(
                "`training_inputs.apertures.side_px` is {}: it must be from 1 to the side of the cutout, {px}",
                self.side_px
            ));
        }
        let name = "training_inputs.apertures.softening";
        one_each(name, self.softening.len(), "bands", bands)?;
        if !self.softening.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(format!("`{name}`: every number must be above 0"));
        }
        is_limit("apertures.distance_max", self.distance_max)?;
        let core = self.core.as_ref();
        core.map_or(Ok(()), |core| core.validate(self.side_px))
    }
}

impl CoreRange {
    fn validate(&self, aperture_px: usize) -> Result<(), String> {
        if !(1..aperture_px).contains(&self.side_px) {
            return Err(format!(
                "`training_inputs.apertures.core.side_px` is {}: it must be from 1 to less than the side of the aperture, \
                 {aperture_px}",
                self.side_px
            ));
        }
        is_limit("apertures.core.distance_max", self.distance_max)?;
        is_limit("apertures.core.share_max", self.share_max)
    }
}

fn is_limit(name: &str, limit: f64) -> Result<(), String> {
    match limit.is_finite() && limit > 0.0 {
        true => Ok(()),
        false => Err(format!("`training_inputs.{name}` must be above 0")),
    }
}

/// The asinh magnitude of a flux; both in nanomaggies. It is the AB magnitude of a flux far above the softening.
fn asinh_mag(flux_nmgy: f64, softening_nmgy: f64) -> f64 {
    let scaled = (flux_nmgy / (2.0 * softening_nmgy)).asinh();
    22.5 - 2.5 / LN_10 * (scaled + softening_nmgy.ln())
}

fn norm(of: &[f64]) -> f64 {
    of.iter().map(|number| number * number).sum::<f64>().sqrt()
}
