//! Weights of the folded network: folded in float64, then shared by any number of threads.

use std::ops::Deref;

use tch::{Kind, TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::Error;

/// A tensor that is never written again. A clone shares its memory.
#[derive(Debug)]
pub(super) struct Weight(pub(super) Tensor);

impl Clone for Weight {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Deref for Weight {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// Reads a tensor of the checkpoint in float64, the numbers in which layers are folded.
pub(super) fn exact(c: &Checkpoint, name: &str) -> Result<Tensor, Error> {
    Ok(c.tensor(name)?.f_to_kind(Kind::Double)?)
}

/// A linear layer or a convolution, `W x + b`, in float64.
#[derive(Debug)]
pub(super) struct Affine {
    /// `[out, in]`, or `[out, in, y, x]` for a convolution.
    pub(super) weight: Tensor,
    /// `[out]`.
    pub(super) bias: Tensor,
}

impl Affine {
    /// Reads the layer at `path`.
    pub(super) fn read(c: &Checkpoint, path: &str) -> Result<Self, Error> {
        Ok(Self {
            weight: exact(c, &format!("{path}.weight"))?,
            bias: exact(c, &format!("{path}.bias"))?,
        })
    }

    /// Folds `first` into this layer, which follows it directly.
    pub(super) fn after(&self, first: &Self) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_matmul(&first.weight)?,
            bias: self.weight.f_mv(&first.bias)?.f_add(&self.bias)?,
        })
    }

    /// Folds the scale and shift of the layer normalisation at `path` into this layer, which follows it.
    pub(super) fn after_norm(&self, c: &Checkpoint, path: &str) -> Result<Self, Error> {
        let (scale, shift) = (
            exact(c, &format!("{path}.weight"))?,
            exact(c, &format!("{path}.bias"))?,
        );
        Ok(Self {
            weight: self.weight.f_mul(&scale)?,
            bias: self.weight.f_mv(&shift)?.f_add(&self.bias)?,
        })
    }

    /// Folds the batch normalisation at `path`, which follows this layer, into it; epsilon 1e-5.
    pub(super) fn then_batch_norm(&self, c: &Checkpoint, path: &str) -> Result<Self, Error> {
        let of = |part: &str| exact(c, &format!("{path}.{part}"));
        let deviation = of("running_var")?.f_add_scalar(1e-5)?.f_sqrt()?;
        let scale = of("weight")?.f_div(&deviation)?;
        let mut shape = vec![1; self.weight.dim()];
        shape[0] = -1;
        Ok(Self {
            weight: self.weight.f_mul(&scale.f_view(&shape[..])?)?,
            bias: self
                .bias
                .f_sub(&of("running_mean")?)?
                .f_mul(&scale)?
                .f_add(&of("bias")?)?,
        })
    }

    /// Turns a grouped 1x1 convolution into a layer of all channels, with zeros between groups.
    pub(super) fn dense(&self, groups: i64) -> Result<Self, TchError> {
        let (out, each, _, _) = self.weight.size4()?;
        let grouped = self.weight.f_view([groups, out / groups, each])?;
        let shape = [groups, out / groups, groups, each];
        let dense = Tensor::f_zeros(shape, (grouped.kind(), grouped.device()))?;
        for group in 0..groups {
            let mut place = dense.f_select(2, group)?.f_select(0, group)?;
            place.f_copy_(&grouped.f_select(0, group)?)?;
        }
        Ok(Self {
            weight: dense.f_view([out, groups * each])?,
            bias: self.bias.shallow_clone(),
        })
    }

    /// Joins layers that have the same input into one, whose outputs are theirs in this order.
    pub(super) fn side_by_side(layers: &[&Self]) -> Result<Self, TchError> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self {
            weight: Tensor::f_cat(&weights, 0)?,
            bias: Tensor::f_cat(&biases, 0)?,
        })
    }

    /// Reorders the inputs: input `n` becomes the old input `channels[n]`.
    pub(super) fn inputs_in(&self, channels: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_index_select(1, channels)?,
            bias: self.bias.shallow_clone(),
        })
    }

    /// Reorders the outputs: output `n` becomes the old output `channels[n]`.
    pub(super) fn outputs_in(&self, channels: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_index_select(0, channels)?,
            bias: self.bias.f_index_select(0, channels)?,
        })
    }
}

/// The layers of a parallel convolution module: two grouped convolutions on `grid` by `grid` patches, and a SiLU between
/// them.
#[derive(Debug)]
pub(super) struct PcmLayers {
    /// `[hidden, in / groups, y, x]`.
    pub(super) widen: Affine,
    /// `[in, hidden / groups, y, x]`.
    pub(super) narrow: Affine,
    pub(super) groups: usize,
    pub(super) grid: usize,
}
