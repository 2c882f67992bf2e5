//! The operators without weights: our own loops compute them on a CPU, libtorch on a GPU.

use tch::{TchError, Tensor};

use super::backend::Backend;
use super::{libtorch, loops};
use crate::output::ModelOutput;
use crate::quantiles::{median, quantiles};

impl Backend {
    /// Quantiles, `[batch, level]`, or else redshifts, `[batch]`, of the outputs of a head's last layer: `[batch, level]` of
    /// float32.
    pub(super) fn redshifts(self, out: &Tensor, wanted: &ModelOutput) -> Result<Tensor, TchError> {
        match (wanted, self.set) {
            (ModelOutput::ZQuantiles { .. }, Some(set)) => loops::quantiles(set, out),
            (ModelOutput::ZQuantiles { .. }, None) => quantiles(out),
            _ => median(out),
        }
    }

    /// Cuts cutouts into patches of `px` by `px` pixels: `[batch, band, y, x] -> [patch * batch, band * px * px]`.
    pub(super) fn patches(self, x: &Tensor, px: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::patches(set, x, px),
            None => libtorch::patches(x, px),
        }
    }

    /// The mean of each block of two by two pixels, with the bands moved last and padded with zeros to
    /// [`Self::padded_bands`]: `[batch, band, y, x] -> [batch * y/2 * x/2, band]`.
    pub(super) fn pool(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::pool(set, x),
            None => libtorch::pool(x),
        }
    }

    /// The number of bands after [`Self::pool`].
    pub(super) fn padded_bands(self, bands: i64) -> i64 {
        match self.set {
            Some(set) => loops::whole_steps(set, bands, self.kind),
            None => libtorch::padded_bands(bands),
        }
    }

    /// Shifts and scales each row of `[rows, width]` to mean 0 and variance 1; epsilon 1e-6. Scale and shift of the layer
    /// normalisation are folded into the next layer.
    pub(super) fn normalise(self, x: &Tensor) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::normalise(set, x),
            None => libtorch::normalise(x),
        }
    }

    /// `softmax(q k^T) v` for each galaxy and head, with queries that are scaled already:
    /// `[token * batch, 3 * width] -> [token * batch, width]`.
    pub(super) fn attend(self, qkv: &Tensor, batch: i64, heads: usize) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::attend(set, qkv, batch, heads),
            None => libtorch::attend(qkv, batch, heads),
        }
    }

    /// The maximum over the three by three pixels around each pixel; pixels beyond the edge are left out:
    /// `[batch * y * x, channel]` in and out.
    pub(super) fn maximum_3x3(self, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::maximum_3x3(set, x, side),
            None => libtorch::maximum_3x3(x, side),
        }
    }

    /// The mean of each block of two by two pixels: `[batch * y * x, channel] -> [batch * y/2 * x/2, channel]`.
    pub(super) fn mean_2x2(self, x: &Tensor, side: i64) -> Result<Tensor, TchError> {
        match self.set {
            Some(set) => loops::mean_2x2(set, x, side),
            None => libtorch::mean_2x2(x, side),
        }
    }
}
