//! Convolutions side by side as one convolution.

use tch::{Device, Kind, TchError, Tensor};

use super::pixels::{cutouts, pixels};
use crate::fast::backend::Backend;
use crate::fast::weight::{Affine, Weight};

/// Convolutions side by side as one, whose weight has theirs on its diagonal: a GPU's kernels are made for more channels
/// than each of them has.
#[derive(Debug, Clone)]
pub(in crate::fast) struct JointConv {
    /// `[channel, channel, y, x]`, the channels last in memory.
    weight: Weight,
    bias: Weight,
}

impl JointConv {
    /// Joins the convolutions, padding their kernels to the largest.
    pub(in crate::fast) fn new(layers: &[Affine], on: Backend) -> Result<Self, TchError> {
        let kernel = |layer: &Affine| layer.weight.size()[3];
        let largest = layers.iter().map(kernel).max().unwrap_or(1);
        let weights = layers.iter().map(|layer| {
            let margin = (largest - kernel(layer)) / 2;
            layer.weight.f_constant_pad_nd([margin; 4])
        });
        let weights: Vec<Tensor> = weights.collect::<Result<_, _>>()?;
        let channels = weights.iter().map(|weight| weight.size()[0]);
        let shape = [channels.clone().sum(), channels.sum(), largest, largest];
        let joint = Tensor::f_zeros(shape, (Kind::Double, Device::Cpu))?;
        let mut from = 0;
        for weight in &weights {
            let channels = weight.size()[0];
            let rows = joint.f_narrow(0, from, channels)?;
            rows.f_narrow(1, from, channels)?.f_copy_(weight)?;
            from += channels;
        }
        let biases: Vec<&Tensor> = layers.iter().map(|layer| &layer.bias).collect();
        let channels_last = on.weight(&joint.f_permute([0, 2, 3, 1])?)?;
        Ok(Self {
            weight: Weight(channels_last.f_permute([0, 3, 1, 2])?),
            bias: on.weight(&Tensor::f_cat(&biases, 0)?)?,
        })
    }

    /// Convolves the channels of `x`, `[batch * y * x, channel]`, from `from` on, in place, and applies a ReLU.
    pub(in crate::fast) fn forward(
        &self,
        x: &mut Tensor,
        from: i64,
        side: i64,
    ) -> Result<(), TchError> {
        let (_, channels, kernel, _) = self.weight.size4()?;
        let margin = kernel / 2;
        let x = x.f_narrow(1, from, channels)?;
        let y = cutouts(&x, side)?.f_conv2d(
            &self.weight,
            Some(&self.bias.0),
            [1, 1],
            [margin, margin],
            [1, 1],
            1,
        )?;
        // A ReLU that writes into `x`.
        let _ = pixels(&y)?.f_clamp_min_out(&x, 0.0)?;
        Ok(())
    }
}
