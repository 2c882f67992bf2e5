//! The objects of a sample survey and their true properties.
//!
//! Objects are numbered from 0 in the order of their first observation. The properties of an object follow from its number,
//! in constant memory.

mod neighbours;
mod scene;

use std::ops::Range;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, StandardNormal};

use connectors::drop_writer::CutoutShape;

use crate::bands::{BANDS, SampleBands};
use crate::error::SampleError;
use crate::image_drop::{ImageDrop, RowKind, lay_out_drops};
use crate::mag_noise;
use crate::photometry::{Draw, Photometry};
use crate::settings::SampleSettings;
use crate::streams::{Purpose, Shuffle, key, stream, uniform};

/// Objects per square degree, as in the SDSS main galaxy sample.
const DENSITY_PER_DEG2: f64 = 90.0;

/// Right ascension of the footprint in degrees. Small surveys do not fill the footprint.
const FOOTPRINT_RA_DEG: Range<f64> = 120.0..240.0;

/// Declination of the footprint in degrees.
const FOOTPRINT_DEC_DEG: Range<f64> = 0.0..60.0;

/// The errors of a correction's magnitudes, in units of those of the first row.
const CORRECTED_ERRORS: f64 = 0.5;

/// Share of the objects that spec-z drops observe again if no object lacks a spec-z.
const REOBSERVED_SHARE: f64 = 0.1;

/// Error of a spec-z that is observed again, divided by 1 + z.
const REOBSERVED_ERROR: f64 = 1e-4;

/// The true properties of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Magnitudes, redshift and parent.
    pub draw: Draw,
    /// Right ascension in degrees.
    pub ra_deg: f64,
    /// Declination in degrees.
    pub dec_deg: f64,
    /// Galactic reddening E(B-V), by which cutouts are dimmed.
    pub reddening: f64,
    /// Whether image drops have the redshift of the object.
    pub has_z_spec: bool,
}

/// The whole survey.
#[derive(Debug)]
pub struct SampleSurvey {
    /// The drops with cutouts, in the order of delivery.
    pub image_drops: Vec<ImageDrop>,
    /// Number of spec-z drops that follow.
    pub specz_drops: u64,
    /// The bands of cutouts and magnitudes.
    pub bands: SampleBands,
    /// Side of a cutout.
    pub side_px: usize,
    /// Whether drops may withdraw objects.
    pub has_withdrawals: bool,
    photometry: Photometry,
    seed: u64,
    mag_noise: f64,
    objects: u64,
    without_spec_z: f64,
    ids: Shuffle,
}

impl SampleSurvey {
    /// Plans the survey, or returns an error if the settings are impossible.
    pub fn new(settings: &SampleSettings, photometry: Photometry) -> Result<Self, SampleError> {
        settings.check()?;
        Ok(Self {
            image_drops: lay_out_drops(settings)?,
            specz_drops: settings.specz_drops,
            bands: settings.bands.clone(),
            side_px: settings.px,
            has_withdrawals: settings.withdrawals > 0.0,
            photometry,
            seed: settings.seed,
            mag_noise: settings.mag_noise,
            objects: settings.galaxies,
            without_spec_z: settings.without_spec_z,
            ids: Shuffle::new(1 << 62, key(settings.seed, Purpose::ObjectId)),
        })
    }

    /// The shape of a cutout.
    pub fn cutout_shape(&self) -> CutoutShape {
        CutoutShape {
            bands: self.bands.count(),
            side_px: self.side_px,
        }
    }

    /// Number of real galaxies that the survey is drawn from.
    pub fn parents(&self) -> usize {
        self.photometry.parents()
    }

    /// The unique id of an object, scattered over 62 bits.
    pub fn object_id(&self, object: u64) -> i64 {
        self.ids.at(object) as i64
    }

    /// The true properties of an object.
    pub fn truth(&self, object: u64) -> Truth {
        let mut rng = stream(self.seed, Purpose::Truth, object);
        let draw = self.photometry.draw(&mut rng);
        let (ra_deg, dec_deg) = self.draw_position(&mut rng);
        let dust = Gamma::new(1.6, 0.021).expect("invariant: shape and scale are above 0");
        let reddening: f64 = dust.sample(&mut rng);
        Truth {
            draw,
            ra_deg,
            dec_deg,
            reddening: reddening.min(0.25),
            has_z_spec: uniform(self.seed, Purpose::HasSpecZ, object) >= self.without_spec_z,
        }
    }

    /// The magnitudes of a row in ugriz. `visit` is the number of the observation.
    pub fn measured_mags(
        &self,
        object: u64,
        visit: u64,
        truth: &Truth,
        kind: RowKind,
    ) -> [f64; BANDS] {
        let (mags, errors, visit) = match kind {
            RowKind::Correction => (&truth.draw.mags_improved, CORRECTED_ERRORS, visit),
            // The same in whichever drop an object comes first.
            RowKind::New { .. } | RowKind::Withdrawal => (&truth.draw.galaxy.mags, 1.0, 0),
        };
        let mut rng = stream(self.seed, Purpose::Magnitudes, object | visit << 44);
        mag_noise::measure(mags, errors * self.mag_noise, &mut rng)
    }

    /// The objects of spec-z drop `number` (from 0) with their redshifts.
    ///
    /// The objects without a spec-z in image drops are distributed at random. If every object has a spec-z, a tenth of the
    /// survey is observed again with an error of 1e-4 (1 + z).
    pub fn specz_rows(&self, number: u64) -> impl Iterator<Item = (u64, f32)> + '_ {
        let is_again = self.without_spec_z == 0.0;
        let share = if is_again { REOBSERVED_SHARE } else { 1.0 };
        let drops = self.specz_drops as f64;
        (0..self.objects)
            .filter(move |&object| {
                let lacks = uniform(self.seed, Purpose::HasSpecZ, object) < self.without_spec_z;
                let turn = uniform(self.seed, Purpose::SpecZ, object) / share * drops;
                (is_again || lacks) && turn as u64 == number
            })
            .map(move |object| {
                let z_spec = self.truth(object).draw.galaxy.z_spec;
                let error: f64 =
                    StandardNormal.sample(&mut stream(self.seed, Purpose::SpecZ, object));
                let scatter = if is_again { REOBSERVED_ERROR } else { 0.0 };
                (object, (z_spec + scatter * (1.0 + z_spec) * error) as f32)
            })
    }

    /// Draws right ascension and declination in degrees, uniform on the sphere in a field around the middle of the footprint.
    /// The area of the field follows from the density, up to the whole footprint.
    fn draw_position(&self, rng: &mut impl Rng) -> (f64, f64) {
        let sin_low = FOOTPRINT_DEC_DEG.start.to_radians().sin();
        let sin_high = FOOTPRINT_DEC_DEG.end.to_radians().sin();
        let width_deg = FOOTPRINT_RA_DEG.end - FOOTPRINT_RA_DEG.start;
        let footprint_deg2 = width_deg * (sin_high - sin_low).to_degrees();
        let filled = self.objects as f64 / DENSITY_PER_DEG2 / footprint_deg2;
        let scale = filled.sqrt().min(1.0);
        let mut across = || scale * rng.random_range(-0.5..0.5);
        let ra_deg = FOOTPRINT_RA_DEG.start + width_deg * (0.5 + across());
        let sin_dec = sin_low + (sin_high - sin_low) * (0.5 + across());
        (ra_deg, sin_dec.asin().to_degrees())
    }
}
