//! Where the network runs and with which numbers: what a person asks for, and what there is.
//!
//! One binary serves machines with and without a GPU: CUDA's half of libtorch is opened at run time,
//! and only where it is asked for.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use tch::{Cuda, Device, Kind};

use crate::Error;

/// A device as a person asks for it: `auto`, `cpu`, `cuda` or `cuda:1`.
///
/// ```
/// use models::device::DeviceChoice;
/// let choice: DeviceChoice = "cuda:1".parse().unwrap();
/// assert_eq!((choice, choice.to_string()), (DeviceChoice::Cuda(1), "cuda:1".to_owned()));
/// assert_eq!(DeviceChoice::Cpu.resolve().unwrap(), tch::Device::Cpu);
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number, or an error.
    Cuda(usize),
}

impl DeviceChoice {
    /// The device to run on.
    ///
    /// # Errors
    /// [`Error::Device`] where a GPU was asked for, and its library or the GPU itself is missing.
    pub fn resolve(self) -> Result<Device, Error> {
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto => Ok(cuda(0).unwrap_or(Device::Cpu)),
            DeviceChoice::Cuda(index) => cuda(index).map_err(Error::Device),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown =
            || Error::Device(format!("no device `{text}`: use auto, cpu, cuda or cuda:N"));
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => {
                let index = text
                    .strip_prefix("cuda:")
                    .and_then(|index| index.parse().ok());
                index.map(DeviceChoice::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(0) => f.write_str("cuda"),
            DeviceChoice::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// The GPU of this number, or what is missing.
fn cuda(index: usize) -> Result<Device, String> {
    open_libtorch_cuda()?;
    let devices = Cuda::device_count().max(0) as usize;
    match (devices, index < devices) {
        (_, true) => Ok(Device::Cuda(index)),
        (0, _) => Err("libtorch_cuda.so is there, but no GPU is visible to it: \
                       check nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu"
            .to_owned()),
        _ => Err(format!(
            "no GPU number {index}: there are {devices}, cuda:0 to cuda:{}",
            devices - 1
        )),
    }
}

/// Opens CUDA's half of libtorch, once, for good.
///
/// This must come before the first question about CUDA: libtorch answers that one for good too, and
/// without the library the answer is no.
fn open_libtorch_cuda() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    let open = || {
        // SAFETY: the name is a C string; the initialisers that run are libtorch's registration of
        // CUDA, and the library is never closed.
        let handle = unsafe {
            libc::dlopen(
                c"libtorch_cuda.so".as_ptr(),
                libc::RTLD_LAZY | libc::RTLD_GLOBAL,
            )
        };
        if !handle.is_null() {
            return Ok(());
        }
        // SAFETY: after a failed dlopen, dlerror returns this thread's message, or null.
        let message = unsafe { libc::dlerror() };
        let reason = if message.is_null() {
            "the dynamic linker gave no reason".into()
        } else {
            // SAFETY: not null, so a C string, valid until this thread's next call of dl*.
            unsafe { CStr::from_ptr(message) }
                .to_string_lossy()
                .into_owned()
        };
        Err(format!(
            "CUDA was asked for, but its half of libtorch cannot be opened ({reason}): point the \
             loader at the `lib` folder of a PyTorch 2.11 with CUDA, or use --device cpu"
        ))
    };
    OPENED.get_or_init(open).clone()
}

/// The numbers that weights and activations are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// Weights and activations in bfloat16; redshifts come out as 32-bit floats.
    Bf16,
}

impl Precision {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Fp32 => "fp32",
            Precision::Bf16 => "bf16",
        })
    }
}

/// A precision as a person asks for it: `auto`, `fp32` or `bf16`.
///
/// ```
/// use models::device::{Precision, PrecisionChoice};
/// assert_eq!("bf16".parse::<PrecisionChoice>().unwrap().resolve(), Precision::Bf16);
/// assert_eq!(PrecisionChoice::Auto.resolve(), Precision::Fp32);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// 32-bit floats, on every device: the predictions then depend on nothing that was not asked for.
    #[default]
    Auto,
    /// [`Precision::Fp32`].
    Fp32,
    /// [`Precision::Bf16`].
    Bf16,
}

impl PrecisionChoice {
    /// The precision to run in.
    pub fn resolve(self) -> Precision {
        match self {
            PrecisionChoice::Auto | PrecisionChoice::Fp32 => Precision::Fp32,
            PrecisionChoice::Bf16 => Precision::Bf16,
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(PrecisionChoice::Auto),
            "fp32" => Ok(PrecisionChoice::Fp32),
            "bf16" => Ok(PrecisionChoice::Bf16),
            _ => Err(Error::Device(format!(
                "no precision `{text}`: use auto, fp32 or bf16"
            ))),
        }
    }
}

impl fmt::Display for PrecisionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrecisionChoice::Auto => "auto",
            PrecisionChoice::Fp32 => "fp32",
            PrecisionChoice::Bf16 => "bf16",
        })
    }
}

/// The vector instructions that libtorch has found on this CPU, as `AVX2` or `AVX512`.
pub fn cpu_capability() -> String {
    crate::fast::cpu_capability()
}

/// MKL, which is linked into libtorch, asks this function of its own whether it runs on Intel's processor, and takes
/// kernels for older ones where it does not, though AMD's have the same instructions. A program's symbols come before
/// those of its libraries: this answer is the one that it gets. What a kernel then needs, it asks the processor itself.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
// SAFETY: replaces a function of the same signature, without arguments or effects.
#[unsafe(no_mangle)]
pub extern "C" fn mkl_serv_intel_cpu_true() -> libc::c_int {
    1
}

/// Makes libtorch compute with one thread.
///
/// To be called by every thread that runs a model: one network a core is faster than one network on
/// several, and sums are then always taken in the same order.
pub fn single_threaded() {
    tch::set_num_threads(1);
}
