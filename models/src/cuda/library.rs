//! Libraries that are opened while the program runs.

use std::ffi::{CStr, c_int, c_void};

/// A library that is never closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library(*mut c_void);

/// Opens a library for good, or says why it cannot be opened.
pub(super) fn open(path: &CStr, flags: c_int) -> Result<Library, String> {
    // SAFETY: the path is a C string; the initialisers that run are libtorch's registration of CUDA, or the shim's, which
    // has none of its own.
    let handle = unsafe { libc::dlopen(path.as_ptr(), flags) };
    if handle.is_null() {
        return Err(last_error());
    }
    Ok(Library(handle))
}

impl Library {
    /// The address of a symbol of the library.
    pub(super) fn symbol(self, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the handle is that of an open library, and the name is a C string.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if symbol.is_null() {
            return Err(last_error());
        }
        Ok(symbol)
    }
}

fn last_error() -> String {
    // SAFETY: after a failure, dlerror returns this thread's message, or null.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return "the dynamic linker gave no reason".to_owned();
    }
    // SAFETY: the pointer is not null, so it is a C string, valid until this thread's next call of dl*.
    let message = unsafe { CStr::from_ptr(message) };
    message.to_string_lossy().into_owned()
}
