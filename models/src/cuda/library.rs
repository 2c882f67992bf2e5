//! Opens CUDA's half of libtorch, once, for good: a program linked with it would start on machines with CUDA alone.

use std::ffi::{CStr, CString, OsStr, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;

use tch::{Cuda, Device};

use super::shim;

/// Symbols are found by whatever is opened later, and looked up when they are called.
const FLAGS: c_int = libc::RTLD_LAZY | libc::RTLD_GLOBAL;

/// The GPU of this number, ready to compute, or what is missing.
pub(crate) fn device(index: usize) -> Result<Device, String> {
    let devices = count()?;
    if index >= devices {
        return Err(match devices {
            0 => "libtorch_cuda.so is there, but no GPU is visible to it: \
                  check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu"
                .to_owned(),
            _ => format!(
                "no GPU number {index}: there are {devices}, cuda:0 to cuda:{}",
                devices - 1
            ),
        });
    }
    shim::open()?;
    Ok(Device::Cuda(index))
}

/// How many GPUs there are.
pub(crate) fn count() -> Result<usize, String> {
    open_libtorch_cuda()?;
    Ok(Cuda::device_count().max(0) as usize)
}

/// This must come before the first question about CUDA: libtorch answers that one for good too, and
/// without the library the answer is no.
fn open_libtorch_cuda() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        open(c"libtorch_cuda.so", FLAGS).map_err(|reason| {
            format!(
                "CUDA was asked for, but its half of libtorch cannot be opened ({reason}): point the \
                 loader at the `lib` folder of a PyTorch 2.11 with CUDA, or use --device cpu"
            )
        })?;
        open_nvrtc_builtins();
        Ok(())
    });
    opened.clone()
}

/// cuDNN compiles some of its kernels when they are needed, and the compiler looks for a part of its own by name, where the
/// loader may not: it lies beside cuBLAS, which is open. Without it libtorch falls back to slower kernels, so where it is not
/// found, nothing is lost but time.
fn open_nvrtc_builtins() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
        return;
    };
    let paths = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let cublas = paths
        .map(Path::new)
        .find(|path| is_named(path, "libcublas.so"));
    let beside = cublas
        .and_then(Path::parent)
        .and_then(|lib| lib.read_dir().ok());
    let names = beside.into_iter().flatten().filter_map(Result::ok);
    for builtins in names.filter(|file| is_named(&file.path(), "libnvrtc-builtins.so")) {
        if let Ok(path) = CString::new(builtins.path().into_os_string().into_encoded_bytes()) {
            // Of another version, or none at all: libtorch goes on without.
            let _ = open(&path, FLAGS);
        }
    }
}

fn is_named(path: &Path, beginning: &str) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with(beginning))
}

/// A library that is never closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Library(*mut c_void);

/// Opens a library for good, or says why not.
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
    /// Where a symbol of the library lies.
    pub(super) fn symbol(self, name: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the handle is that of an open library, the name a C string.
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
    // SAFETY: not null, so a C string, valid until this thread's next call of dl*.
    let message = unsafe { CStr::from_ptr(message) };
    message.to_string_lossy().into_owned()
}
