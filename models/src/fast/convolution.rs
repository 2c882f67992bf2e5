//! Square convolutions of few channels on a backend.

use tch::{TchError, Tensor};

use super::backend::Backend;
use super::libtorch::JointConv;
use super::loops::{PackedConv, convolve};
use super::weight::Affine;

/// Square convolutions side by side, each with as many outputs as inputs, with their batch normalisations folded in and
/// followed by a ReLU.
#[derive(Debug, Clone)]
pub(super) enum FoldedConvs {
    Packed(Vec<PackedConv>),
    Libtorch(JointConv),
}

impl FoldedConvs {
    pub(super) fn new(layers: &[Affine], on: Backend) -> Result<Self, TchError> {
        Ok(match on.set {
            Some(set) => {
                let packed = |layer| PackedConv::new(set, layer, on.kind);
                Self::Packed(layers.iter().map(packed).collect::<Result<_, _>>()?)
            }
            None => Self::Libtorch(JointConv::new(layers, on)?),
        })
    }

    /// Convolves the channels of `x` from `from` on, in place.
    ///
    /// `x` is `[batch * y * x, channel]`, cutouts of `side` by `side` pixels.
    pub(super) fn forward(&self, x: &mut Tensor, from: i64, side: i64) -> Result<(), TchError> {
        match self {
            Self::Packed(convs) => {
                let mut from = from;
                for conv in convs {
                    convolve(conv, x, from, side)?;
                    from += conv.channels();
                }
                Ok(())
            }
            Self::Libtorch(joint) => joint.forward(x, from, side),
        }
    }
}
