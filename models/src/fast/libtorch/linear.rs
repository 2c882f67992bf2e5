//! The functions of `linear.cpp`.

use std::ffi::{CStr, c_char};

use tch::{TchError, Tensor};

use crate::cpp::{CError, CTensor, made_by};

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

/// The GELU (approximated by tanh on a GPU) or the ReLU of `x W^T + b`: `[rows, in] -> [rows, out]`.
pub(in crate::fast) fn linear_activation(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    gelu: bool,
) -> Result<Tensor, TchError> {
    let (x, weight, bias) = (c_tensor(x), c_tensor(weight), c_tensor(bias));
    // SAFETY: the tensors live through the call, and `out` is written if there is no error.
    unsafe { made_by(|out| hubbleflow_linear_activation(x, weight, bias, gelu, out)) }
}

fn c_tensor(tensor: &Tensor) -> *const CTensor {
    tensor.as_ptr().cast()
}
