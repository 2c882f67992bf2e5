//! Maximum and mean over neighbouring pixels, and cutouts cut into patches.

use tch::{TchError, Tensor};

use super::pixels::{cutouts, pixels};

/// The maximum over the three by three pixels around each pixel: `[batch * y * x, channel]` in and out.
pub(in crate::fast) fn maximum_3x3(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    pixels(&cutouts(x, side)?.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?)
}

/// The mean of each block of two by two pixels: `[batch * y * x, channel] -> [batch * y/2 * x/2, channel]`.
pub(in crate::fast) fn mean_2x2(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    pixels(&cutouts(x, side)?.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?)
}

/// Cuts cutouts into patches of `px` by `px` pixels: `[batch, band, y, x] -> [patch * batch, band * px * px]`.
pub(in crate::fast) fn patches(x: &Tensor, px: i64) -> Result<Tensor, TchError> {
    let (batch, bands, side, _) = x.size4()?;
    let grid = side / px;
    x.f_view([batch, bands, grid, px, grid, px])?
        .f_permute([2, 4, 0, 1, 3, 5])?
        .f_reshape([grid * grid * batch, bands * px * px])
}

/// The mean of each block of two by two pixels, with the bands moved last and padded with zeros to [`padded_bands`]:
/// `[batch, band, y, x] -> [batch * y/2 * x/2, band]`.
pub(in crate::fast) fn pool(x: &Tensor) -> Result<Tensor, TchError> {
    let bands = x.size()[1];
    let pooled = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
    let pooled = pooled.f_constant_pad_nd([0, 0, 0, 0, 0, padded_bands(bands) - bands])?;
    pixels(&pooled)
}

/// Rounds a number of bands up to a multiple of eight. Rows of bfloat16 then begin at multiples of 16 bytes, as fast
/// products on a GPU require.
pub(in crate::fast) fn padded_bands(bands: i64) -> i64 {
    bands.unsigned_abs().next_multiple_of(8) as i64
}
