//! The parallel convolution module (PCM) on a backend.

use tch::{TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::libtorch::BlockPcm;
use super::linear::FoldedLinear;
use super::loops::{PackedPcm, add_pcm};
use super::weight::{Affine, PcmLayers};

/// A parallel convolution module with its batch normalisation folded in.
#[derive(Debug, Clone)]
pub(super) enum FoldedPcm {
    /// Our own loop.
    Packed(PackedPcm),
    /// Kernels of one pixel on a GPU: linear layers with zeros between groups, whose extra products cost a GPU nothing.
    Dense {
        widen: FoldedLinear,
        narrow: FoldedLinear,
    },
    /// Larger kernels on a GPU.
    Blocks(BlockPcm),
}

impl FoldedPcm {
    pub(super) fn new(layers: &PcmLayers, on: Backend) -> Result<Self, TchError> {
        if let Some(set) = on.set {
            return Ok(Self::Packed(PackedPcm::new(set, layers, on.kind)?));
        }
        if layers.widen.weight.size()[2] > 1 {
            return Ok(Self::Blocks(BlockPcm::new(layers, on)?));
        }
        let dense = |layer: &Affine| FoldedLinear::new(&layer.dense(layers.groups as i64)?, on);
        Ok(Self::Dense {
            widen: dense(&layers.widen)?,
            narrow: dense(&layers.narrow)?,
        })
    }

    /// Adds the module to its input, `[patch * batch, width]`.
    pub(super) fn add_to(&self, x: &mut Tensor) -> Result<(), TchError> {
        match self {
            Self::Packed(pcm) => add_pcm(x, pcm),
            Self::Dense { widen, narrow } => {
                let hidden = widen.forward(x, Activation::Identity)?.f_silu_()?;
                narrow.add_to(x, &hidden)
            }
            Self::Blocks(pcm) => pcm.add_to(x),
        }
    }
}
