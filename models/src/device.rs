//! Where the network runs and with which numbers: what a person asks for, and what there is.
//!
//! One binary serves machines with and without a GPU: CUDA's half of libtorch is opened at run time,
//! and only where it is asked for.

use std::fmt;
use std::str::FromStr;

use tch::{Device, Kind};

pub use crate::fast::InstructionSet;
use crate::{Error, cuda};

/// A device as a person asks for it: `auto`, `cpu`, `cuda` or `cuda:1`.
///
/// ```
/// use models::device::DeviceChoice;
/// let choice: DeviceChoice = "cuda:1".parse().unwrap();
/// assert_eq!((choice, choice.to_string()), (DeviceChoice::Cuda(Some(1)), "cuda:1".to_owned()));
/// assert_eq!(DeviceChoice::Cpu.resolve(0).unwrap(), tch::Device::Cpu);
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU where there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number, or one of those that there are, or an error.
    Cuda(Option<usize>),
}

impl DeviceChoice {
    /// The device for a process of this number in its cluster: where no GPU is named, processes take them in turn.
    ///
    /// # Errors
    /// [`Error::Device`] where a GPU was asked for, and its library or the GPU itself is missing.
    pub fn resolve(self, process: usize) -> Result<Device, Error> {
        let in_turn = || cuda::device(process % cuda::count()?.max(1));
        match self {
            DeviceChoice::Cpu => Ok(Device::Cpu),
            DeviceChoice::Auto => Ok(in_turn().unwrap_or(Device::Cpu)),
            DeviceChoice::Cuda(None) => in_turn().map_err(Error::Device),
            DeviceChoice::Cuda(Some(index)) => cuda::device(index).map_err(Error::Device),
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
            "cuda" => Ok(DeviceChoice::Cuda(None)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                let index = index.parse().map_err(|_no_number| unknown())?;
                Ok(DeviceChoice::Cuda(Some(index)))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(None) => f.write_str("cuda"),
            DeviceChoice::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
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
    /// What predictions are fastest in on a device: bfloat16 on a GPU, and on a CPU that multiplies in it.
    pub fn fastest(device: Device) -> Self {
        if device.is_cuda() {
            return Precision::Bf16;
        }
        Self::fastest_with(InstructionSet::fastest_for(Kind::BFloat16))
    }

    /// What predictions are fastest in with these instructions of a CPU.
    pub fn fastest_with(instructions: InstructionSet) -> Self {
        if instructions >= InstructionSet::Avx512Bf16 {
            Precision::Bf16
        } else {
            Precision::Fp32
        }
    }

    /// The instructions that this CPU is fastest with.
    pub fn instructions(self) -> InstructionSet {
        InstructionSet::fastest_for(self.kind())
    }

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
/// assert_eq!("bf16".parse::<PrecisionChoice>().unwrap().or(Precision::Fp32), Precision::Bf16);
/// assert_eq!(PrecisionChoice::Auto.or(Precision::Fp32), Precision::Fp32);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// What the device is fastest in.
    #[default]
    Auto,
    /// [`Precision::Fp32`].
    Fp32,
    /// [`Precision::Bf16`].
    Bf16,
}

impl PrecisionChoice {
    /// The precision to run in, where `auto` is this one.
    pub fn or(self, auto: Precision) -> Precision {
        match self {
            PrecisionChoice::Auto => auto,
            PrecisionChoice::Fp32 => Precision::Fp32,
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

/// How many galaxies a model takes at a time, where nothing else is asked for: on a CPU enough to keep a core's multipliers
/// busy and few enough for its caches, on a GPU enough to keep all of it busy.
pub fn batch(device: Device) -> usize {
    match device {
        Device::Cpu => 128,
        _ => 1024,
    }
}

/// How many threads a model has in a process with so many cores: one for each on a CPU. A GPU is kept busy by few: while
/// the batch of one is computed, another's is on its way to the GPU, and a third fills the next.
pub fn threads(device: Device, cores: usize) -> usize {
    match device {
        Device::Cpu => cores.max(1),
        _ => 3,
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
