//! Linear layers whose activation is fused into the product.
//!
//! | | shapes |
//! |---|---|
//! | [`FoldedLinear::forward`] | `[rows, in] -> [rows, out]` |
//! | [`FoldedLinear::write`] | the same, into some columns of a wider tensor |
//! | [`FoldedLinear::add_to`] | `[rows, in]`, `[rows, out] -> [rows, out]` |
//!
//! On a CPU our own loops compute them from packed weights. libtorch computes them on a GPU, and if the loops have no
//! kernel: for bfloat16 on a processor that does not multiply bfloat16, and for some odd numbers of inputs.

use tch::{Kind, TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::libtorch::linear_activation;
use super::loops::{self, PackedLinear, has_linear};
use super::weight::{Affine, Weight};

/// A linear layer in the numbers of a backend.
#[derive(Debug, Clone)]
pub(super) enum FoldedLinear {
    /// Packed weights, for our own loop.
    Packed(PackedLinear),
    /// Weight and bias, for libtorch.
    Libtorch(Weight, Weight),
}

impl FoldedLinear {
    pub(super) fn new(layer: &Affine, on: Backend) -> Result<Self, TchError> {
        let (weight, bias) = (on.weight(&layer.weight)?, on.weight(&layer.bias)?);
        match on.set {
            Some(set) if has_linear(set, layer.weight.size()[1], on.kind) => {
                Ok(Self::Packed(PackedLinear::new(set, &weight, &bias)?))
            }
            _ => Ok(Self::Libtorch(weight, bias)),
        }
    }

    /// `activation(x W^T + b)`.
    pub(super) fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor, TchError> {
        match self {
            Self::Packed(packed) => loops::linear(packed, x, activation),
            // The fused GELU of a GPU is the approximation by tanh. It is off by up to 5e-4, which bfloat16 hides.
            Self::Libtorch(weight, bias) => match activation {
                Activation::Relu => linear_activation(x, weight, bias, false),
                Activation::Gelu if x.kind() == Kind::BFloat16 => {
                    linear_activation(x, weight, bias, true)
                }
                Activation::Gelu => x.f_linear(weight, Some(&**bias))?.f_gelu_("none"),
                Activation::Identity => x.f_linear(weight, Some(&**bias)),
            },
        }
    }

    /// Writes `activation(x W^T + b)` to the columns of `y` from `to` on.
    pub(super) fn write(
        &self,
        x: &Tensor,
        activation: Activation,
        y: &mut Tensor,
        to: i64,
    ) -> Result<(), TchError> {
        if let Self::Packed(packed) = self {
            return loops::write_linear(packed, x, activation, y, to);
        }
        let made = self.forward(x, activation)?;
        y.f_narrow(1, to, made.size2()?.1)?.f_copy_(&made)
    }

    /// Adds `x W^T + b` to `sum`.
    pub(super) fn add_to(&self, sum: &mut Tensor, x: &Tensor) -> Result<(), TchError> {
        match self {
            Self::Packed(packed) => loops::add_linear(packed, x, sum),
            Self::Libtorch(weight, bias) => {
                let _same = sum.f_add_(&x.f_linear(weight, Some(&**bias))?)?;
                Ok(())
            }
        }
    }
}
