//! Tests that need CUDA's libraries or a GPU: `make test-cuda`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::thread;

use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::compiled::{ANY_GPU, HOPPER, SOURCES};
use super::{Kernels, gpu, shim};
use crate::checkpoint::Checkpoint;
use crate::device::DeviceChoice;
use crate::directory::Directory;
use crate::fast::{Backend, FoldedNetwork};
use crate::lane::Lane;
use crate::preprocess::CutoutPreprocess;
use crate::{AstroMae, Config, Inputs, Model, ModelOutput, Precision, init};

#[test]
#[ignore = "needs PyTorch's CUDA libraries"]
fn the_shim_finds_all_that_it_needs() {
    let gpus = gpu::count().unwrap();
    shim::open().unwrap();
    assert!(gpu::device(gpus).is_err());
}

fn model(precision: Precision) -> AstroMae {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::preset("astromae-pcm3").unwrap();
    config.encoder.depth = 2;
    init::init(dir.path(), &config, "").unwrap();
    let gpu = DeviceChoice::Cuda(None).resolve(0).unwrap();
    AstroMae::load(dir.path(), gpu, precision).unwrap()
}

fn predict(model: &dyn Model, inputs: &Inputs) -> Vec<f32> {
    Vec::try_from(model.z_phot(inputs).unwrap()).unwrap()
}

#[test]
#[ignore = "needs a GPU"]
fn a_lane_predicts_what_the_plain_network_does() {
    for (precision, off) in [(Precision::Fp32, 1e-4), (Precision::Bf16, 0.1)] {
        let model = model(precision);
        // One part and a tail.
        let inputs = init::inputs(1500, model.needs()).unwrap();
        let plain = Vec::<f32>::try_from(model.taps(&inputs).unwrap().z_phot).unwrap();
        let furthest = predict(&model, &inputs)
            .iter()
            .zip(plain)
            .map(|(lane, plain)| (lane - plain).abs())
            .fold(0.0, f32::max);
        assert!(furthest < off, "{precision}: {furthest}");
    }
}

/// What a network of `config` predicts on a lane, in bfloat16 by `kernels` or by libtorch's operators.
fn on_a_lane(config: &Config, kernels: Option<Kernels>) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    let directory = Directory::read(dir.path()).unwrap();
    let weights = Checkpoint::parse(&directory.weights_path, &directory.weights, config).unwrap();
    let gpu = DeviceChoice::Cuda(None).resolve(0).unwrap();
    let on = Backend::new(gpu, Kind::BFloat16);
    let network = FoldedNetwork::with_kernels(&weights, config, on, kernels).unwrap();
    let (needs, outputs) = (config.needs(), [ModelOutput::ZPhot]);
    let lane = Lane::new(&network, 0, &needs, &outputs).unwrap();
    let inputs = init::inputs(1100, &needs).unwrap();
    let dereddening = inputs.dereddening(&needs).unwrap();
    let made = lane.forward(&inputs, &dereddening, &outputs).unwrap();
    Vec::try_from(&made[0]).unwrap()
}

#[test]
#[ignore = "needs a GPU"]
fn kernels_compute_what_operators_do() {
    let changes: [fn(&mut Config); 5] = [
        |_| (),
        |config| config.cutout_px = 48,
        |config| config.cutout_px = 64,
        |config| config.bands = ["g", "r"].map(String::from).to_vec(),
        |config| {
            config.preprocess.cutout = CutoutPreprocess::Asinh {
                dereddening: vec![4.2, 3.3, 2.3, 1.7, 1.3],
                softening: vec![0.05, 0.03, 0.05, 0.07, 0.2],
                scale: vec![0.9, 1.3, 1.3, 1.3, 1.1],
            }
        },
    ];
    for preset in ["astromae", "astromae-plain", "astromae-pcm3"] {
        for (n, change) in changes.iter().enumerate() {
            let mut config = Config::preset(preset).unwrap();
            config.encoder.depth = 2;
            change(&mut config);
            let plain = on_a_lane(&config, None);
            let spread = plain.iter().fold(0_f32, |most, z| most.max(z.abs()));
            for set in [&HOPPER, &ANY_GPU] {
                let kernels = Kernels::of_set(0, set).unwrap();
                let made = on_a_lane(&config, Some(kernels));
                let pairs = made.iter().zip(&plain);
                let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(
                    off < 0.05 * spread,
                    "{preset}, change {n}: {off} of {spread}"
                );
            }
        }
    }
}

#[test]
fn the_kernels_are_compiled_from_their_sources() {
    let mut digest = Sha256::new();
    for source in ["functions.py", "encoder.py", "inception.py", "compile.py"] {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels");
        digest.update(std::fs::read(Path::new(folder).join(source)).unwrap());
    }
    let found: String = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        found, SOURCES,
        "the sources of the kernels changed: run `make kernels`"
    );
}

#[test]
#[ignore = "needs a GPU"]
fn a_galaxy_has_the_same_bits_in_any_batch_and_on_any_lane() {
    let model = model(Precision::Bf16);
    let inputs = init::inputs(1500, model.needs()).unwrap();
    let whole = predict(&model, &inputs);
    let from = |first: i64, rows: i64| Inputs {
        cutouts: inputs.cutouts.as_ref().map(|x| x.narrow(0, first, rows)),
        mags: inputs.mags.as_ref().map(|x| x.narrow(0, first, rows)),
        ..Inputs::default()
    };
    // In other rows of their part, and in another part.
    assert_eq!(predict(&model, &from(1021, 6)), whole[1021..1027]);
    let lanes: Vec<_> = (0..3).map(|_| model.replica().unwrap()).collect();
    let threads = lanes.into_iter().map(|lane| {
        let inputs = init::inputs(1500, model.needs()).unwrap();
        thread::spawn(move || {
            (0..20)
                .map(|_| predict(lane.as_ref(), &inputs))
                .collect::<Vec<_>>()
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        assert!(thread.join().unwrap().iter().all(|again| *again == whole));
    }
}

#[test]
#[ignore = "needs a GPU"]
fn inputs_may_lie_in_pinned_memory() {
    let model = model(Precision::Fp32);
    let made_up = init::inputs(700, model.needs()).unwrap();
    let pinned = |tensor: &Tensor| {
        let mut place = model.host_tensor(&tensor.size()).unwrap();
        place.copy_(tensor);
        place
    };
    let inputs = Inputs {
        cutouts: made_up.cutouts.as_ref().map(pinned),
        mags: made_up.mags.as_ref().map(pinned),
        ..Inputs::default()
    };
    assert_eq!(predict(&model, &inputs), predict(&model, &made_up));
}
