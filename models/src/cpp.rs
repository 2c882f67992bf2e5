//! How the C++ of this crate returns errors and tensors.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use tch::{TchError, Tensor};

/// A libtorch tensor in C++: `at::Tensor`.
pub(crate) type CTensor = c_void;

/// Null, or an error message that Rust must free: see `error_of` in `cpp.h`.
pub(crate) type CError = *mut c_char;

/// Turns the result of a C++ function into a `Result`.
pub(crate) fn checked(error: CError) -> Result<(), TchError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error is a C string that strdup made for us.
    let message = unsafe {
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        message
    };
    Err(TchError::Torch(message))
}

/// Calls a C++ function that writes a new tensor to its last argument.
///
/// # Safety
/// If it returns no error, it must have written a new tensor.
pub(crate) unsafe fn made_by(
    call: impl FnOnce(*mut *mut CTensor) -> CError,
) -> Result<Tensor, TchError> {
    let mut made = ptr::null_mut();
    checked(call(&mut made))?;
    // SAFETY: without an error this is a new tensor, which nobody else has.
    Ok(unsafe { Tensor::from_ptr(made.cast()) })
}
