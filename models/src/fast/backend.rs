//! Where the network computes: on which device, in which numbers, and with which instructions.

use tch::{Device, Kind, TchError, Tensor};

use super::weight::Weight;
use crate::cuda::Kernels;
use crate::instruction_set::InstructionSet;
use crate::threads::batch;

/// A device and the numbers to compute in. `operators.rs` has its operators.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backend {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// The instructions of our own loops on a CPU; `None` for libtorch's operators.
    pub(super) set: Option<InstructionSet>,
}

impl Backend {
    /// The fastest backend on a device.
    pub(crate) fn new(device: Device, kind: Kind) -> Self {
        Self::with_instructions(device, kind, InstructionSet::fastest_for(kind))
    }

    /// A backend that uses the loops of `set` if the device is a CPU. The processor must have these instructions.
    pub(crate) fn with_instructions(device: Device, kind: Kind, set: InstructionSet) -> Self {
        let set = (device == Device::Cpu).then_some(set);
        Self { device, kind, set }
    }

    /// The same backend in other numbers.
    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same numbers and device by libtorch's operators, also on a CPU.
    pub(super) fn by_libtorch(self) -> Self {
        Self { set: None, ..self }
    }

    /// Kernels of our own for its GPU and its numbers, if there are some.
    pub(super) fn kernels(self) -> Result<Option<Kernels>, TchError> {
        match (self.device, self.kind) {
            (Device::Cuda(gpu), Kind::BFloat16) => Kernels::load(gpu),
            _ => Ok(None),
        }
    }

    /// Upper bound on the galaxies that go through the network together.
    pub(crate) fn rows_max(self) -> i64 {
        batch(self.device) as i64
    }

    /// The number of tokens that go through both layers of a perceptron before the next tokens do.
    ///
    /// Our own loops take so few that the hidden layer stays in a core's second-level cache.
    pub(super) fn perceptron_rows(self, tokens: i64) -> i64 {
        match (self.set, self.kind) {
            (None, _) => tokens,
            // Tiles read their weights faster than vectors do, and lose more time if weights leave the cache.
            (Some(InstructionSet::Amx), Kind::BFloat16) => 256,
            (Some(_), Kind::BFloat16) => 512,
            (Some(_), _) => 256,
        }
    }

    /// Moves a tensor to the device and into the numbers of the backend.
    pub(super) fn weight(self, tensor: &Tensor) -> Result<Weight, TchError> {
        let placed = tensor.f_to_device_(self.device, self.kind, false, false)?;
        Ok(Weight(placed.f_contiguous()?))
    }
}
