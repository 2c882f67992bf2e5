//! Batches: their sizes, their order, replicas and missing inputs.

use tch::{Kind, Tensor};

use super::{backends, bits, checkpoint, directory, model, preset};
use crate::config::{Branch, Config, HeadKind};
use crate::fast::loops::has_linear;
use crate::fast::{Backend, FoldedNetwork};
use crate::init;
use crate::inputs::Inputs;
use crate::model::Model;
use crate::needs::Needs;
use crate::precision::Precision;
use crate::threads::single_threaded;

#[test]
fn a_large_batch_is_predicted_in_parts() {
    let model = model(&preset("astromae", 1), Precision::Fp32);
    let whole = init::inputs(300, &preset("astromae", 1).needs()).unwrap();
    let part = |first, rows| Inputs {
        cutouts: whole.cutouts.as_ref().map(|x| x.narrow(0, first, rows)),
        mags: whole.mags.as_ref().map(|x| x.narrow(0, first, rows)),
        ..Inputs::default()
    };
    let parts = [(0, 128), (128, 128), (256, 44)]
        .map(|(first, rows)| bits(&model.z_phot(&part(first, rows)).unwrap()));
    assert_eq!(bits(&model.z_phot(&whole).unwrap()), parts.concat());
}

#[test]
fn a_galaxy_has_the_same_bits_in_any_batch() {
    let _guard = tch::no_grad_guard();
    let whole = init::inputs(131, &preset("astromae", 1).needs()).unwrap();
    let mut config = preset("astromae", 2);
    config.head = HeadKind::quantiles();
    let weights = checkpoint(&directory(&config), &config, Kind::Float);
    // The median too.
    let predicted = |network: &FoldedNetwork, inputs: &Inputs| {
        let outputs = network.outputs(inputs, &config.head.outputs()).unwrap();
        let by_galaxy = outputs
            .iter()
            .map(|output| output.view([inputs.batch() as i64, -1]));
        let joined = Tensor::cat(&by_galaxy.collect::<Vec<_>>(), 1);
        let rows = joined.unbind(0);
        rows.iter().map(bits).collect::<Vec<_>>()
    };
    let all = [Kind::Float, Kind::BFloat16].into_iter().flat_map(backends);
    for on in all.filter(uses_packed_kernels) {
        let network = FoldedNetwork::new(&weights, &config, on).unwrap();
        let expected = predicted(&network, &whole);
        for (first, rows) in [(0, 1), (1, 7), (60, 64), (28, 103), (130, 1)] {
            let part = |x: &Tensor| x.narrow(0, first as i64, rows as i64);
            let inputs = Inputs {
                cutouts: whole.cutouts.as_ref().map(part),
                mags: whole.mags.as_ref().map(part),
                ..Inputs::default()
            };
            assert_eq!(
                predicted(&network, &inputs),
                expected[first..first + rows],
                "{on:?}, {rows} rows from {first}"
            );
        }
    }
}

/// Whether our kernels compute every layer. With libtorch's, the bits of a galaxy may depend on its batch.
fn uses_packed_kernels(on: &Backend) -> bool {
    on.set.is_some_and(|set| has_linear(set, 2, on.kind))
}

#[test]
fn larger_cutouts_are_cropped() {
    let model = model(&preset("astromae", 1), Precision::Fp32);
    let larger = Config {
        cutout_px: 65,
        ..preset("astromae", 1)
    };
    let large = init::inputs(5, &larger.needs()).unwrap();
    let cutouts = large.cutouts.as_ref().unwrap();
    let cropped = cutouts.narrow(2, 16, 32).narrow(3, 16, 32);
    let small = Inputs {
        cutouts: Some(cropped.contiguous()),
        mags: large.mags.as_ref().map(Tensor::shallow_clone),
        ..Inputs::default()
    };
    let of = |inputs: &Inputs| bits(&model.z_phot(inputs).unwrap());
    assert_eq!(of(&large), of(&small));
}

#[test]
fn replicas_predict_the_same_bits_on_other_threads() {
    for precision in [Precision::Fp32, Precision::Bf16] {
        let model = model(&preset("astromae", 2), precision);
        let predict = |model: &dyn Model| {
            single_threaded();
            bits(
                &model
                    .z_phot(&init::inputs(33, model.needs()).unwrap())
                    .unwrap(),
            )
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
fn an_unneeded_input_may_be_missing() {
    let mut config = preset("astromae", 1);
    config.branches = vec![Branch::Encoder];
    let model = model(&config, Precision::Fp32);
    let Needs {
        cutouts,
        mags_required,
        ..
    } = model.needs();
    assert!(cutouts.is_some() && !mags_required);
    let mut inputs = init::inputs(3, model.needs()).unwrap();
    inputs.mags = None;
    assert_eq!(model.z_phot(&inputs).unwrap().size(), [3]);
}
