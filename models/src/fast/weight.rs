//! Weights as the fast network holds them: folded in float64, then handed out to any number of threads.

use std::ops::Deref;

use tch::{Kind, TchError, Tensor};

use crate::{Checkpoint, Error};

/// A tensor that is never written again; a clone is another handle on the same memory.
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

/// A tensor of the checkpoint in float64, in which everything is folded.
pub(super) fn exact(c: &Checkpoint, name: &str) -> Result<Tensor, Error> {
    Ok(c.tensor(name)?.f_to_kind(Kind::Double)?)
}

/// `W x + b`, in float64; also a convolution, whose kernel is flattened to `[out, in * y * x]` or left as it is.
#[derive(Debug)]
pub(super) struct Affine {
    /// `[out, in]`, or `[out, in, y, x]`.
    pub(super) weight: Tensor,
    /// `[out]`.
    pub(super) bias: Tensor,
}

impl Affine {
    /// The layer at `path`.
    pub(super) fn read(c: &Checkpoint, path: &str) -> Result<Self, Error> {
        Ok(Self {
            weight: exact(c, &format!("{path}.weight"))?,
            bias: exact(c, &format!("{path}.bias"))?,
        })
    }

    /// This layer after `first`, with nothing between them.
    pub(super) fn after(&self, first: &Self) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_matmul(&first.weight)?,
            bias: self.weight.f_mv(&first.bias)?.f_add(&self.bias)?,
        })
    }

    /// This layer after the scale and shift of the layer normalisation at `path`.
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

    /// The batch normalisation at `path` after this layer; epsilon 1e-5.
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

    /// A grouped 1x1 convolution as a layer of all channels, with zeros from one group to another.
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

    /// The outputs of several layers on one input, one after the other.
    pub(super) fn side_by_side(layers: &[&Self]) -> Result<Self, TchError> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &layer.weight).collect();
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        Ok(Self {
            weight: Tensor::f_cat(&weights, 0)?,
            bias: Tensor::f_cat(&biases, 0)?,
        })
    }

    /// The same layer with its inputs in the order of `channels`.
    pub(super) fn inputs_in(&self, channels: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_index_select(1, channels)?,
            bias: self.bias.shallow_clone(),
        })
    }

    /// The same layer with its outputs in the order of `channels`.
    pub(super) fn outputs_in(&self, channels: &Tensor) -> Result<Self, TchError> {
        Ok(Self {
            weight: self.weight.f_index_select(0, channels)?,
            bias: self.bias.f_index_select(0, channels)?,
        })
    }
}

/// A parallel convolution module: two grouped convolutions on `grid` by `grid` patches, with a SiLU between them.
#[derive(Debug)]
pub(super) struct PcmLayers {
    /// `[hidden, in / groups, y, x]`.
    pub(super) widen: Affine,
    /// `[in, hidden / groups, y, x]`.
    pub(super) narrow: Affine,
    pub(super) groups: usize,
    pub(super) grid: usize,
}
