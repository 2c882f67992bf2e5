//! Rows of a made-up survey in g, r and z: those of a training, others like them, and others that are wrong.

use proptest::prelude::*;
use tch::Tensor;

use crate::training_inputs::{
    ApertureRange, CoreRange, Learned, MagRange, TRAINING_ROWS_MIN, TrainingInputs, Unlike,
    asinh_mag,
};

const BANDS: usize = 3;
/// The place of r.
const REFERENCE: usize = 1;
/// The side of a cutout, wider than the aperture.
const PX: usize = 14;
const APERTURE_PX: usize = 12;
const CORE_PX: usize = 6;
/// The noise of a pixel, in nanomaggies.
const NOISE: [f64; BANDS] = [0.02; BANDS];

/// A row: its magnitudes, and the flux of each pixel of the core and of the rest of the aperture.
#[derive(Clone, Copy, Debug)]
struct Row {
    mags: [f32; BANDS],
    core: [f32; BANDS],
    ring: [f32; BANDS],
}

impl Row {
    /// The fluxes in the apertures, and in their cores.
    fn fluxes(&self) -> Vec<f64> {
        let core_pixels = (CORE_PX * CORE_PX) as f64;
        let ring_pixels = (APERTURE_PX * APERTURE_PX) as f64 - core_pixels;
        let cores = self.core.map(|pixel| core_pixels * f64::from(pixel));
        let rings = self.ring.map(|pixel| ring_pixels * f64::from(pixel));
        let apertures = cores.iter().zip(rings).map(|(core, ring)| core + ring);
        apertures.chain(cores).collect()
    }

    /// The same with the flux of a galaxy that has this share of it in its core.
    fn with_share(mut self, share: f64) -> Self {
        let fluxes = self.fluxes();
        self.core = std::array::from_fn(|band| (share * fluxes[band] / 36.0) as f32);
        self.ring = std::array::from_fn(|band| ((1.0 - share) * fluxes[band] / 108.0) as f32);
        self
    }

    fn with_pixels(mut self, change: impl Fn([f32; BANDS]) -> [f32; BANDS]) -> Self {
        [self.core, self.ring] = [self.core, self.ring].map(change);
        self
    }

    fn brighter_by(mut self, mag: f32) -> Self {
        self.mags = self.mags.map(|of_band| of_band - mag);
        self.with_pixels(|pixels| pixels.map(|pixel| pixel * 10_f32.powf(0.4 * mag)))
    }
}

/// Normally distributed numbers: a linear congruential generator, and Box & Muller 1958.
fn normal(mut state: u64) -> impl FnMut() -> f64 {
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    };
    move || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
}

/// A cloud of galaxies: of some brightness, colours and sizes. A size changes the flux in the aperture of all bands, and the
/// share of it that is in the core.
fn cloud(rows: usize, seed: u64) -> Vec<Row> {
    let mut normal = normal(seed);
    let mut row = || {
        let r = 17.0 + 0.6 * normal();
        let mags = [r + 0.8 + 0.2 * normal(), r, r - 0.6 + 0.1 * normal()];
        let outside = 0.5 + 0.15 * normal();
        let pixels = mags.map(|mag| {
            let flux = 10_f64.powf(0.4 * (22.5 - mag - outside - 0.03 * normal()));
            (flux / 144.0) as f32
        });
        let row = Row {
            mags: mags.map(|mag| mag as f32),
            core: pixels,
            ring: pixels,
        };
        let mut row = row.with_share(0.45 + 0.07 * normal());
        row.core = row.core.map(|pixel| pixel * (1.0 + 0.02 * normal()) as f32);
        row
    };
    (0..rows).map(|_| row()).collect()
}

fn tensors(rows: &[Row]) -> [Tensor; 2] {
    let mags: Vec<f32> = rows.iter().flat_map(|row| row.mags).collect();
    let mags = Tensor::from_slice(&mags).reshape([-1, BANDS as i64]);
    let square = |of: fn(&Row) -> [f32; BANDS], side_px: usize| {
        let pixels: Vec<f32> = rows.iter().flat_map(of).collect();
        let pixels = Tensor::from_slice(&pixels).reshape([-1, BANDS as i64, 1, 1]);
        pixels.expand([-1, -1, side_px as i64, side_px as i64], false)
    };
    let aperture = square(|row| row.ring, APERTURE_PX).contiguous();
    let mut core = aperture
        .narrow(2, 3, CORE_PX as i64)
        .narrow(3, 3, CORE_PX as i64);
    core.copy_(&square(|row| row.core, CORE_PX));
    // Beyond the aperture there is something else.
    let cutouts = aperture.constant_pad_nd([1, 1, 1, 1]);
    assert_eq!(cutouts.size()[2..], [PX as i64; 2]);
    [mags, cutouts]
}

fn learned(rows: &[Row]) -> TrainingInputs {
    let [mags, cutouts] = tensors(rows);
    let learned = TrainingInputs::learn(Learned {
        mags: Some(&mags),
        reference: REFERENCE,
        cutouts: Some(&cutouts),
        noise: &NOISE,
    });
    let learned = learned.unwrap().unwrap();
    assert_eq!(learned.validate(BANDS, Some((BANDS, PX))), Ok(()));
    learned
}

fn compare(inputs: &TrainingInputs, row: &Row) -> Unlike {
    inputs.compare(&row.mags, Some(row.mags[REFERENCE]), &row.fluxes())
}

/// The numbers of rows outside the training, and of those whose flux does not belong to their magnitudes.
fn flagged(inputs: &TrainingInputs, rows: &[Row]) -> [usize; 2] {
    let unlike: Vec<Unlike> = rows.iter().map(|row| compare(inputs, row)).collect();
    let count = |is: fn(&Unlike) -> bool| unlike.iter().filter(|unlike| is(unlike)).count();
    [
        count(|unlike| unlike.outside_training),
        count(|unlike| unlike.flux_mismatch),
    ]
}

#[test]
fn a_thousandth_of_the_rows_is_flagged() {
    let training = cloud(20_000, 1);
    let inputs = learned(&training);
    // A thousandth by the distance, as many beyond the limits of r, and as many by their cores.
    let [outside, mismatch] = flagged(&inputs, &training);
    assert!((40..=60).contains(&outside), "{outside}");
    assert!((20..=40).contains(&mismatch), "{mismatch}");
    // Each limit is that of a thousandth.
    let range = inputs.apertures.as_ref().unwrap();
    let without_core_distance = ApertureRange {
        core: Some(CoreRange {
            distance_max: 1e9,
            ..range.core.clone().unwrap()
        }),
        ..range.clone()
    };
    let of_apertures = TrainingInputs {
        apertures: Some(without_core_distance),
        ..inputs.clone()
    };
    assert_eq!(flagged(&of_apertures, &training)[1], 20);
    let [outside, mismatch] = flagged(&inputs, &cloud(100_000, 2));
    assert!((180..=450).contains(&outside), "{outside}");
    assert!((120..=300).contains(&mismatch), "{mismatch}");
}

#[test]
fn cutouts_that_do_not_belong_to_the_magnitudes_are_flagged() {
    let inputs = learned(&cloud(20_000, 1));
    type Change = fn(Row) -> Row;
    let wrongs: [(&str, Change); 8] = [
        ("swapped bands", |row| {
            row.with_pixels(|[first, second, third]| [third, second, first])
        }),
        ("counts", |row| {
            row.with_pixels(|pixels| pixels.map(|pixel| 200.0 * pixel))
        }),
        ("a blank cutout", |row| row.with_pixels(|_| [0.0; BANDS])),
        ("a negative flux", |row| {
            row.with_pixels(|pixels| pixels.map(|pixel| -pixel))
        }),
        ("a saturated band", |row| {
            row.with_pixels(|[first, _, third]| [first, 1e4, third])
        }),
        ("another galaxy", |row| Row {
            mags: row.mags,
            ..row.brighter_by(2.0)
        }),
        ("a hole in the middle", |row| row.with_share(0.05)),
        ("a core of other colours", |mut row| {
            row.core[0] *= 1.5;
            row
        }),
    ];
    for (what, wrong) in wrongs {
        let rows: Vec<Row> = cloud(2000, 3).into_iter().map(wrong).collect();
        let [outside, mismatch] = flagged(&inputs, &rows);
        assert_eq!(mismatch, rows.len(), "{what}");
        // Their magnitudes are as before.
        assert!(outside < 20, "{what}: {outside}");
    }
}

/// A star has the magnitudes of some galaxy, and as much flux in the aperture.
#[test]
fn light_more_concentrated_than_that_of_the_training_is_flagged() {
    let inputs = learned(&cloud(20_000, 1));
    let star = |row: Row| row.with_share(0.83);
    let stars: Vec<Row> = cloud(2000, 3).into_iter().map(star).collect();
    assert_eq!(flagged(&inputs, &stars)[0], stars.len());
    // The limit lies three standard deviations above the usual share, as a thousandth of the rows do.
    let share_max = inputs.apertures.unwrap().core.unwrap().share_max;
    assert!((0.65..0.70).contains(&share_max), "{share_max}");
}

/// Squares are centred: their sides are odd where that of the cutout is. A cutout of the size of the core has no core.
#[test]
fn apertures_are_centred_in_cutouts_of_any_side() {
    let sides = |px: i64| {
        let cutouts = Tensor::rand(
            [TRAINING_ROWS_MIN, 1, px, px],
            (tch::Kind::Float, tch::Device::Cpu),
        );
        let learned = TrainingInputs::learn(Learned {
            mags: None,
            reference: 0,
            cutouts: Some(&cutouts),
            noise: &NOISE[..1],
        });
        let learned = learned.unwrap().unwrap();
        assert_eq!(learned.validate(0, Some((1, px as usize))), Ok(()));
        let range = learned.apertures.unwrap();
        // Evenly lit cutouts: the share is that of the pixels.
        if let Some(core) = &range.core {
            let usual = (core.side_px as f64 / range.side_px as f64).powi(2);
            assert!(
                (0.9..1.5).contains(&(core.share_max / usual)),
                "{px}: {core:?}"
            );
        }
        range.sides_px().collect::<Vec<usize>>()
    };
    assert_eq!(sides(32), [12, 6]);
    assert_eq!(sides(33), [13, 7]);
    assert_eq!(sides(13), [13, 7]);
    assert_eq!(sides(8), [8, 6]);
    assert_eq!(sides(6), [6]);
    assert_eq!(sides(7), [7]);
}

#[test]
fn magnitudes_unlike_those_of_the_training_are_flagged() {
    let inputs = learned(&cloud(20_000, 1));
    let rows = cloud(2000, 3);
    let mut faint_in_r = rows.clone();
    faint_in_r
        .iter_mut()
        .for_each(|row| row.mags[REFERENCE] += 2.0);
    let [outside, mismatch] = flagged(&inputs, &faint_in_r);
    assert_eq!((outside, mismatch), (2000, 2000));
    // Galaxies four magnitudes fainter, whose cutouts are as faint.
    let faint: Vec<Row> = rows.iter().map(|row| row.brighter_by(-4.0)).collect();
    assert!(flagged(&inputs, &faint)[0] > 1950);
}

/// A sample that ends at r = 17.77: no distance tells a galaxy behind this limit from one before it.
#[test]
fn magnitudes_beyond_a_hard_limit_are_flagged() {
    let wide = cloud(40_000, 4).into_iter();
    let inputs = learned(
        &wide
            .filter(|row| row.mags[REFERENCE] < 17.0)
            .collect::<Vec<_>>(),
    );
    let MagRange { reference, .. } = inputs.mags.clone().unwrap();
    assert!((16.9..17.0).contains(&reference[1]), "{reference:?}");
    let unseen = cloud(2000, 5).into_iter();
    let unseen: Vec<Row> = unseen.filter(|row| row.mags[REFERENCE] >= 17.0).collect();
    assert_eq!(flagged(&inputs, &unseen)[0], unseen.len());
}

#[test]
fn a_model_without_an_input_is_compared_by_the_other() {
    let training = cloud(5000, 1);
    let [mags, cutouts] = tensors(&training);
    let nothing = Learned {
        mags: None,
        reference: REFERENCE,
        cutouts: None,
        noise: &NOISE,
    };
    assert_eq!(TrainingInputs::learn(nothing).unwrap(), None);
    let of_mags = TrainingInputs::learn(Learned {
        mags: Some(&mags),
        ..nothing
    });
    let of_mags = of_mags.unwrap().unwrap();
    assert_eq!(of_mags.validate(BANDS, None), Ok(()));
    assert!((3..=12).contains(&flagged(&of_mags, &training)[0]));
    let of_cutouts = TrainingInputs::learn(Learned {
        cutouts: Some(&cutouts),
        ..nothing
    });
    let of_cutouts = of_cutouts.unwrap().unwrap();
    assert_eq!(of_cutouts.validate(0, Some((BANDS, PX))), Ok(()));
    let blank = of_cutouts.compare(&[], None, &[0.0; 2 * BANDS]);
    assert!(blank.outside_training && !blank.flux_mismatch);
    let usual = of_cutouts.compare(&[], None, &training[0].fluxes());
    assert_eq!(usual, Unlike::default());
    let star = of_cutouts.compare(&[], None, &training[0].with_share(0.83).fluxes());
    assert!(star.outside_training && !star.flux_mismatch);
    // Of a thousand rows, one is a thousandth.
    let few = mags.narrow(0, 0, TRAINING_ROWS_MIN - 1);
    let too_few = Learned {
        mags: Some(&few),
        ..nothing
    };
    assert_eq!(TrainingInputs::learn(too_few).unwrap(), None);
}

/// A band that is blank in all cutouts, one magnitude everywhere, and rows that are not finite.
#[test]
fn a_training_of_odd_rows_learns_something() {
    let mut training = cloud(5000, 1);
    for row in &mut training {
        [row.core[0], row.ring[0]] = [0.0; 2];
        row.mags[2] = 18.0;
    }
    let mut with_nan = training.clone();
    with_nan[7].mags[0] = f32::NAN;
    with_nan[8].ring[1] = f32::INFINITY;
    let inputs = learned(&with_nan);
    assert!(flagged(&inputs, &training)[1] <= 12);
    let mut seen = training[0];
    seen.ring[0] = 1.0;
    assert!(compare(&inputs, &seen).flux_mismatch);
    seen = training[0];
    seen.mags[2] = 17.0;
    assert!(compare(&inputs, &seen).outside_training);
    let nothing: Vec<Row> = training
        .into_iter()
        .map(|row| Row {
            mags: [f32::NAN; BANDS],
            ..row
        })
        .collect();
    let [mags, _] = tensors(&nothing);
    let of_nothing = Learned {
        mags: Some(&mags),
        reference: REFERENCE,
        cutouts: None,
        noise: &[],
    };
    assert_eq!(TrainingInputs::learn(of_nothing).unwrap(), None);
}

proptest! {
    /// Whatever a row holds, it is compared; and what is not finite is flagged.
    #[test]
    fn any_row_is_compared(
        mags in prop::array::uniform3(prop::num::f32::ANY),
        fluxes in prop::array::uniform6(prop::num::f64::ANY),
    ) {
        let one = |row: usize| (0..9).map(|column| f64::from(u8::from(row == column))).collect();
        let inputs = TrainingInputs {
            mags: Some(MagRange { reference: [14.0, 18.0], distance_max: 1e30 }),
            apertures: Some(ApertureRange {
                side_px: 8,
                softening: vec![0.1; 3],
                distance_max: 1e30,
                core: Some(CoreRange { side_px: 4, distance_max: 1e30, share_max: 0.7 }),
            }),
            mean: vec![0.0; 9],
            matrix: (0..9).map(one).collect(),
        };
        let unlike = inputs.compare(&mags, Some(17.0), &fluxes);
        let are_finite = mags.iter().all(|mag| mag.is_finite());
        prop_assert!(are_finite || unlike.outside_training);
        prop_assert!(fluxes.iter().all(|flux| flux.is_finite()) || unlike.flux_mismatch);
        prop_assert!(inputs.compare(&mags, Some(f32::NAN), &fluxes).outside_training);
        prop_assert!(inputs.compare(&mags, None, &fluxes).outside_training);
        prop_assert!(inputs.compare(&mags[1..], Some(17.0), &fluxes).outside_training);
        prop_assert!(inputs.compare(&mags, Some(17.0), &fluxes[1..]).flux_mismatch);
        prop_assert!(inputs.compare(&mags, Some(17.0), &fluxes[3..]).flux_mismatch);
    }
}

/// An asinh magnitude is the AB magnitude of a bright source, and exists for any flux.
#[test]
fn asinh_magnitudes_are_ab_magnitudes_far_above_the_softening() {
    assert!((asinh_mag(1000.0, 0.1) - 15.0).abs() < 1e-6);
    let [above, zero, below] = [0.1, 0.0, -0.1].map(|flux| asinh_mag(flux, 0.1));
    assert!(above < zero && zero < below);
    assert!((zero - 25.0).abs() < 1e-12);
}
