//! The GPUs of this machine. CUDA's half of libtorch is opened at the first question, once, for good: a program linked with
//! it would start only on machines with CUDA.

use std::ffi::{CString, OsStr, c_int};
use std::path::Path;
use std::sync::OnceLock;

use tch::{Cuda, Device};

use super::library::open;
use super::shim;

/// Libraries that are opened later find the symbols, which are looked up when they are called.
const FLAGS: c_int = libc::RTLD_LAZY | libc::RTLD_GLOBAL;

/// Returns the GPU with this number, ready to compute, or says what is missing.
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

/// The number of GPUs.
pub(crate) fn count() -> Result<usize, String> {
    open_libtorch_cuda()?;
    Ok(Cuda::device_count().max(0) as usize)
}

/// Opens libtorch_cuda. This must come before the first question about CUDA: libtorch remembers its answer, and without the
/// library the answer is no.
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

/// Opens libnvrtc-builtins, which lies beside cuBLAS.
///
/// cuDNN compiles some kernels when they are needed. Its compiler looks for this library by name, and the loader may not
/// find it. Without the library libtorch falls back to slower kernels, so a failure costs only time.
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
            // The library may be of another version: libtorch then goes on without it.
            let _ = open(&path, FLAGS);
        }
    }
}

fn is_named(path: &Path, beginning: &str) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.starts_with(beginning))
}
