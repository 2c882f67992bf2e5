//! The scale of cutouts.

use tch::{Device, Kind, TchError, Tensor};

use super::memory::{kind_bytes, numbers};
use super::table::loops;
use crate::instruction_set::InstructionSet;

/// `asinh(x slope) factor`, with a slope and a factor for each band.
///
/// `[batch, band, y, x]` of float32 to the same shape of `kind`.
pub(in crate::fast) fn asinh(
    set: InstructionSet,
    x: &Tensor,
    slope: &[f32],
    factor: &[f32],
    kind: Kind,
) -> Result<Tensor, TchError> {
    let (batch, bands, side, _) = x.size4()?;
    let y = Tensor::f_empty([batch, bands, side, side], (kind, Device::Cpu))?;
    let from = numbers(x, Kind::Float, y.numel() as i64).cast::<f32>();
    let to = numbers(&y, kind, y.numel() as i64).cast::<u8>();
    let (plane, bytes) = ((side * side) as usize, kind_bytes(kind));
    for n in 0..(batch * bands) as usize {
        let band = n % bands as usize;
        // SAFETY: both tensors hold this plane, and nobody else has a handle on the new tensor.
        unsafe {
            let (from, to) = (from.add(n * plane), to.add(n * plane * bytes));
            (loops(set, kind).asinh)(from, to.cast(), plane, slope[band], factor[band]);
        }
    }
    Ok(y)
}
