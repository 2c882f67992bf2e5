//! Linear layers: weights packed once for this processor, and what follows fused into the product.
//!
//! | | shapes |
//! |---|---|
//! | [`Linear::forward`] | `[rows, in] -> [rows, out]` |
//! | [`Linear::write`] | the same, to columns of `[rows, out and more]` |
//! | [`Linear::add_to`] | `[rows, in]`, `[rows, out] -> [rows, out]` |
//!
//! On a CPU they are our own ([`has_linear`]). Where we have no kernel (bfloat16 on a processor that does not multiply it, or an
//! odd number of inputs) and on a GPU, they are libtorch's own.

use std::ffi::{CStr, c_char};

use tch::{Kind, TchError, Tensor};

use super::backend::Backend;
use super::loops::{self, Panels, has_linear};
use super::weight::{Affine, Weight};
use crate::cpp::{CError, CTensor, made_by};

/// A linear layer, in the numbers of the fast network.
#[derive(Debug, Clone)]
pub(super) enum Linear {
    /// Our own loop's.
    Panels(Panels),
    /// libtorch's: its weight and bias.
    Libtorch(Weight, Weight),
}

/// What follows a linear layer; the numbers are those of `loops.cpp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing = 0,
    Relu = 1,
    Gelu = 2,
}

impl Linear {
    /// A layer in the numbers of a backend.
    pub(super) fn new(layer: &Affine, on: Backend) -> Result<Self, TchError> {
        let (weight, bias) = (on.weight(&layer.weight)?, on.weight(&layer.bias)?);
        match on.set {
            Some(set) if has_linear(set, layer.weight.size()[1], on.kind) => {
                Ok(Self::Panels(Panels::new(set, &weight, &bias)?))
            }
            _ => Ok(Self::Libtorch(weight, bias)),
        }
    }

    /// `then(x W^T + b)`.
    pub(super) fn forward(&self, x: &Tensor, then: Then) -> Result<Tensor, TchError> {
        match self {
            Self::Panels(panels) => loops::linear(panels, x, then),
            // A GPU's GELU in the product is the one by tanh: 5e-4 from this one, which bfloat16 alone does not show.
            Self::Libtorch(weight, bias) => match then {
                Then::Relu => activated(x, weight, bias, false),
                Then::Gelu if x.kind() == Kind::BFloat16 => activated(x, weight, bias, true),
                Then::Gelu => x.f_linear(weight, Some(&**bias))?.f_gelu_("none"),
                Then::Nothing => x.f_linear(weight, Some(&**bias)),
            },
        }
    }

    /// The same, written to the columns of `y` from `to` on.
    pub(super) fn write(
        &self,
        x: &Tensor,
        then: Then,
        y: &mut Tensor,
        to: i64,
    ) -> Result<(), TchError> {
        if let Self::Panels(panels) = self {
            return loops::write_linear(panels, x, then, y, to);
        }
        let made = self.forward(x, then)?;
        y.f_narrow(1, to, made.size2()?.1)?.f_copy_(&made)
    }

    /// Adds `x W^T + b` to `sum`.
    pub(super) fn add_to(&self, sum: &mut Tensor, x: &Tensor) -> Result<(), TchError> {
        match self {
            Self::Panels(panels) => loops::add_linear(panels, x, sum),
            Self::Libtorch(weight, bias) => {
                let _same = sum.f_add_(&x.f_linear(weight, Some(&**bias))?)?;
                Ok(())
            }
        }
    }
}

unsafe extern "C" {
    fn hubbleflow_capability() -> *const c_char;
    fn hubbleflow_linear_activation(
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        gelu: bool,
        out: *mut *mut CTensor,
    ) -> CError;
}

/// The vector instructions that libtorch has found on this CPU.
pub(crate) fn cpu_capability() -> String {
    // SAFETY: a C string that is a constant of the library's.
    let name = unsafe { CStr::from_ptr(hubbleflow_capability()) };
    name.to_string_lossy().into_owned()
}

fn c_tensor(tensor: &Tensor) -> *const CTensor {
    tensor.as_ptr().cast()
}

fn activated(x: &Tensor, weight: &Tensor, bias: &Tensor, gelu: bool) -> Result<Tensor, TchError> {
    let (x, weight, bias) = (c_tensor(x), c_tensor(weight), c_tensor(bias));
    // SAFETY: the tensors live through the call, and `out` is written where there is no error.
    unsafe { made_by(|out| hubbleflow_linear_activation(x, weight, bias, gelu, out)) }
}
