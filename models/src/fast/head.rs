//! The last layer of each branch and the head's first layer, folded into one.

use tch::Tensor;

use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::config::{Branch, Config};
use crate::error::Error;
use crate::layout::{IMAGE_FEATURES, MAG_FEATURES, MAG_LAYERS, head_names};

/// Folds the last layer of each branch with the head's hidden layer, if it has one. A ReLU follows in either case.
pub(super) fn joint_layer(c: &Checkpoint, config: &Config) -> Result<Affine, Error> {
    let _guard = tch::no_grad_guard();
    let branches = config.ordered_branches();
    let Some(hidden) = head_names(config).0 else {
        return last_layer(c, branches[0]);
    };
    let hidden = Affine::read(c, hidden)?;
    let mut weights = Vec::with_capacity(branches.len());
    let (mut bias, mut start) = (hidden.bias, 0);
    for branch in branches {
        let width = match branch {
            Branch::Encoder | Branch::Inception => IMAGE_FEATURES,
            Branch::Magnitude => MAG_FEATURES,
        } as i64;
        let layer = last_layer(c, branch)?;
        let of_branch = hidden.weight.f_narrow(1, start, width)?;
        weights.push(of_branch.f_matmul(&layer.weight)?);
        bias = bias.f_add(&of_branch.f_mv(&layer.bias)?)?;
        start += width;
    }
    Ok(Affine {
        weight: Tensor::f_cat(&weights, 1)?,
        bias,
    })
}

/// The last layer of a branch.
fn last_layer(c: &Checkpoint, branch: Branch) -> Result<Affine, Error> {
    match branch {
        Branch::Encoder => Affine::read(c, "vit_block.2"),
        Branch::Inception => Affine::read(c, "inception_model.vis_inception.12"),
        Branch::Magnitude => {
            let last = MAG_LAYERS[MAG_LAYERS.len() - 1];
            Affine::read(c, &format!("inception_model.magnitude_block.{last}"))
        }
    }
}
