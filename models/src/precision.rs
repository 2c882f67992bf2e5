//! The numbers that a network computes with.

use std::fmt;
use std::str::FromStr;

use tch::{Device, Kind};

use crate::error::Error;
use crate::instruction_set::InstructionSet;

/// The type of the weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout.
    Fp32,
    /// Weights and activations in bfloat16; redshifts come out as 32-bit floats.
    Bf16,
}

impl Precision {
    /// The fastest precision on a device: bfloat16 on a GPU and on a CPU that multiplies bfloat16 faster than float32, else
    /// float32. With `instructions` it follows from them alone, so that all machines of a cluster find the same.
    ///
    /// ```
    /// use hubbleflow_models::{InstructionSet, Precision};
    /// use tch::Device;
    /// assert_eq!(Precision::fastest(Device::Cuda(0), None), Precision::Bf16);
    /// assert_eq!(Precision::fastest(Device::Cpu, Some(InstructionSet::Avx2)), Precision::Fp32);
    /// assert_eq!(Precision::fastest(Device::Cpu, Some(InstructionSet::Amx)), Precision::Bf16);
    /// ```
    pub fn fastest(device: Device, instructions: Option<InstructionSet>) -> Self {
        let favours_bfloat16 = match instructions {
            _ if device.is_cuda() => true,
            Some(set) => set >= InstructionSet::Avx512Bf16,
            None => InstructionSet::fastest_for(Kind::BFloat16).favours_bfloat16(),
        };
        match favours_bfloat16 {
            true => Precision::Bf16,
            false => Precision::Fp32,
        }
    }

    /// The instruction set that is fastest on this CPU.
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
/// use hubbleflow_models::device::{Precision, PrecisionChoice};
/// assert_eq!("bf16".parse::<PrecisionChoice>().unwrap().or(Precision::Fp32), Precision::Bf16);
/// assert_eq!(PrecisionChoice::Auto.or(Precision::Fp32), Precision::Fp32);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// The fastest precision of the device.
    #[default]
    Auto,
    /// [`Precision::Fp32`].
    Fp32,
    /// [`Precision::Bf16`].
    Bf16,
}

impl PrecisionChoice {
    /// The chosen precision, or `auto` if none was chosen.
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
