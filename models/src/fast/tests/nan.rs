//! NaN in an input or a weight gives NaN.

use tch::Kind;

use super::{backends, checkpoint, directory, preset};
use crate::checkpoint::Checkpoint;
use crate::fast::FoldedNetwork;
use crate::init;
use crate::inputs::Inputs;

/// Tensors of all parts of the network.
const WEIGHTS: [&str; 10] = [
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

/// A NaN that became a number would give a redshift that looks like any other.
#[test]
fn nan_in_a_weight_or_an_input_gives_nan() {
    let _guard = tch::no_grad_guard();
    let config = preset("astromae", 2);
    let directory = directory(&config);
    let inputs = || init::inputs(3, &config.needs()).unwrap();
    for on in [Kind::Float, Kind::BFloat16].into_iter().flat_map(backends) {
        for name in WEIGHTS {
            let mut weights = checkpoint(&directory, &config, Kind::Float).into_tensors();
            let weight = weights.get_mut(name).unwrap();
            let _ = weight.view(-1).get(0).fill_(f64::NAN);
            let network = FoldedNetwork::new(&Checkpoint::of(weights), &config, on).unwrap();
            let z_phot = network.forward(&inputs()).unwrap();
            assert!(
                bool::try_from(z_phot.isnan().all()).unwrap(),
                "{name} on {on:?}"
            );
        }
        let network = checkpoint(&directory, &config, Kind::Float);
        let network = FoldedNetwork::new(&network, &config, on).unwrap();
        let is_nan = |spoil: &dyn Fn(&Inputs)| {
            let inputs = inputs();
            spoil(&inputs);
            let z_phot = network.forward(&inputs).unwrap();
            Vec::<bool>::try_from(z_phot.isnan()).unwrap()
        };
        let in_cutouts = is_nan(&|inputs| {
            let cutout = inputs.cutouts.as_ref().unwrap().get(1);
            let _ = cutout.get(2).get(17).get(30).fill_(f64::NAN);
        });
        let in_mags = is_nan(&|inputs| {
            let _ = inputs.mags.as_ref().unwrap().get(1).get(2).fill_(f64::NAN);
        });
        for found in [in_cutouts, in_mags] {
            assert_eq!(found, [false, true, false], "{on:?}");
        }
    }
}
