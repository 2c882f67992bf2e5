//! Linear layers: weights packed once for this processor, and what follows fused into the product.
//!
//! | | shapes |
//! |---|---|
//! | [`Linear::forward`] | `[rows, in] -> [rows, out]` |
//! | [`Linear::write`] | the same, to columns of `[rows, out and more]` |
//! | [`Linear::add_to`] | `[rows, in]`, `[rows, out] -> [rows, out]` |
//!
//! On a CPU they are our own ([`is_own`]), or oneDNN's where the processor multiplies tiles of bfloat16. Where neither has
//! such a kernel (bfloat16 on a processor without it) and on a GPU, they are libtorch's own.

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
    /// oneDNN's: its weight, packed, and bias.
    OneDnn(Weight, Weight),
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
    /// A layer for inputs of about so many `rows`.
    pub(super) fn new(layer: &Affine, on: Backend, rows: i64) -> Result<Self, TchError> {
        let (weight, bias) = (on.weight(&layer.weight)?, on.weight(&layer.bias)?);
        if !on.own {
            return Ok(Self::Libtorch(weight, bias));
        }
        if is_own(on.kind, layer.weight.size()[1]) {
            return Ok(Self::Panels(Panels::new(&weight, &bias)?));
        }
        Ok(match pack(&weight, rows) {
            Ok(packed) => Self::OneDnn(Weight(packed), bias),
            Err(_no_kernel) => Self::Libtorch(weight, bias),
        })
    }

    /// `then(x W^T + b)`.
    pub(super) fn forward(&self, x: &Tensor, then: Then) -> Result<Tensor, TchError> {
        match self {
            Self::Panels(panels) => loops::linear(panels, x, then),
            Self::OneDnn(packed, bias) => {
                let name = match then {
                    Then::Nothing => c"none",
                    Then::Relu => c"relu",
                    Then::Gelu => c"gelu",
                };
                linear(x, packed, bias, name)
            }
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
            Self::OneDnn(packed, bias) => sum.f_copy_(&linear_add(x, sum, packed, bias)?),
            Self::Libtorch(weight, bias) => {
                let _same = sum.f_add_(&x.f_linear(weight, Some(&**bias))?)?;
                Ok(())
            }
        }
    }
}

unsafe extern "C" {
    fn hubbleflow_capability() -> *const c_char;
    fn hubbleflow_multiplies_tiles() -> bool;
    fn hubbleflow_pack(weight: *const CTensor, rows: i64, out: *mut *mut CTensor) -> CError;
    fn hubbleflow_linear(
        x: *const CTensor,
        packed: *const CTensor,
        bias: *const CTensor,
        then: *const c_char,
        out: *mut *mut CTensor,
    ) -> CError;
    fn hubbleflow_linear_activation(
        x: *const CTensor,
        weight: *const CTensor,
        bias: *const CTensor,
        gelu: bool,
        out: *mut *mut CTensor,
    ) -> CError;
    fn hubbleflow_linear_add(
        x: *const CTensor,
        other: *const CTensor,
        packed: *const CTensor,
        bias: *const CTensor,
        out: *mut *mut CTensor,
    ) -> CError;
}

/// The vector instructions that libtorch has found on this CPU.
pub(crate) fn cpu_capability() -> String {
    // SAFETY: a C string that is a constant of the library's.
    let name = unsafe { CStr::from_ptr(hubbleflow_capability()) };
    name.to_string_lossy().into_owned()
}

/// Whether layers of so many inputs are our own loop's. oneDNN's multiply tiles of bfloat16 where the processor does.
pub(super) fn is_own(kind: Kind, inputs: i64) -> bool {
    has_linear(kind, inputs) && !(kind == Kind::BFloat16 && multiplies_tiles())
}

/// Whether this processor multiplies tiles of bfloat16 (AMX).
fn multiplies_tiles() -> bool {
    // SAFETY: it takes nothing, and asks the processor alone.
    unsafe { hubbleflow_multiplies_tiles() }
}

fn c_tensor(tensor: &Tensor) -> *const CTensor {
    tensor.as_ptr().cast()
}

fn pack(weight: &Tensor, rows: i64) -> Result<Tensor, TchError> {
    // SAFETY: the tensor lives through the call, and `out` is written where there is no error.
    unsafe { made_by(|out| hubbleflow_pack(c_tensor(weight), rows, out)) }
}

fn linear(x: &Tensor, packed: &Tensor, bias: &Tensor, then: &CStr) -> Result<Tensor, TchError> {
    let (x, packed, bias) = (c_tensor(x), c_tensor(packed), c_tensor(bias));
    // SAFETY: the tensors and the name live through the call, and `out` is written where there is no error.
    unsafe { made_by(|out| hubbleflow_linear(x, packed, bias, then.as_ptr(), out)) }
}

fn activated(x: &Tensor, weight: &Tensor, bias: &Tensor, gelu: bool) -> Result<Tensor, TchError> {
    let (x, weight, bias) = (c_tensor(x), c_tensor(weight), c_tensor(bias));
    // SAFETY: the tensors live through the call, and `out` is written where there is no error.
    unsafe { made_by(|out| hubbleflow_linear_activation(x, weight, bias, gelu, out)) }
}

fn linear_add(
    x: &Tensor,
    other: &Tensor,
    packed: &Tensor,
    bias: &Tensor,
) -> Result<Tensor, TchError> {
    let (x, other) = (c_tensor(x), c_tensor(other));
    let (packed, bias) = (c_tensor(packed), c_tensor(bias));
    // SAFETY: the tensors live through the call, and `out` is written where there is no error.
    unsafe { made_by(|out| hubbleflow_linear_add(x, other, packed, bias, out)) }
}
