//! The quantiles of a galaxy ascend, whatever the outputs of the last layer are, and our loops give libtorch's.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{backends, bits, furthest};
use crate::output::ModelOutput;
use crate::quantiles::{median, quantiles};

fn wanted(levels: usize) -> ModelOutput {
    let levels = (1..=levels).map(|n| n as f64 / (levels + 1) as f64);
    ModelOutput::ZQuantiles {
        levels: levels.collect(),
    }
}

/// Outputs of a last layer: those of trained networks, and far larger ones.
fn outputs() -> impl Strategy<Value = (usize, Vec<f32>)> {
    let output = prop_oneof![
        4 => -9.0f32..3.0,
        2 => -100.0f32..100.0,
        1 => -1e30f32..1e30,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f32::MIN_POSITIVE),
    ];
    let sides = prop_oneof![Just(11), 1usize..20];
    (1usize..6, sides).prop_flat_map(move |(galaxies, side)| {
        let levels = 2 * side + 1;
        let all = prop::collection::vec(output.clone(), galaxies * levels);
        (Just(levels), all)
    })
}

proptest! {
    #[test]
    fn quantiles_ascend_around_the_median((levels, outputs) in outputs()) {
        let out = Tensor::from_slice(&outputs).reshape([-1, levels as i64]);
        let plain = quantiles(&out).unwrap();
        let ours = backends(Kind::Float).into_iter();
        let ours = ours.map(|on| on.redshifts(&out, &wanted(levels)).unwrap());
        for found in ours.chain([plain]) {
            prop_assert_eq!(bits(&found.select(1, levels as i64 / 2)), bits(&median(&out).unwrap()));
            let rows = Vec::<f32>::try_from(found.flatten(0, -1)).unwrap();
            for row in rows.chunks(levels) {
                prop_assert!(row.is_sorted(), "{:?}", row);
            }
        }
    }
}

#[test]
fn our_loops_give_the_quantiles_of_float64() {
    let out = Tensor::linspace(-12.0, 12.0, 23 * 400, (Kind::Float, Device::Cpu)).view([-1, 23]);
    let exact = quantiles(&out.to_kind(Kind::Double)).unwrap();
    let spread = exact.abs().max().double_value(&[]);
    for on in backends(Kind::Float) {
        let found = on.redshifts(&out, &wanted(23)).unwrap();
        let off = furthest(&found, &exact);
        assert!(off < 1e-6 * spread, "{on:?}: {off:e}");
    }
}

/// A NaN that became a number would give an interval that looks like any other.
#[test]
fn nan_in_an_output_gives_nan_from_there_on() {
    for at in [0, 3, 5, 7, 10] {
        let out = Tensor::zeros([3, 11], (Kind::Float, Device::Cpu));
        let _ = out.get(1).get(at).fill_(f64::NAN);
        for on in backends(Kind::Float) {
            let found = on.redshifts(&out, &wanted(11)).unwrap();
            let is_nan = Vec::<Vec<bool>>::try_from(found.isnan()).unwrap();
            let beyond = |k: i64| match at.cmp(&5) {
                std::cmp::Ordering::Less => k <= at,
                std::cmp::Ordering::Equal => true,
                std::cmp::Ordering::Greater => k >= at,
            };
            let expected: Vec<bool> = (0..11).map(beyond).collect();
            assert_eq!(is_nan[1], expected, "{on:?}");
            assert!(!is_nan[0].contains(&true) && !is_nan[2].contains(&true));
        }
    }
}
