//! Maximum and mean over neighbouring pixels, and cutouts cut into patches.

use tch::{Device, TchError, Tensor};

use super::memory::{numbers, whole_steps};
use super::table::loops;
use crate::instruction_set::InstructionSet;

/// The maximum over the three by three pixels around each pixel; pixels beyond the edge are left out.
///
/// `[batch * y * x, channel]` in and out, cutouts of `side` by `side` pixels.
pub(in crate::fast) fn maximum_3x3(
    set: InstructionSet,
    x: &Tensor,
    side: i64,
) -> Result<Tensor, TchError> {
    let ((pixels, channels), kind) = (x.size2()?, x.kind());
    let y = Tensor::f_empty([pixels, channels], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, pixels * channels),
        numbers(&y, kind, pixels * channels),
    );
    let batch = (pixels / side / side) as usize;
    // SAFETY: both tensors hold these cutouts, and nobody else has a handle on the new tensor.
    unsafe { (loops(set, kind).maximum_3x3)(from, to, batch, side as usize, channels as usize) };
    Ok(y)
}

/// The mean of each block of two by two pixels: `[batch * y * x, channel] -> [batch * y/2 * x/2, channel]`.
pub(in crate::fast) fn mean_2x2(
    set: InstructionSet,
    x: &Tensor,
    side: i64,
) -> Result<Tensor, TchError> {
    let ((pixels, channels), kind) = (x.size2()?, x.kind());
    let batch = pixels / side / side;
    let half = side / 2;
    let y = Tensor::f_empty([batch * half * half, channels], (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, pixels * channels),
        numbers(&y, kind, batch * half * half * channels),
    );
    // SAFETY: both tensors hold these cutouts, and nobody else has a handle on the new tensor.
    unsafe {
        (loops(set, kind).mean_2x2)(from, to, batch as usize, side as usize, channels as usize)
    };
    Ok(y)
}

/// Cuts cutouts into patches of `px` by `px` pixels: `[batch, band, y, x] -> [patch * batch, band * px * px]`.
pub(in crate::fast) fn patches(
    set: InstructionSet,
    x: &Tensor,
    px: i64,
) -> Result<Tensor, TchError> {
    let ((batch, bands, side, _), kind) = (x.size4()?, x.kind());
    let grid = side / px;
    let shape = [grid * grid * batch, bands * px * px];
    let y = Tensor::f_empty(shape, (kind, Device::Cpu))?;
    let elements = shape[0] * shape[1];
    assert_eq!(grid * px, side, "invariant: whole patches");
    let (from, to) = (numbers(x, kind, elements), numbers(&y, kind, elements));
    let [batch, bands, side, px] = [batch, bands, side, px].map(|n| n as usize);
    // SAFETY: both tensors hold these cutouts, and nobody else has a handle on the new tensor.
    unsafe { (loops(set, kind).patches)(from, to, batch, bands, side, px) };
    Ok(y)
}

/// The mean of each block of two by two pixels, with the bands moved last: `[batch, band, y, x] -> [batch * y/2 * x/2,
/// band]`. Bands of zeros fill the last of the [`whole_steps`].
pub(in crate::fast) fn pool(set: InstructionSet, x: &Tensor) -> Result<Tensor, TchError> {
    let ((batch, bands, side, _), kind) = (x.size4()?, x.kind());
    let half = side / 2;
    let shape = [batch * half * half, whole_steps(set, bands, kind)];
    let y = Tensor::f_zeros(shape, (kind, Device::Cpu))?;
    let (from, to) = (
        numbers(x, kind, batch * bands * side * side),
        numbers(&y, kind, shape[0] * shape[1]),
    );
    let [batch, bands, side] = [batch, bands, side].map(|n| n as usize);
    // SAFETY: both tensors hold these cutouts, and nobody else has a handle on the new tensor.
    unsafe { (loops(set, kind).pool)(from, to, batch, bands, side) };
    Ok(y)
}
