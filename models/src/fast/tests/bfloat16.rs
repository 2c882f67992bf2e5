//! Predictions in bfloat16 are near those in float32.

use tch::{Device, Kind};

use super::{backends, checkpoint, directory, preset};
use crate::config::Config;
use crate::fast::{Backend, FoldedNetwork};
use crate::init;

/// Asserts that the error of our loops is at most twice that of libtorch, or a hundredth.
pub(super) fn assert_as_near_as_libtorch(config: &Config, batch: usize) {
    let _guard = tch::no_grad_guard();
    let inputs = init::inputs(batch, &config.needs()).unwrap();
    let weights = checkpoint(&directory(config), config, Kind::Float);
    let predict = |on| {
        let network = FoldedNetwork::new(&weights, config, on).unwrap();
        network.forward(&inputs).unwrap()
    };
    let whole = predict(Backend::new(Device::Cpu, Kind::Float));
    let off = |on| {
        let dz = (predict(on) - &whole) / (&whole + 1.0).abs();
        dz.abs().mean(Kind::Float).double_value(&[])
    };
    let [ours @ .., libtorch] = &backends(Kind::BFloat16)[..] else {
        unreachable!("libtorch is the last backend")
    };
    let expected = off(*libtorch);
    for on in ours {
        let mean = off(*on);
        assert!(
            mean < (2.0 * expected).max(0.01),
            "mean |dz| {mean}, and libtorch's {expected}: {on:?}, {config:?}"
        );
    }
}

/// Widths, heads and grids that do not fill whole tiles.
#[test]
fn odd_sizes_in_bfloat16_are_near_float32() {
    for (width, heads, patch_px, cutout_px) in [
        (60, 6, 8, 48),
        (192, 3, 16, 32),
        (128, 2, 8, 48),
        (96, 3, 8, 40),
        (320, 2, 32, 32),
    ] {
        let mut config = preset("astromae", 2);
        let encoder = &mut config.encoder;
        (encoder.width, encoder.heads, encoder.patch_px) = (width, heads, patch_px);
        encoder.pcm_group = width / 4;
        config.cutout_px = cutout_px;
        assert_as_near_as_libtorch(&config, 37);
    }
}

#[test]
fn bfloat16_is_near_float32() {
    let _guard = tch::no_grad_guard();
    let inputs = init::inputs(64, &preset("astromae", 4).needs()).unwrap();
    // Groups of four channels, which are multiplied in pairs, of three and of one.
    for groups in [48, 64, 192] {
        let mut config = preset("astromae", 4);
        config.encoder.pcm_group = groups;
        let weights = checkpoint(&directory(&config), &config, Kind::Float);
        let predict = |on| {
            let network = FoldedNetwork::new(&weights, &config, on).unwrap();
            network.forward(&inputs).unwrap()
        };
        let whole = predict(Backend::new(Device::Cpu, Kind::Float));
        for on in backends(Kind::BFloat16) {
            let half = predict(on);
            let dz = (&half - &whole) / (&whole + 1.0).abs();
            let mean = dz.abs().mean(Kind::Float).double_value(&[]);
            // Weights that are not trained give redshifts near -2, and larger errors than trained weights.
            assert!(
                mean < 0.02 && mean > 0.0,
                "mean |dz| {mean}, {groups} groups: {on:?}"
            );
            assert_eq!(half.kind(), Kind::Float);
        }
    }
}
