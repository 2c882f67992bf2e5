//! The sample survey: which row of which drop is what, and what each object is.
//!
//! Objects are numbered from 0 in the order in which drops first observe them. A drop's rows are its
//! new objects, corrections of earlier ones and withdrawals of others, shuffled; spec-z drops come
//! after. Every question about a row is answered from its number alone, in constant memory.

use super::camera::{self, Source};
use super::morphology::Morphology;
use super::photometry::{Draw, Photometry};
use super::profile::Component;
use super::render::{Covariance, Position};
use super::streams::{Purpose, Shuffle, key, stream, uniform};
use super::{SampleArgs, SampleError};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma, Poisson, StandardNormal};
use std::ops::Range;

/// Objects to a square degree: those of the SDSS main galaxy sample.
const DENSITY_PER_DEG2: f64 = 90.0;

/// The footprint, which small surveys do not fill: right ascension in degrees.
const FOOTPRINT_RA_DEG: Range<f64> = 120.0..240.0;

/// The footprint in declination, in degrees.
const FOOTPRINT_DEC_DEG: Range<f64> = 0.0..60.0;

/// Galaxies do not lie on the middle of their frame to better than this.
const CENTRE_JITTER_PX: f64 = 0.35;

/// Share of the objects that are observed again for spec-z drops where none lacks a spec-z.
const REOBSERVED_SHARE: f64 = 0.1;

/// Error of a spec-z that is observed again, over 1 + z.
const REOBSERVED_ERROR: f64 = 1e-4;

/// A fault that makes a row unfit for prediction; the rows of a survey take them in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A pixel of the cutout is not a number.
    PixelNan,
    /// A pixel of the cutout is infinite.
    PixelInfinite,
    /// `mag_u` is -9999, as catalogs mark what was not measured.
    MagMissing,
    /// `mag_z` is 0.
    MagZero,
    /// The declination is 95 degrees.
    DecOffSky,
    /// The right ascension is not a number.
    RaNan,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::PixelNan,
        Self::PixelInfinite,
        Self::MagMissing,
        Self::MagZero,
        Self::DecOffSky,
        Self::RaNan,
    ];
}

/// What a row of an image drop says of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// The object is observed for the first time.
    New {
        /// What is wrong with the row.
        fault: Option<Fault>,
    },
    /// The object was observed before; noise and seeing are others, and the magnitudes improved.
    Correction,
    /// The object is no more.
    Withdrawal,
}

/// A row of an image drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The number of its object.
    pub object: u64,
    /// What it says.
    pub kind: RowKind,
}

/// An image drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageDrop {
    /// From 0, in the order of delivery.
    pub number: u64,
    /// The objects that it observes first.
    pub new_objects: Range<u64>,
    /// How many rows correct earlier objects.
    pub corrections: u64,
    /// How many rows withdraw earlier objects.
    pub withdrawals: u64,
    /// How many rows of new objects have a fault.
    pub bad_rows: u64,
    bad_rows_before: u64,
    rows_key: u64,
}

impl ImageDrop {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.news() + self.corrections + self.withdrawals
    }

    /// Row `number` of the drop.
    pub fn row(&self, number: u64) -> Row {
        let shuffle = |len, purpose| Shuffle::new(len, key(self.rows_key, purpose));
        let place = shuffle(self.rows(), Purpose::RowOrder).at(number);
        let Some(place_after_new) = place.checked_sub(self.news()) else {
            let bad_place = shuffle(self.news(), Purpose::BadRows).at(place);
            let fault = (bad_place < self.bad_rows).then(|| {
                let turn = (self.bad_rows_before + bad_place) % Fault::ALL.len() as u64;
                Fault::ALL[turn as usize]
            });
            return Row {
                object: self.new_objects.start + place,
                kind: RowKind::New { fault },
            };
        };
        let earlier = shuffle(self.new_objects.start, Purpose::Targets);
        let kind = if place_after_new < self.corrections {
            RowKind::Correction
        } else {
            RowKind::Withdrawal
        };
        Row {
            object: earlier.at(place_after_new),
            kind,
        }
    }

    fn news(&self) -> u64 {
        self.new_objects.end - self.new_objects.start
    }
}

/// What is true of an object, whoever looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Magnitudes, redshift and parent.
    pub draw: Draw,
    /// Right ascension in degrees.
    pub ra_deg: f64,
    /// Declination in degrees.
    pub dec_deg: f64,
    /// Galactic reddening E(B-V).
    pub reddening: f64,
    /// Whether image drops give its redshift.
    pub has_z_spec: bool,
}

/// The whole survey.
#[derive(Debug)]
pub struct Survey {
    /// The drops with cutouts, in the order of delivery.
    pub image_drops: Vec<ImageDrop>,
    /// How many spec-z drops follow.
    pub specz_drops: u64,
    /// Side of a cutout.
    pub side_px: usize,
    /// Whether rows can be withdrawn.
    pub has_withdrawals: bool,
    photometry: Photometry,
    seed: u64,
    objects: u64,
    without_spec_z: f64,
    ids: Shuffle,
}

impl Survey {
    /// Lays the survey out; fails where the arguments ask for what cannot be.
    pub fn new(args: &SampleArgs, photometry: Photometry) -> Result<Self, SampleError> {
        args.check()?;
        Ok(Self {
            image_drops: lay_out_drops(args)?,
            specz_drops: args.specz_drops,
            side_px: args.px,
            has_withdrawals: args.withdrawals > 0.0,
            photometry,
            seed: args.seed,
            objects: args.galaxies,
            without_spec_z: args.without_spec_z,
            ids: Shuffle::new(1 << 62, key(args.seed, Purpose::ObjectId)),
        })
    }

    /// How many real galaxies the survey draws from.
    pub fn parents(&self) -> usize {
        self.photometry.parents()
    }

    /// The id of an object: scattered over 62 bits, and no two alike.
    pub fn object_id(&self, object: u64) -> i64 {
        self.ids.at(object) as i64
    }

    /// What is true of an object.
    pub fn truth(&self, object: u64) -> Truth {
        let mut rng = stream(self.seed, Purpose::Truth, object);
        let draw = self.photometry.draw(&mut rng);
        let (ra_deg, dec_deg) = self.draw_position(&mut rng);
        let dust = Gamma::new(1.6, 0.021).expect("shape and scale are above 0");
        let reddening: f64 = dust.sample(&mut rng);
        Truth {
            draw,
            ra_deg,
            dec_deg,
            reddening: reddening.min(0.25),
            has_z_spec: uniform(self.seed, Purpose::HasSpecZ, object) >= self.without_spec_z,
        }
    }

    /// Renders one observation of an object into `cutout`, `[band, y, x]`, zeros at first.
    ///
    /// `visit` tells observations of the object apart: seeing and noise are drawn anew for each.
    pub fn render(&self, object: u64, visit: u64, truth: &Truth, cutout: &mut [f32]) {
        let mut observation = stream(self.seed, Purpose::Observation, object | visit << 44);
        let seeing = camera::draw_seeing(&mut observation);
        let scene = self.scene(object, truth);
        camera::expose(&scene, seeing, self.side_px, cutout);
        camera::add_noise(cutout, self.side_px, &mut observation);
    }

    /// What lies in an object's frame: the parts of the galaxy, then its neighbours.
    pub fn scene(&self, object: u64, truth: &Truth) -> Vec<Source> {
        let mut rng = stream(self.seed, Purpose::Shape, object);
        let galaxy = &truth.draw.galaxy;
        let morphology = Morphology::draw(galaxy, &mut rng);
        let mut jitter = || -> f64 {
            let normal: f64 = StandardNormal.sample(&mut rng);
            CENTRE_JITTER_PX * normal
        };
        let offset = Position {
            x_px: jitter(),
            y_px: jitter(),
        };
        let fluxes = camera::dimmed_fluxes_nmgy(&galaxy.mags, truth.reddening);
        let parts = morphology.parts.iter().map(|part| Source {
            offset,
            profile: part.profile,
            scale_px: part.half_light_px,
            shape: part.shape,
            fluxes_nmgy: std::array::from_fn(|band| fluxes[band] * part.shares[band]),
        });
        parts.chain(self.neighbours(object, truth)).collect()
    }

    /// Stars and galaxies that happen to be in the frame.
    fn neighbours(&self, object: u64, truth: &Truth) -> Vec<Source> {
        const PER_PX2: f64 = 1.2 / (64.0 * 64.0);
        let mut rng = stream(self.seed, Purpose::Neighbours, object);
        let expected = PER_PX2 * (self.side_px * self.side_px) as f64;
        let count = Poisson::new(expected)
            .expect("a frame has an area")
            .sample(&mut rng);
        (0..count as u64)
            .map(|_| self.neighbour(truth.reddening, &mut rng))
            .collect()
    }

    fn neighbour(&self, reddening: f64, rng: &mut impl Rng) -> Source {
        const ROUND: [Component; 1] = [Component {
            weight: 1.0,
            sigma: 1.0,
        }];
        const BLENDED_WITHIN_PX: f64 = 6.0;
        let half_side_px = self.side_px as f64 / 2.0;
        let offset = Position {
            x_px: rng.random_range(-half_side_px..half_side_px),
            y_px: rng.random_range(-half_side_px..half_side_px),
        };
        let mag_r = draw_neighbour_mag(rng);
        let real_mags = self.photometry.any_mags(rng);
        let mags = real_mags.map(|mag| mag + mag_r - real_mags[2]);
        let is_star = rng.random_bool(0.35);
        let sigma_arcsec: f64 = rng.random_range(0.4..1.2);
        // What is nearer would have been taken for part of the galaxy: little of it is left.
        let blended = offset.x_px.hypot(offset.y_px) < BLENDED_WITHIN_PX;
        let kept = if blended { 0.1 } else { 1.0 };
        Source {
            offset,
            profile: &ROUND,
            scale_px: if is_star {
                0.0
            } else {
                sigma_arcsec / camera::PIXEL_ARCSEC
            },
            shape: Covariance::ellipse(1.0, 0.0),
            fluxes_nmgy: camera::dimmed_fluxes_nmgy(&mags, reddening).map(|flux| flux * kept),
        }
    }

    /// The objects of spec-z drop `number` (from 0) with the redshifts that it brings.
    ///
    /// They are those without a spec-z in image drops, shared out at random; where there are none,
    /// a tenth of the survey, observed again with an error of 1e-4 (1 + z).
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

    /// Uniform on the sphere, in a field around the middle of the footprint that is as large as the
    /// density asks for, and at most all of it.
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

/// A magnitude in r from 16.5 to 23, with counts that grow as 10^(0.33 m).
fn draw_neighbour_mag(rng: &mut impl Rng) -> f64 {
    const SLOPE: f64 = 0.33;
    const BRIGHTEST: f64 = 16.5;
    let span = 10f64.powf(SLOPE * (23.0 - BRIGHTEST));
    let share: f64 = rng.random_range(0.0..1.0);
    BRIGHTEST + (1.0 + share * (span - 1.0)).log10() / SLOPE
}

fn lay_out_drops(args: &SampleArgs) -> Result<Vec<ImageDrop>, SampleError> {
    let mut drops = Vec::new();
    let (mut rows, mut bad_rows) = (0, 0);
    for number in 0..args.drops {
        let share =
            |part: u64| (u128::from(args.galaxies) * u128::from(part)) / u128::from(args.drops);
        let new_objects = share(number) as u64..share(number + 1) as u64;
        let news = new_objects.end - new_objects.start;
        let (corrections, withdrawals) = match number {
            0 => (0, 0),
            _ => {
                let all = news as f64 / (1.0 - args.corrections - args.withdrawals);
                let part = |fraction: f64| (all * fraction).round() as u64;
                (part(args.corrections), part(args.withdrawals))
            }
        };
        if corrections + withdrawals > new_objects.start {
            return Err(SampleError::Arguments(format!(
                "drop {} would correct and withdraw {} objects, and only {} came before it: \
                 lower --corrections or --withdrawals",
                number + 1,
                corrections + withdrawals,
                new_objects.start
            )));
        }
        rows += news + corrections + withdrawals;
        // Counted over the survey, so that small drops get their share of them too.
        let bad_rows_so_far = (rows as f64 * args.bad_rows).round() as u64;
        let bad_here = (bad_rows_so_far - bad_rows).min(news);
        drops.push(ImageDrop {
            number,
            new_objects,
            corrections,
            withdrawals,
            bad_rows: bad_here,
            bad_rows_before: bad_rows,
            rows_key: key(args.seed, Purpose::RowOrder).wrapping_add(number),
        });
        bad_rows += bad_here;
    }
    Ok(drops)
}
