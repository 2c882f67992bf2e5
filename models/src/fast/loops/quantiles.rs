//! The quantiles of a head.

use tch::{Device, Kind, TchError, Tensor};

use super::memory::numbers;
use super::table::loops;
use crate::instruction_set::InstructionSet;

/// The quantiles of each galaxy, of the outputs of the last layer: `[batch, level]` in and out, float32. See
/// [`quantiles`](crate::quantiles::quantiles).
pub(in crate::fast) fn quantiles(set: InstructionSet, out: &Tensor) -> Result<Tensor, TchError> {
    let ((batch, levels), out) = (out.size2()?, out.f_contiguous()?);
    let y = Tensor::f_empty([batch, levels], (Kind::Float, Device::Cpu))?;
    let from = numbers(&out, Kind::Float, batch * levels).cast::<f32>();
    let to = numbers(&y, Kind::Float, batch * levels).cast::<f32>();
    // SAFETY: both tensors hold these rows, and nobody else has a handle on the new tensor.
    unsafe { (loops(set, Kind::Float).quantiles)(from, to, batch as usize, levels as usize) };
    Ok(y)
}
