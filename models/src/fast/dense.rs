//! Dense layers with a ReLU between them, but not after the last.

use tch::{TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::linear::FoldedLinear;
use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::output::ModelOutput;

/// Dense layers for one thread. A clone shares its weights.
#[derive(Debug, Clone)]
pub(crate) struct FoldedDense {
    on: Backend,
    layers: Vec<FoldedLinear>,
}

impl FoldedDense {
    /// The layers `layers.0` to `layers.{depth - 1}`.
    pub(crate) fn new(c: &Checkpoint, depth: usize, on: Backend) -> Result<Self, Error> {
        let layer = |n| {
            let layer = Affine::read(c, &format!("layers.{n}"))?;
            Ok(FoldedLinear::new(&layer, on)?)
        };
        let layers = (0..depth).map(layer).collect::<Result<_, Error>>()?;
        Ok(Self { on, layers })
    }

    /// Predicts `wanted`, redshifts and their quantiles, a tensor of float32 for each, from `[batch, in]` on any device.
    pub(crate) fn outputs(
        &self,
        x: &Tensor,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, TchError> {
        let head = self.forward(x)?;
        let redshifts = wanted.iter().map(|output| self.on.redshifts(&head, output));
        redshifts.collect()
    }

    /// `[batch, in] -> [batch, out]`, from any device.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let mut x = x.f_to_device_(self.on.device, self.on.kind, false, false)?;
        for (n, layer) in self.layers.iter().enumerate() {
            let activation = match n + 1 == self.layers.len() {
                true => Activation::Identity,
                false => Activation::Relu,
            };
            x = layer.forward(&x, activation)?;
        }
        Ok(x)
    }
}
