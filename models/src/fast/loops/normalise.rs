//! Layer normalisation without its scale and shift, which are folded into the next layer.

use tch::{Device, TchError, Tensor};

use super::memory::numbers;
use super::table::loops;
use crate::instruction_set::InstructionSet;

/// Shifts and scales each row of `[rows, width]` to mean 0 and variance 1; epsilon 1e-6.
pub(in crate::fast) fn normalise(set: InstructionSet, x: &Tensor) -> Result<Tensor, TchError> {
    let ((rows, width), kind) = (x.size2()?, x.kind());
    let y = Tensor::f_empty([rows, width], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, rows * width),
        numbers(&y, kind, rows * width),
    );
    // SAFETY: both tensors hold these rows, and nobody else has a handle on the new tensor.
    unsafe { (loops(set, kind).normalise)(from, to, rows as usize, width as usize) };
    Ok(y)
}
