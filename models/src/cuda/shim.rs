//! The functions of `shim.cpp`, a library that the program contains and opens after libtorch_cuda.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::ptr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tch::{TchError, Tensor};

use super::library::{self, Library};
use crate::cpp::{CError, CTensor, checked, made_by};

/// The library. It is empty if it was built without CUDA's headers.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cuda_shim.so"));

/// A stream with its graph and its event: `Lane` in `shim.cpp`.
type CLane = c_void;
/// A `CUDAStreamGuard`.
type CGuard = c_void;
/// A `cudaKernel_t`.
type CKernel = c_void;

/// The functions of the library, once it is open.
struct Shim {
    exact: unsafe extern "C" fn() -> CError,
    lane_new: unsafe extern "C" fn(c_int, *mut *mut CLane) -> CError,
    lane_enter: unsafe extern "C" fn(*mut CLane, *mut *mut CGuard) -> CError,
    lane_leave: unsafe extern "C" fn(*mut CGuard) -> CError,
    lane_capture: unsafe extern "C" fn(*mut CLane) -> CError,
    lane_captured: unsafe extern "C" fn(*mut CLane) -> CError,
    lane_replay: unsafe extern "C" fn(*mut CLane) -> CError,
    lane_wait: unsafe extern "C" fn(*mut CLane) -> CError,
    lane_free: unsafe extern "C" fn(*mut CLane),
    wait: unsafe extern "C" fn(c_int) -> CError,
    capability: unsafe extern "C" fn(c_int, *mut c_int) -> CError,
    kernel_new: unsafe extern "C" fn(
        c_int,
        *const c_void,
        *const c_char,
        c_int,
        *mut *mut CKernel,
    ) -> CError,
    kernel_launch:
        unsafe extern "C" fn(*mut CKernel, c_int, c_int, c_int, c_int, *mut *mut c_void) -> CError,
    copy: unsafe extern "C" fn(*mut CTensor, *const CTensor) -> CError,
    pinned: unsafe extern "C" fn(*const i64, usize, *mut *mut CTensor) -> CError,
}

/// Opens the library, or says why it cannot be opened.
pub(super) fn open() -> Result<(), String> {
    shim().map(|_shim| ())
}

fn shim() -> Result<&'static Shim, String> {
    static SHIM: OnceLock<Result<Shim, String>> = OnceLock::new();
    let shim = SHIM.get_or_init(|| {
        let shim = load().map_err(|reason| format!("CUDA cannot be used: {reason}"))?;
        // SAFETY: the function has no arguments.
        checked(unsafe { (shim.exact)() }).map_err(|error| error.to_string())?;
        Ok(shim)
    });
    shim.as_ref().map_err(String::clone)
}

fn load() -> Result<Shim, String> {
    if LIBRARY.is_empty() {
        return Err("this program was built with a libtorch without CUDA's headers".to_owned());
    }
    let path = in_memory(LIBRARY).map_err(|error| format!("no file in memory: {error}"))?;
    let library = library::open(&path, libc::RTLD_NOW | libc::RTLD_LOCAL)?;
    // SAFETY: these are the signatures in shim.cpp, from which the library was built together with this program.
    unsafe {
        Ok(Shim {
            exact: function(library, c"hubbleflow_cuda_exact")?,
            lane_new: function(library, c"hubbleflow_lane_new")?,
            lane_enter: function(library, c"hubbleflow_lane_enter")?,
            lane_leave: function(library, c"hubbleflow_lane_leave")?,
            lane_capture: function(library, c"hubbleflow_lane_capture")?,
            lane_captured: function(library, c"hubbleflow_lane_captured")?,
            lane_replay: function(library, c"hubbleflow_lane_replay")?,
            lane_wait: function(library, c"hubbleflow_lane_wait")?,
            lane_free: function(library, c"hubbleflow_lane_free")?,
            wait: function(library, c"hubbleflow_cuda_wait")?,
            capability: function(library, c"hubbleflow_cuda_capability")?,
            kernel_new: function(library, c"hubbleflow_kernel_new")?,
            kernel_launch: function(library, c"hubbleflow_kernel_launch")?,
            copy: function(library, c"hubbleflow_cuda_copy")?,
            pinned: function(library, c"hubbleflow_cuda_pinned")?,
        })
    }
}

/// Looks up a function of the library.
///
/// # Safety
/// `F` must be the type of the function.
unsafe fn function<F: Copy>(library: Library, name: &CStr) -> Result<F, String> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let symbol = library.symbol(name)?;
    // SAFETY: the symbol is a pointer to a function, and the caller vouches for its type.
    Ok(unsafe { transmute_copy(&symbol) })
}

/// Makes a file in memory with these bytes, which lives as long as the process.
#[cfg(target_os = "linux")]
fn in_memory(bytes: &[u8]) -> std::io::Result<CString> {
    use std::io::Write;
    use std::os::fd::{FromRawFd, IntoRawFd};
    // SAFETY: the name is a C string.
    let file = unsafe { libc::memfd_create(c"hubbleflow_cuda".as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the file is new, and nobody else has it.
    let mut file = unsafe { std::fs::File::from_raw_fd(file) };
    file.write_all(bytes)?;
    let path = format!("/proc/self/fd/{}", file.into_raw_fd());
    Ok(CString::new(path).expect("invariant: a path of digits has no zero byte"))
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_bytes: &[u8]) -> std::io::Result<CString> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn opened() -> &'static Shim {
    shim().expect("invariant: a CUDA device is returned only after the shim was opened")
}

/// Held by a thread that captures, waits for a GPU's default stream (which would end a capture), or frees a graph.
/// libtorch keeps the graphs of a GPU in a set without a lock.
fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of a GPU, and the graph that is captured on it.
pub(crate) struct Stream(*mut CLane);

// SAFETY: CUDA's objects belong to no thread. A `&Stream` is not passed to other threads, because `Stream` is not `Sync`.
unsafe impl Send for Stream {}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    /// Makes a stream of the GPU with this number, once all earlier work on the GPU's default stream is done.
    pub(crate) fn new(device: usize) -> Result<Self, TchError> {
        let mut lane = ptr::null_mut();
        let _exclusive = exclusive();
        // SAFETY: `lane` is written if there is no error.
        checked(unsafe { (opened().lane_new)(device as c_int, &mut lane) })?;
        Ok(Self(lane))
    }

    /// Sends this thread's work to the stream, until the result is dropped.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, TchError> {
        let mut guard = ptr::null_mut();
        // SAFETY: the stream is open, and `guard` is written if there is no error.
        checked(unsafe { (opened().lane_enter)(self.0, &mut guard) })?;
        Ok(Entered {
            stream: self,
            guard,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _exclusive = exclusive();
        // SAFETY: `lane_new` made it, and it is freed only here.
        unsafe { (opened().lane_free)(self.0) };
    }
}

/// While this lives, the work of its thread goes to the stream.
pub(crate) struct Entered<'a> {
    stream: &'a Stream,
    guard: *mut CGuard,
}

impl Entered<'_> {
    /// Records what `work` asks of the stream, to be replayed. Nothing is computed yet.
    pub(crate) fn capture<T>(
        &self,
        work: impl FnOnce() -> Result<T, TchError>,
    ) -> Result<T, TchError> {
        let _exclusive = exclusive();
        // SAFETY: the stream is open.
        checked(unsafe { (opened().lane_capture)(self.stream.0) })?;
        let made = work();
        // SAFETY: the stream is open, and its capture has begun.
        let ended = checked(unsafe { (opened().lane_captured)(self.stream.0) });
        let made = made?;
        ended.map(|()| made)
    }

    /// Computes what was captured.
    pub(crate) fn replay(&self) -> Result<(), TchError> {
        // SAFETY: the stream is open.
        checked(unsafe { (opened().lane_replay)(self.stream.0) })
    }

    /// Sleeps until all work of the stream is done.
    pub(crate) fn wait(&self) -> Result<(), TchError> {
        // SAFETY: the stream is open.
        checked(unsafe { (opened().lane_wait)(self.stream.0) })
    }

    /// Copies one tensor to another, in the order of the stream. If the host's tensor is pinned, this returns before the copy
    /// is done. Both tensors must live until [`Self::wait`] returns.
    pub(crate) fn copy(&self, to: &Tensor, from: &Tensor) -> Result<(), TchError> {
        let (to, from) = (to.as_ptr().cast_mut().cast(), from.as_ptr().cast());
        // SAFETY: both are tensors that live through the call. libtorch keeps pinned memory until it is read.
        checked(unsafe { (opened().copy)(to, from) })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: `lane_enter` made it on this thread (a pointer is not Send), and it is freed only here. After an error this
        // thread stays on the stream, which does no harm.
        let _ = checked(unsafe { (opened().lane_leave)(self.guard) });
    }
}

/// A kernel that is loaded on a GPU, for good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbol(*mut CKernel);

// SAFETY: CUDA's kernels belong to no thread, and nothing changes one after it was loaded.
unsafe impl Send for Symbol {}
// SAFETY: as above.
unsafe impl Sync for Symbol {}

impl Symbol {
    /// Loads the function with this name from a cubin, or from the text of a PTX with a zero byte at its end.
    pub(super) fn load(
        device: usize,
        module: &[u8],
        function: &CStr,
        shared_bytes: c_int,
    ) -> Result<Self, TchError> {
        let mut kernel = ptr::null_mut();
        let (module, name) = (module.as_ptr().cast(), function.as_ptr());
        // SAFETY: the module is whole, the driver copies it, and `kernel` is written if there is no error.
        checked(unsafe {
            (opened().kernel_new)(device as c_int, module, name, shared_bytes, &mut kernel)
        })?;
        Ok(Self(kernel))
    }

    /// Sends the kernel to this thread's stream: `x` times `y` blocks of threads.
    ///
    /// # Safety
    /// The arguments must be those of the kernel.
    pub(super) unsafe fn launch(
        self,
        [x, y]: [c_int; 2],
        threads: c_int,
        shared_bytes: c_int,
        arguments: &mut [*mut c_void],
    ) -> Result<(), TchError> {
        let arguments = arguments.as_mut_ptr();
        // SAFETY: the kernel is loaded, CUDA reads the arguments before this returns, and the caller vouches for them.
        checked(unsafe { (opened().kernel_launch)(self.0, x, y, threads, shared_bytes, arguments) })
    }
}

/// Waits for all work of a GPU. If it has failed for good, this says how.
pub(crate) fn wait(device: usize) -> Result<(), TchError> {
    let _exclusive = exclusive();
    // SAFETY: the function takes any number, and gives an error for one that is no GPU's.
    checked(unsafe { (opened().wait)(device as c_int) })
}

/// Ten times the first number of a GPU's compute capability, plus the second.
pub(super) fn capability(device: usize) -> Result<i32, TchError> {
    let mut capability = 0;
    // SAFETY: `capability` is written if there is no error.
    checked(unsafe { (opened().capability)(device as c_int, &mut capability) })?;
    Ok(capability)
}

/// Allocates a tensor of float32 on the host that a GPU can read and write directly.
pub(crate) fn pinned(shape: &[i64]) -> Result<Tensor, TchError> {
    let (shape, dimensions) = (shape.as_ptr(), shape.len());
    // SAFETY: the shape lives through the call, and the tensor is written if there is no error.
    unsafe { made_by(|out| (opened().pinned)(shape, dimensions, out)) }
}
