//! The fast network against the plain one, and both against the plain one in float64.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::loops::has_linear;
use super::{Affine, Backend, Fast, InstructionSet, Linear, Then};
use crate::config::EncoderKind;
use crate::network::Network;
use crate::preprocess::{CutoutPreprocess, MagPreprocess};
use crate::{
    AstroMae, Branch, Checkpoint, Config, Directory, Inputs, Model, Needs, Precision, init,
};

/// All that compute on this CPU: our loops for each of its instruction sets, and what computes on a GPU.
fn backends(kind: Kind) -> Vec<Backend> {
    let sets = InstructionSet::ALL.into_iter();
    let ours = sets.filter(|set| set.is_available()).map(Some);
    let on = |set| Backend {
        set,
        ..Backend::new(Device::Cpu, kind)
    };
    ours.chain([None]).map(on).collect()
}

fn directory(config: &Config) -> Directory {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    Directory::read(dir.path()).unwrap()
}

fn checkpoint(directory: &Directory, config: &Config, kind: Kind) -> Checkpoint {
    let weights = Checkpoint::parse(Path::new("weights"), &directory.weights, config).unwrap();
    let tensors = weights.into_tensors().into_iter();
    Checkpoint::of(
        tensors
            .map(|(name, tensor)| (name, tensor.to_kind(kind)))
            .collect(),
    )
}

fn model(config: &Config, precision: Precision) -> AstroMae {
    let directory = directory(config);
    AstroMae::from_directory(&directory, Backend::new(Device::Cpu, precision.kind())).unwrap()
}

fn preset(name: &str, depth: usize) -> Config {
    let mut config = Config::preset(name).unwrap();
    config.encoder.depth = depth;
    config
}

fn bits(z_phot: &Tensor) -> Vec<u32> {
    let z_phot = Vec::<f32>::try_from(z_phot).unwrap();
    z_phot.into_iter().map(f32::to_bits).collect()
}

fn furthest(a: &Tensor, b: &Tensor) -> f64 {
    let difference = a.to_kind(Kind::Double) - b.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

/// The fast network is as near to float64 as the plain one is, within a factor of two, or within 1e-6.
fn assert_as_exact(config: &Config, batch: usize) {
    let _guard = tch::no_grad_guard();
    let directory = directory(config);
    let inputs = init::inputs(batch, config.cutout_px).unwrap();
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
        let fast = Fast::new(&weights, config, on).unwrap();
        let fast = fast.forward(&inputs).unwrap();
        assert_eq!(
            (fast.size(), fast.kind()),
            (vec![batch as i64], Kind::Float)
        );
        let off = furthest(&fast, &exact);
        assert!(
            off <= (2.0 * plain_off).max(1e-6 * scale),
            "{on:?}: {off:e} from float64, where the plain network is {plain_off:e}: {encoder:?}, {branches:?}"
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
fn scaled_inputs_are_as_exact_as_the_plain_network() {
    let mut config = preset("astromae", 1);
    config.preprocess.cutout = CutoutPreprocess::Asinh {
        softening: [0.01, 0.02, 0.3, 4.0, 50.0],
        scale: [2.0, 1.5, 1.0, 0.5, 0.1],
    };
    let mut matrix = [[0.0; 5]; 5];
    for (row, entries) in matrix.iter_mut().enumerate() {
        entries[row] = 1.0 + row as f64;
        entries[0] -= 0.5;
    }
    let mean = [19.0, 18.0, 17.5, 17.0, 16.5];
    config.preprocess.mag = MagPreprocess::Whiten { mean, matrix };
    assert_as_exact(&config, 9);
}

#[test]
fn every_size_of_batch_is_as_exact_as_the_plain_network() {
    for batch in [1, 7, 64, 100, 512] {
        assert_as_exact(&preset("astromae", 1), batch);
    }
}

/// Widths, groups and grids that fill no vectors.
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

/// Widths, heads and grids that fill no tiles, beside the network that libtorch computes in the same numbers.
#[test]
fn odd_sizes_in_bfloat16_are_near_float32() {
    let _guard = tch::no_grad_guard();
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
        let inputs = init::inputs(37, cutout_px).unwrap();
        let weights = checkpoint(&directory(&config), &config, Kind::Float);
        let predict = |on| {
            let network = Fast::new(&weights, &config, on).unwrap();
            network.forward(&inputs).unwrap()
        };
        let whole = predict(Backend::new(Device::Cpu, Kind::Float));
        let off = |on| {
            let dz = (predict(on) - &whole) / (&whole + 1.0).abs();
            dz.abs().mean(Kind::Float).double_value(&[])
        };
        let [ours @ .., libtorch] = &backends(Kind::BFloat16)[..] else {
            unreachable!("libtorch is always there")
        };
        let expected = off(*libtorch);
        for on in ours {
            let mean = off(*on);
            assert!(
                mean < (2.0 * expected).max(0.01),
                "mean |dz| {mean} where libtorch's is {expected}: {on:?}, {config:?}"
            );
        }
    }
}

#[test]
fn a_large_batch_is_its_parts() {
    let model = model(&preset("astromae", 1), Precision::Fp32);
    let whole = init::inputs(300, 32).unwrap();
    let part = |first, rows| Inputs {
        cutouts: whole.cutouts.as_ref().map(|x| x.narrow(0, first, rows)),
        mags: whole.mags.as_ref().map(|x| x.narrow(0, first, rows)),
    };
    let parts = [(0, 128), (128, 128), (256, 44)]
        .map(|(first, rows)| bits(&model.forward(&part(first, rows)).unwrap()));
    assert_eq!(bits(&model.forward(&whole).unwrap()), parts.concat());
}

/// Of layers that leave their inputs as they are.
#[test]
fn gelu_is_as_exact_as_its_numbers_show() {
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
            let layer = Linear::new(&layer, on).unwrap();
            let off = layer.forward(&x, Then::Gelu).unwrap().to_kind(Kind::Double) - &exact;
            let beyond = off.abs() - exact.abs() * digits - near;
            let most = beyond.max().double_value(&[]);
            assert!(most <= 0.0, "{on:?}: {most} more than may be");
        }
    }
}

#[test]
fn a_galaxy_has_the_same_bits_in_any_batch() {
    let _guard = tch::no_grad_guard();
    let whole = init::inputs(131, 32).unwrap();
    let config = preset("astromae", 2);
    let weights = checkpoint(&directory(&config), &config, Kind::Float);
    let all = [Kind::Float, Kind::BFloat16].into_iter().flat_map(backends);
    for on in all.filter(every_layer_is_ours) {
        let network = Fast::new(&weights, &config, on).unwrap();
        let expected = bits(&network.forward(&whole).unwrap());
        for (first, rows) in [(0, 1), (1, 7), (60, 64), (28, 103), (130, 1)] {
            let part = |x: &Tensor| x.narrow(0, first as i64, rows as i64);
            let inputs = Inputs {
                cutouts: whole.cutouts.as_ref().map(part),
                mags: whole.mags.as_ref().map(part),
            };
            let there = bits(&network.forward(&inputs).unwrap());
            assert_eq!(
                there,
                expected[first..first + rows],
                "{on:?}, {rows} rows from {first}"
            );
        }
    }
}

/// Where libtorch computes layers, a galaxy's bits may depend on its batch.
fn every_layer_is_ours(on: &Backend) -> bool {
    on.set.is_some_and(|set| has_linear(set, 2, on.kind))
}

#[test]
fn larger_cutouts_are_cropped() {
    let model = model(&preset("astromae", 1), Precision::Fp32);
    let large = init::inputs(5, 65).unwrap();
    let cutouts = large.cutouts.as_ref().unwrap();
    let cropped = cutouts.narrow(2, 16, 32).narrow(3, 16, 32);
    let small = Inputs {
        cutouts: Some(cropped.contiguous()),
        mags: large.mags.as_ref().map(Tensor::shallow_clone),
    };
    let of = |inputs: &Inputs| bits(&model.forward(inputs).unwrap());
    assert_eq!(of(&large), of(&small));
}

#[test]
fn replicas_predict_the_same_bits_on_other_threads() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        let model = model(&preset("astromae", 2), precision);
        let predict = |model: &dyn Model| {
            crate::single_threaded();
            bits(&model.forward(&init::inputs(33, 32).unwrap()).unwrap())
        };
        let here = predict(&model);
        let others: Vec<_> = (0..3).map(|_| model.replica().unwrap()).collect();
        drop(model);
        let threads = others
            .into_iter()
            .map(|replica| std::thread::spawn(move || predict(replica.as_ref())));
        for thread in threads.collect::<Vec<_>>() {
            assert_eq!(thread.join().unwrap(), here, "{precision}");
        }
    }
}

#[test]
fn bfloat16_is_near_float32() {
    let _guard = tch::no_grad_guard();
    let inputs = init::inputs(64, 32).unwrap();
    // Four channels to a group, which are multiplied in pairs, three and one.
    for groups in [48, 64, 192] {
        let mut config = preset("astromae", 4);
        config.encoder.pcm_group = groups;
        let weights = checkpoint(&directory(&config), &config, Kind::Float);
        let predict = |on| {
            let network = Fast::new(&weights, &config, on).unwrap();
            network.forward(&inputs).unwrap()
        };
        let whole = predict(Backend::new(Device::Cpu, Kind::Float));
        for on in backends(Kind::BFloat16) {
            let half = predict(on);
            let dz = (&half - &whole) / (&whole + 1.0).abs();
            let mean = dz.abs().mean(Kind::Float).double_value(&[]);
            // Weights that have learned nothing lead to redshifts near -2, and to larger errors than trained ones.
            assert!(
                mean < 0.02 && mean > 0.0,
                "mean |dz| {mean}, {groups} groups: {on:?}"
            );
            assert_eq!(half.kind(), Kind::Float);
        }
    }
}

/// A NaN that became a number, in the input or in a weight, would be a redshift that looks like any other.
#[test]
fn what_is_not_a_number_stays_so() {
    let _guard = tch::no_grad_guard();
    let config = preset("astromae", 2);
    let directory = directory(&config);
    let inputs = || init::inputs(3, 32).unwrap();
    let names = [
        "cls_token",
        "blocks.1.attn.qkv.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.0.PCM.0.weight",
        "inception_model.conv2d_init.weight",
        "inception_model.vis_inception.3.branch2.1.conv.weight",
        "inception_model.vis_inception.3.branch4.1.conv.weight",
        "inception_model.magnitude_block.4.bias",
        "vit_block.2.bias",
        "concat_block.0.bias",
    ];
    for on in [Kind::Float, Kind::BFloat16].into_iter().flat_map(backends) {
        for name in names {
            let mut weights = checkpoint(&directory, &config, Kind::Float).into_tensors();
            let _ = weights
                .get_mut(name)
                .unwrap()
                .view(-1)
                .get(0)
                .fill_(f64::NAN);
            let network = Fast::new(&Checkpoint::of(weights), &config, on).unwrap();
            let z_phot = network.forward(&inputs()).unwrap();
            assert!(
                bool::try_from(z_phot.isnan().all()).unwrap(),
                "{name} on {on:?}"
            );
        }
        let network = checkpoint(&directory, &config, Kind::Float);
        let network = Fast::new(&network, &config, on).unwrap();
        let spoilt = |spoil: &dyn Fn(&Inputs)| {
            let inputs = inputs();
            spoil(&inputs);
            let z_phot = network.forward(&inputs).unwrap();
            Vec::<bool>::try_from(z_phot.isnan()).unwrap()
        };
        let in_cutouts = spoilt(&|inputs| {
            let _ = inputs
                .cutouts
                .as_ref()
                .unwrap()
                .get(1)
                .get(2)
                .get(17)
                .get(30)
                .fill_(f64::NAN);
        });
        let in_mags = spoilt(&|inputs| {
            let _ = inputs.mags.as_ref().unwrap().get(1).get(2).fill_(f64::NAN);
        });
        for others in [in_cutouts, in_mags] {
            assert_eq!(others, [false, true, false], "{on:?}");
        }
    }
}

#[test]
fn an_unneeded_input_may_be_missing() {
    let mut config = preset("astromae", 1);
    config.branches = vec![Branch::Encoder];
    let model = model(&config, Precision::Fp32);
    let needs = Needs {
        cutouts: true,
        mags: false,
    };
    assert_eq!(model.needs(), needs);
    let mut inputs = init::inputs(3, 32).unwrap();
    inputs.mags = None;
    assert_eq!(model.forward(&inputs).unwrap().size(), [3]);
}
