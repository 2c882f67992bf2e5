//! How a network's tokens are made, before the first block.

use tch::Tensor;

use super::weight::{Affine, exact};
use crate::checkpoint::Checkpoint;
use crate::error::Error;

/// How tokens are made of patches.
pub(super) struct Embedding {
    /// The layer of a patch's pixels, whose bias is among the places.
    pub(super) patches: Affine,
    /// `[1 + patch, width]`: the class token plus its position, then the position of each patch plus the layer's bias.
    pub(super) places: Tensor,
}

impl Embedding {
    pub(super) fn read(c: &Checkpoint) -> Result<Self, Error> {
        let mut patches = Affine::read(c, "patch_embed.proj")?;
        patches.weight = patches.weight.f_flatten(1, -1)?;
        let places = exact(c, "pos_embed")?.f_squeeze_dim(0)?;
        let count = places.size()[0] - 1;
        let class = exact(c, "cls_token")?.f_view([1, -1])?;
        let class = class.f_add(&places.f_narrow(0, 0, 1)?)?;
        let of_patches = places.f_narrow(0, 1, count)?.f_add(&patches.bias)?;
        patches.bias = patches.bias.f_zeros_like()?;
        Ok(Self {
            patches,
            places: Tensor::f_cat(&[class, of_patches], 0)?,
        })
    }
}
