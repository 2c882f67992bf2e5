//! The device that a network runs on, and everything that is chosen with it: precision, instructions, batch, threads.
//!
//! One binary serves machines with and without a GPU: CUDA's half of libtorch is opened at run time, and only if a GPU is
//! asked for.

use std::fmt;
use std::str::FromStr;

use tch::Device;

use crate::error::Error;
pub use crate::instruction_set::InstructionSet;
pub use crate::precision::{Precision, PrecisionChoice};
pub use crate::threads::{batch, single_threaded, threads};
use crate::{cuda, fast};

/// A device as the user names it: `auto`, `cpu`, `cuda` or `cuda:1`.
///
/// ```
/// use hubbleflow_models::device::DeviceChoice;
/// let choice: DeviceChoice = "cuda:1".parse().unwrap();
/// assert_eq!((choice, choice.to_string()), (DeviceChoice::Cuda(Some(1)), "cuda:1".to_owned()));
/// assert_eq!(DeviceChoice::Cpu.resolve(0).unwrap(), tch::Device::Cpu);
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this number, or any GPU.
    Cuda(Option<usize>),
}

impl DeviceChoice {
    /// The device for process number `process` of a cluster. If no GPU is named, processes take the GPUs in turn.
    ///
    /// # Errors
    /// [`Error::Device`] if a GPU was asked for and the GPU or its library is missing.
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

/// The vector instructions that libtorch has found on this CPU, such as `AVX2` or `AVX512`.
///
/// ```
/// assert!(!hubbleflow_models::device::cpu_capability().is_empty());
/// ```
pub fn cpu_capability() -> String {
    fast::cpu_capability()
}
