//! Two views of a batch of cutouts: one row a pixel, and libtorch's.

use tch::{TchError, Tensor};

/// `[batch * y * x, channel] -> [batch, channel, y, x]`, a view with the channels last in memory.
pub(super) fn cutouts(x: &Tensor, side: i64) -> Result<Tensor, TchError> {
    let channels = x.size2()?.1;
    x.f_view([-1, side, side, channels])?
        .f_permute([0, 3, 1, 2])
}

/// `[batch, channel, y, x] -> [batch * y * x, channel]`.
pub(super) fn pixels(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_reshape([-1, x.size()[1]])
}
