//! The folded network in float32 is as near to float64 as the plain network is.

use tch::{Device, Kind, Tensor};

use super::{backends, checkpoint, directory, furthest, preset};
use crate::config::{Branch, Config, EncoderKind, HeadKind};
use crate::fast::FoldedNetwork;
use crate::fast::activation::Activation;
use crate::fast::linear::FoldedLinear;
use crate::fast::weight::Affine;
use crate::init;
use crate::network::Network;
use crate::preprocess::{CutoutPreprocess, MagPreprocess};

/// Asserts that the error of the folded network, against float64, is at most twice that of the plain one, or 1e-6.
pub(super) fn assert_as_exact(config: &Config, batch: usize) {
    let _guard = tch::no_grad_guard();
    let directory = directory(config);
    let inputs = init::inputs(batch, &config.needs()).unwrap();
    let plain = |kind| {
        let weights = checkpoint(&directory, config, kind);
        let network = Network::new(&weights, config, kind).unwrap();
        let (cutouts, mags) = (inputs.cutouts.as_ref(), inputs.mags.as_ref());
        network.forward(cutouts, mags).unwrap().z_phot
    };
    let weights = checkpoint(&directory, config, Kind::Float);
    let exact = plain(Kind::Double);
    assert_eq!(exact.kind(), Kind::Double);
    let plain_off = furthest(&plain(Kind::Float), &exact);
    let scale = exact.abs().max().double_value(&[]).max(1.0);
    let (encoder, branches) = (&config.encoder, &config.branches);
    for on in backends(Kind::Float) {
        let folded = FoldedNetwork::new(&weights, config, on).unwrap();
        let z_phot = folded.forward(&inputs).unwrap();
        assert_eq!(
            (z_phot.size(), z_phot.kind()),
            (vec![batch as i64], Kind::Float)
        );
        let off = furthest(&z_phot, &exact);
        assert!(
            off <= (2.0 * plain_off).max(1e-6 * scale),
            "{on:?}: {off:e} from float64, and the plain network {plain_off:e}: {encoder:?}, {branches:?}, {:?}",
            config.needs()
        );
    }
}

#[test]
fn every_kind_of_encoder_is_as_exact_as_the_plain_network() {
    for name in ["astromae", "astromae-pcm3", "astromae-plain"] {
        assert_as_exact(&Config::preset(name).unwrap(), 40);
    }
}

#[test]
fn every_subset_of_branches_is_as_exact_as_the_plain_network() {
    let all = [Branch::Encoder, Branch::Inception, Branch::Magnitude];
    for subset in 1..8 {
        let mut config = preset("astromae", 1);
        let chosen = (0..3).filter(|n| subset >> n & 1 == 1);
        config.branches = chosen.map(|n| all[n]).collect();
        assert_as_exact(&config, 9);
    }
}

#[test]
fn quantiles_are_as_exact_as_those_of_the_plain_network() {
    let _guard = tch::no_grad_guard();
    for branches in [
        vec![Branch::Encoder, Branch::Inception, Branch::Magnitude],
        vec![Branch::Inception],
    ] {
        let mut config = preset("astromae", 2);
        (config.branches, config.head) = (branches, HeadKind::quantiles());
        assert_as_exact(&config, 40);
        let directory = directory(&config);
        let inputs = init::inputs(40, &config.needs()).unwrap();
        let plain = |kind| {
            let weights = checkpoint(&directory, &config, kind);
            let network = Network::new(&weights, &config, kind).unwrap();
            let (cutouts, mags) = (inputs.cutouts.as_ref(), inputs.mags.as_ref());
            let taps = network.forward(cutouts, mags).unwrap();
            taps.z_quantiles.unwrap()
        };
        let exact = plain(Kind::Double);
        let scale = exact.abs().max().double_value(&[]);
        let allowed = (2.0 * furthest(&plain(Kind::Float), &exact)).max(1e-6 * scale);
        let weights = checkpoint(&directory, &config, Kind::Float);
        for on in backends(Kind::Float) {
            let folded = FoldedNetwork::new(&weights, &config, on).unwrap();
            let [z_phot, z_quantiles] =
                &folded.outputs(&inputs, &config.head.outputs()).unwrap()[..]
            else {
                unreachable!("a tensor for each output")
            };
            assert_eq!(
                (z_quantiles.size(), z_quantiles.kind()),
                (vec![40, 23], Kind::Float)
            );
            assert_eq!(*z_phot, z_quantiles.select(1, 11), "{on:?}");
            let off = furthest(z_quantiles, &exact);
            assert!(
                off <= allowed,
                "{on:?}: {off:e} from float64, and {allowed:e} is allowed"
            );
        }
    }
}

#[test]
fn scaled_inputs_are_as_exact_as_the_plain_network() {
    let mut config = preset("astromae", 1);
    config.preprocess.cutout = CutoutPreprocess::Asinh {
        dereddening: Vec::new(),
        softening: vec![0.01, 0.02, 0.3, 4.0, 50.0],
        scale: vec![2.0, 1.5, 1.0, 0.5, 0.1],
    };
    let mut matrix = vec![vec![0.0; 5]; 5];
    for (row, entries) in matrix.iter_mut().enumerate() {
        entries[row] = 1.0 + row as f64;
        entries[0] -= 0.5;
    }
    let mean = vec![19.0, 18.0, 17.5, 17.0, 16.5];
    config.preprocess.mag = MagPreprocess::Whiten { mean, matrix };
    assert_as_exact(&config, 9);
}

#[test]
fn every_size_of_batch_is_as_exact_as_the_plain_network() {
    for batch in [1, 7, 64, 100, 512] {
        assert_as_exact(&preset("astromae", 1), batch);
    }
}

/// Widths, groups and grids that do not fill whole vectors.
#[test]
fn odd_sizes_are_as_exact_as_the_plain_network() {
    for (kind, pcm_kernel, patch_px, cutout_px) in [
        (EncoderKind::Pcm, 3, 8, 48),
        (EncoderKind::Pcm, 5, 16, 32),
        (EncoderKind::Pcm, 1, 8, 56),
        (EncoderKind::Plain, 1, 32, 32),
    ] {
        let mut config = preset("astromae", 2);
        let encoder = &mut config.encoder;
        (encoder.kind, encoder.pcm_kernel, encoder.patch_px) = (kind, pcm_kernel, patch_px);
        (encoder.width, encoder.heads, encoder.pcm_group) = (60, 6, 20);
        config.cutout_px = cutout_px;
        assert_as_exact(&config, 11);
    }
}

/// The layer is the identity, so its output is the GELU of its input.
#[test]
fn gelu_is_as_exact_as_its_number_format_allows() {
    for (kind, digits, near) in [(Kind::Float, 1e-6, 1e-6), (Kind::BFloat16, 4e-3, 8e-5)] {
        let weight = Tensor::eye(2, (Kind::Double, Device::Cpu));
        let bias = Tensor::zeros([2], (Kind::Double, Device::Cpu));
        let ends = Tensor::from_slice(&[-1e30_f32, -1e4, -0.0, 0.0, 1e4, 1e30]);
        let all = Tensor::linspace(-40.0, 40.0, 20_000, (Kind::Float, Device::Cpu));
        let x = Tensor::cat(&[ends, all], 0).to_kind(kind).view([-1, 2]);
        let exact = x.to_kind(Kind::Double).gelu("none");
        for on in backends(kind).into_iter().filter(|on| on.set.is_some()) {
            let layer = Affine {
                weight: weight.shallow_clone(),
                bias: bias.shallow_clone(),
            };
            let layer = FoldedLinear::new(&layer, on).unwrap();
            let off = layer
                .forward(&x, Activation::Gelu)
                .unwrap()
                .to_kind(Kind::Double)
                - &exact;
            let beyond = off.abs() - exact.abs() * digits - near;
            let most = beyond.max().double_value(&[]);
            assert!(most <= 0.0, "{on:?}: {most} above the bound");
        }
    }
}
