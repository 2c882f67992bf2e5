//! The dense network on magnitudes, folded.

use tch::{Kind, TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::linear::FoldedLinear;
use super::weight::{Affine, Weight};
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::Error;
use crate::layout::MAG_LAYERS;
use crate::preprocess::whiten;

/// The dense network on magnitudes up to its last ReLU.
#[derive(Debug, Clone)]
pub(super) struct FoldedMagnitude {
    /// The mean of the magnitudes and the matrix that whitens them, if the configuration has them.
    whitening: Option<[Weight; 2]>,
    /// In float32: bfloat16 has at most three digits for a magnitude.
    first: FoldedLinear,
    rest: Vec<FoldedLinear>,
    kind: Kind,
}

impl FoldedMagnitude {
    pub(super) fn new(c: &Checkpoint, config: &Config, on: Backend) -> Result<Self, Error> {
        let layer = |n: usize| Affine::read(c, &format!("inception_model.magnitude_block.{n}"));
        let (first, rest) = (MAG_LAYERS[0], &MAG_LAYERS[1..MAG_LAYERS.len() - 1]);
        let folded = |&n: &usize| Ok(FoldedLinear::new(&layer(n)?, on)?);
        let exact = on.with_kind(Kind::Float);
        let whitening = config.preprocess.mag.tensors()?;
        let whitening = whitening.map(|[mean, matrix]| {
            Ok::<_, TchError>([exact.weight(&mean)?, exact.weight(&matrix)?])
        });
        Ok(Self {
            whitening: whitening.transpose()?,
            first: FoldedLinear::new(&layer(first)?, exact)?,
            rest: rest.iter().map(folded).collect::<Result<_, Error>>()?,
            kind: on.kind,
        })
    }

    /// `[batch, band] -> [batch, 1024]`.
    pub(super) fn forward(&self, mags: &Tensor) -> Result<Tensor, TchError> {
        let mags = match &self.whitening {
            None => mags.shallow_clone(),
            Some([mean, matrix]) => whiten(mags, mean, matrix)?,
        };
        let x = self.first.forward(&mags, Activation::Relu)?;
        self.rest
            .iter()
            .try_fold(x.f_to_kind(self.kind)?, |x, layer| {
                layer.forward(&x, Activation::Relu)
            })
    }
}
