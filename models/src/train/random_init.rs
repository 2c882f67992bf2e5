//! The random weights that a training starts from. A seed gives the same weights on every machine.
//!
//! | tensor | distribution |
//! |---|---|
//! | weights of the transformers | uniform, Glorot & Bengio 2010, as in He et al. 2022 |
//! | the weight of the output | uniform, small |
//! | other weights | uniform, for layers before a ReLU, He et al. 2015 |
//! | `cls_token`, `mask_token` | uniform with standard deviation 0.02 |
//! | biases; weights of norms | 0; 1 |
//! | `running_mean`, `running_var` | 0, 1 |

use std::collections::BTreeMap;

use tch::Tensor;

use super::trainable::Trainable;
use crate::error::Error;
use crate::init::Uniform;
use crate::layout::{TensorEntry, is_trunk};

/// Makes every tensor that a forward pass of `config` needs, float32 on the CPU.
pub(crate) fn tensors(
    config: &impl Trainable,
    seed: u64,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let needed = config.layout().into_iter().filter(|entry| entry.required);
    let output = format!("{}.weight", config.output_layer());
    let tensor = |entry: TensorEntry| {
        let is_output = entry.name == output;
        let values = config.constant(&entry.name);
        let values = values.unwrap_or_else(|| self::values(&entry, is_output, seed));
        let shape: Vec<i64> = entry.shape.iter().map(|&side| side as i64).collect();
        Ok((entry.name, Tensor::f_from_slice(&values)?.f_reshape(shape)?))
    };
    needed.map(tensor).collect()
}

fn values(entry: &TensorEntry, is_output: bool, seed: u64) -> Vec<f32> {
    let name = entry.name.as_str();
    let elements: usize = entry.shape.iter().product();
    let outputs = entry.shape[0];
    let inputs: usize = entry.shape.iter().skip(1).product();
    let bound = if name.ends_with("_token") {
        0.02 * 3f64.sqrt()
    } else if entry.shape.len() == 1 {
        let one = name.ends_with(".weight") || name.ends_with("running_var");
        return vec![if one { 1.0 } else { 0.0 }; elements];
    } else if is_trunk(name) || name.starts_with("decoder_") {
        (6.0 / (inputs + outputs) as f64).sqrt()
    } else if is_output {
        // The first redshifts are near the bias.
        0.1 / (inputs as f64).sqrt()
    } else {
        (6.0 / inputs as f64).sqrt()
    };
    let uniform = Uniform::new(&format!("{seed}/{name}"));
    (0..elements)
        .map(|i| (bound * uniform.s(i)) as f32)
        .collect()
}
