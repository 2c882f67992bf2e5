//! A linear layer of oneDNN: weights packed once for this processor, and what follows fused into the product.
//!
//! | | shapes |
//! |---|---|
//! | [`Linear::forward`] | `[rows, in] -> [rows, out]` |
//! | [`Linear::add_to`] | `[rows, in]`, `[rows, out] -> [rows, out]` |
//!
//! Where oneDNN has no such kernel (bfloat16 on a processor without it) and on a GPU, libtorch's own takes its place.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use tch::{TchError, Tensor};

use super::backend::Backend;
use super::weight::{Affine, Weight};

/// A linear layer, in the numbers of the fast network.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    weight: Weight,
    bias: Weight,
    packed: bool,
}

/// What follows a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Relu,
    Gelu,
}

impl Linear {
    /// A layer for inputs of about so many `rows`; on a CPU it is packed.
    pub(super) fn new(layer: &Affine, on: Backend, rows: i64) -> Result<Self, TchError> {
        let (weight, bias) = (on.weight(&layer.weight)?, on.weight(&layer.bias)?);
        let packed = on.own.then(|| pack(&weight, rows).ok()).flatten();
        Ok(Self {
            bias,
            packed: packed.is_some(),
            weight: packed.map_or(weight, Weight),
        })
    }

    /// `then(x W^T + b)`.
    pub(super) fn forward(&self, x: &Tensor, then: Then) -> Result<Tensor, TchError> {
        if self.packed {
            let name = match then {
                Then::Nothing => c"none",
                Then::Relu => c"relu",
                Then::Gelu => c"gelu",
            };
            return linear(x, &self.weight, &self.bias, name);
        }
        let mut y = x.f_linear(&self.weight, Some(&*self.bias))?;
        match then {
            Then::Nothing => Ok(y),
            Then::Relu => y.f_relu_(),
            Then::Gelu => y.f_gelu_("none"),
        }
    }

    /// `x W^T + b + other`.
    pub(super) fn add_to(&self, other: &Tensor, x: &Tensor) -> Result<Tensor, TchError> {
        if self.packed {
            return linear_add(x, other, &self.weight, &self.bias);
        }
        x.f_linear(&self.weight, Some(&*self.bias))?.f_add_(other)
    }
}

/// A tensor of libtorch, as `onednn.cpp` sees it.
type CTensor = c_void;

unsafe extern "C" {
    fn hubbleflow_capability() -> *const c_char;
    fn hubbleflow_pack(weight: *const CTensor, rows: i64, out: *mut *mut CTensor) -> *mut c_char;
    fn hubbleflow_linear(
        x: *const CTensor,
        packed: *const CTensor,
        bias: *const CTensor,
        then: *const c_char,
        out: *mut *mut CTensor,
    ) -> *mut c_char;
    fn hubbleflow_linear_add(
        x: *const CTensor,
        other: *const CTensor,
        packed: *const CTensor,
        bias: *const CTensor,
        out: *mut *mut CTensor,
    ) -> *mut c_char;
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

fn pack(weight: &Tensor, rows: i64) -> Result<Tensor, TchError> {
    // SAFETY: the tensor lives through the call, and `out` is written where there is no error.
    made_by(|out| unsafe { hubbleflow_pack(c_tensor(weight), rows, out) })
}

fn linear(x: &Tensor, packed: &Tensor, bias: &Tensor, then: &CStr) -> Result<Tensor, TchError> {
    let (x, packed, bias) = (c_tensor(x), c_tensor(packed), c_tensor(bias));
    // SAFETY: the tensors and the name live through the call, and `out` is written where there is no error.
    made_by(|out| unsafe { hubbleflow_linear(x, packed, bias, then.as_ptr(), out) })
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
    made_by(|out| unsafe { hubbleflow_linear_add(x, other, packed, bias, out) })
}

/// The tensor that a function of `onednn.cpp` writes to its last argument, or the error that it gives back.
fn made_by(call: impl FnOnce(*mut *mut CTensor) -> *mut c_char) -> Result<Tensor, TchError> {
    let mut made = ptr::null_mut();
    let error = call(&mut made);
    if error.is_null() {
        // SAFETY: without an error it is a new tensor that nobody else has.
        return Ok(unsafe { Tensor::from_ptr(made.cast()) });
    }
    // SAFETY: an error is a C string that is ours, made by strdup.
    let message = unsafe {
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        message
    };
    Err(TchError::Torch(message))
}
