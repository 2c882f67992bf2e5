//! The calibration is that of a plain computation, and what is taken away leaves nothing.
use std::{collections::BTreeMap, ops::Range};

use hubbleflow_operators::metrics::{BIN_MIN, ConformalScores, Distribution, Shift, Slice};
use proptest::prelude::*;

const LEVELS: [f64; 4] = [0.025, 0.16, 0.84, 0.975];

#[derive(Clone, Debug)]
struct Object {
    hash: u64,
    bin: Option<i16>,
    z_phot: f32,
    z_spec: f32,
    /// Half the widths of the intervals of 68% and of 95%, if the model gives them.
    widths: Option<[f32; 2]>,
}

impl Object {
    fn bounds(&self) -> Option<[f32; 4]> {
        let [of_68, of_95] = self.widths?;
        let z = self.z_phot;
        Some([z - of_95, z - of_68, z + of_68, z + of_95])
    }

    fn add_to(&self, scores: &mut ConformalScores, times: i64) {
        let bounds = self.bounds();
        let distribution = bounds.as_ref().map(|bounds| Distribution {
            levels: &LEVELS,
            quantiles: bounds,
            is_whole: false,
        });
        let redshifts = (self.z_phot, self.z_spec);
        let mag = self.bin.map(Slice::Mag);
        scores.add(self.hash, mag, redshifts, distribution, times);
    }

    /// The score for an interval, in steps.
    fn score(&self, interval: usize) -> i64 {
        let [low_95, low_68, high_68, high_95] = self.bounds().unwrap_or([self.z_phot; 4]);
        let (low, high) = [(low_68, high_68), (low_95, high_95)][interval];
        let z_spec = f64::from(self.z_spec);
        let outside = (f64::from(low) - z_spec).max(z_spec - f64::from(high));
        (outside / (1.0 + f64::from(self.z_phot)) * 1e4).ceil() as i64
    }
}

fn shift(objects: &[&Object], interval: usize) -> Option<i64> {
    let mut scores: Vec<i64> = objects
        .iter()
        .map(|object| object.score(interval))
        .collect();
    scores.sort_unstable();
    let place = ((objects.len() + 1) * [68, 95][interval]).div_ceil(100);
    scores.get(place - 1).copied()
}

/// The fraction of objects inside of intervals that the other half has calibrated.
fn coverage(objects: &[Object], bin: Option<i16>, interval: usize) -> Option<f64> {
    let mut inside = Vec::new();
    for object in objects.iter().filter(|of| bin.is_none() || of.bin == bin) {
        let others = objects.iter().filter(|of| of.hash % 2 != object.hash % 2);
        let others: Vec<&Object> = others.collect();
        let like = others
            .iter()
            .filter(|of| of.bin.is_some() && of.bin == object.bin);
        let like: Vec<&Object> = like.copied().collect();
        let of = if like.len() as i64 >= BIN_MIN {
            &like
        } else {
            &others
        };
        if let Some(shift) = shift(of, interval) {
            inside.push(object.score(interval) <= shift);
        }
    }
    let held = inside.iter().filter(|inside| **inside).count();
    (!inside.is_empty()).then(|| held as f64 / inside.len() as f64)
}

fn objects(number: Range<usize>) -> impl Strategy<Value = Vec<Object>> {
    let widths = prop::option::of([0.0_f32..0.05, 0.05_f32..0.1]);
    let bin = prop_oneof![1 => Just(None), 8 => Just(Some(30)), 1 => Just(Some(31))];
    let object = (any::<u64>(), bin, 0.0_f32..1.0, -0.2_f32..0.2, widths);
    let object = object.prop_map(|(hash, bin, z_phot, error, widths)| Object {
        hash,
        bin,
        z_phot,
        z_spec: z_phot + error,
        widths,
    });
    prop::collection::vec(object, number)
}

fn scores(objects: &[Object]) -> ConformalScores {
    let mut scores = ConformalScores::default();
    objects
        .iter()
        .for_each(|object| object.add_to(&mut scores, 1));
    scores
}

#[track_caller]
fn assert_calibrated(objects: &[Object]) {
    let found = scores(objects);
    let calibration = found.calibration(Some("r"));
    let expected = |objects: &[&Object]| Shift {
        n: objects.len() as i64,
        shift_68: shift(objects, 0).map(|steps| steps as f64 / 1e4),
        shift_95: shift(objects, 1).map(|steps| steps as f64 / 1e4),
    };
    let all: Vec<&Object> = objects.iter().collect();
    assert_eq!(calibration.all, expected(&all));
    let mut coverages = BTreeMap::from([(Slice::All, [0, 1].map(|k| coverage(objects, None, k)))]);
    for (bin, name) in [(30, "15.0"), (31, "15.5")] {
        let of_bin = objects.iter().filter(|object| object.bin == Some(bin));
        let of_bin: Vec<&Object> = of_bin.collect();
        let found = calibration.by_mag.slices.get(name).cloned();
        assert_eq!(found.unwrap_or_default(), expected(&of_bin), "{name}");
        let of_bin = [0, 1].map(|k| coverage(objects, Some(bin), k));
        coverages.insert(Slice::Mag(bin), of_bin);
    }
    coverages.retain(|_, coverage| *coverage != [None; 2]);
    assert_eq!(found.coverage(), coverages);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_calibration_of_few_objects_is_that_of_a_plain_computation(objects in objects(0..40)) {
        assert_calibrated(&objects);
    }

    #[test]
    fn what_is_taken_away_leaves_no_calibration(kept in objects(0..60), gone in objects(0..60)) {
        let mut found = scores(&gone);
        let mut later = ConformalScores::default();
        kept.iter().for_each(|object| object.add_to(&mut later, 1));
        gone.iter().rev().for_each(|object| object.add_to(&mut later, -1));
        found.merge(&later);
        prop_assert_eq!(&found, &scores(&kept));
        kept.iter().for_each(|object| object.add_to(&mut found, -1));
        prop_assert!(found.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_large_bin_of_magnitude_has_shifts_of_its_own(objects in objects(700..1_000)) {
        assert_calibrated(&objects);
    }
}
