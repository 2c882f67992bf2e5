//! The scale of cutouts: `asinh(flux / softening) / scale`, as [`preprocess`](crate::preprocess) defines it.

use tch::{Kind, TchError, Tensor};

use super::backend::Backend;
use super::loops;
use super::weight::Weight;
use crate::preprocess;

/// The scale of cutouts on a backend.
#[derive(Debug, Clone)]
pub(super) struct Asinh {
    on: Backend,
    /// Slope and factor, `[band, 1, 1]` of float32, for libtorch.
    scales: [Weight; 2],
    /// Slope and factor by band, for our own loop.
    by_band: [Vec<f32>; 2],
}

impl Asinh {
    /// The scale with these slopes and factors, `[band, 1, 1]`.
    pub(super) fn new([slope, factor]: [Tensor; 2], on: Backend) -> Result<Self, TchError> {
        let exact = on.with_kind(Kind::Float);
        let by_band = |scales: &Tensor| Vec::<f32>::try_from(scales.f_flatten(0, -1)?);
        Ok(Self {
            on,
            by_band: [by_band(&slope)?, by_band(&factor)?],
            scales: [exact.weight(&slope)?, exact.weight(&factor)?],
        })
    }

    /// Slope and factor of each band, in float32 on the network's device.
    pub(super) fn scales(&self) -> [&Tensor; 2] {
        let [slope, factor] = &self.scales;
        [slope, factor]
    }

    /// `[batch, band, y, x]` of float32, to the same shape in the numbers of the backend.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (kind, [slope, factor]) = (self.on.kind, &self.scales);
        if let Some(set) = self.on.set {
            return loops::asinh(set, x, &self.by_band[0], &self.by_band[1], kind);
        }
        preprocess::asinh(x, slope, factor)?.f_to_kind(kind)
    }
}
