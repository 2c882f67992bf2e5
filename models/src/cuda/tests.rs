//! Tests that need CUDA's libraries or a GPU: `make test-cuda`.
#![allow(clippy::unwrap_used)]

use std::thread;

use tch::Tensor;

use super::{gpu, shim};
use crate::device::DeviceChoice;
use crate::{AstroMae, Config, Inputs, Model, Precision, init};

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
