//! How the C++ of this crate gives errors and tensors back.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use tch::{TchError, Tensor};

/// A tensor of libtorch, as C++ sees it.
pub(crate) type CTensor = c_void;

/// Null, or a string that is ours: `error_of` of `cpp.h`.
pub(crate) type CError = *mut c_char;

/// What a function gives back.
pub(crate) fn checked(error: CError) -> Result<(), TchError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error is a C string that is ours, made by strdup.
    let message = unsafe {
        let message = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        message
    };
    Err(TchError::Torch(message))
}

/// The tensor that a function writes to its last argument, or the error that it gives back.
///
/// # Safety
/// Where it gives back no error, it must have written a new tensor.
pub(crate) unsafe fn made_by(
    call: impl FnOnce(*mut *mut CTensor) -> CError,
) -> Result<Tensor, TchError> {
    let mut made = ptr::null_mut();
    checked(call(&mut made))?;
    // SAFETY: without an error it is a new tensor that nobody else has.
    Ok(unsafe { Tensor::from_ptr(made.cast()) })
}
