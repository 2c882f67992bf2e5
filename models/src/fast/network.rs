//! The whole network, folded.

use std::sync::Arc;
use std::thread;

use tch::{Kind, TchError, Tensor};

use super::activation::Activation;
use super::asinh::Asinh;
use super::backend::Backend;
use super::cutouts::{Cutouts, Image};
use super::encoder::FoldedEncoder;
use super::head::joint_layer;
use super::inception::FoldedInception;
use super::linear::FoldedLinear;
use super::magnitude::FoldedMagnitude;
use super::weight::Affine;
use crate::checkpoint::Checkpoint;
use crate::config::{Branch, Config};
use crate::cuda::Kernels;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::layout::head_names;
use crate::output::ModelOutput;
use crate::threads::{joined, single_threaded};

/// AstroMAE for one thread. A clone shares its weights.
#[derive(Debug, Clone)]
pub(crate) struct FoldedNetwork {
    on: Backend,
    /// The scale of cutouts, if the configuration has one.
    asinh: Option<Asinh>,
    encoder: Option<FoldedEncoder>,
    inception: Option<FoldedInception>,
    magnitude: Option<FoldedMagnitude>,
    /// The last layer of each branch and the head's first layer.
    joint: FoldedLinear,
    /// In float32: bfloat16 has at most three digits for a redshift.
    out: FoldedLinear,
}

impl FoldedNetwork {
    /// Folds the network of `config`, from weights in float32 on the CPU.
    pub(crate) fn new(c: &Checkpoint, config: &Config, on: Backend) -> Result<Self, Error> {
        Self::with_kernels(c, config, on, on.kernels()?)
    }

    /// The same, by these kernels as far as they suit `config`.
    pub(crate) fn with_kernels(
        c: &Checkpoint,
        config: &Config,
        on: Backend,
        kernels: Option<Kernels>,
    ) -> Result<Self, Error> {
        thread::scope(|threads| {
            // The joint layer needs the largest products, half of the work, and nothing of the rest.
            let weights = c.share();
            let joint = threads.spawn(move || {
                single_threaded();
                joint_layer(&weights, config)
            });
            let _guard = tch::no_grad_guard();
            let kernels = kernels.map(Arc::new);
            let has = |branch| config.has(branch).then_some(c);
            let encoder = |c| FoldedEncoder::new(c, config, on, kernels.as_ref());
            let inception = |c| FoldedInception::new(c, config, on, kernels.as_ref());
            let magnitude = |c| FoldedMagnitude::new(c, config, on);
            let scales = config.preprocess.cutout.tensors()?;
            let out = Affine::read(c, head_names(config).1)?;
            let exact = on.with_kind(Kind::Float);
            Ok(Self {
                on,
                asinh: scales.map(|scales| Asinh::new(scales, on)).transpose()?,
                encoder: has(Branch::Encoder).map(encoder).transpose()?,
                inception: has(Branch::Inception).map(inception).transpose()?,
                magnitude: has(Branch::Magnitude).map(magnitude).transpose()?,
                joint: FoldedLinear::new(&joined(joint)?, on)?,
                out: FoldedLinear::new(&out, exact)?,
            })
        })
    }

    /// The backend that it computes on.
    pub(crate) fn backend(&self) -> Backend {
        self.on
    }

    /// Predicts `wanted`, a tensor of float32 for each, from inputs that were checked and corrected for dust.
    pub(crate) fn outputs(
        &self,
        inputs: &Inputs,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, TchError> {
        let (batch, rows_max) = (inputs.batch() as i64, self.on.rows_max());
        let mut parts: Vec<Vec<Tensor>> = wanted.iter().map(|_| Vec::new()).collect();
        for first in (0..batch).step_by(rows_max as usize) {
            let rows = rows_max.min(batch - first);
            let part = |x: &Tensor| x.f_narrow(0, first, rows);
            let flux = inputs.cutouts.as_ref().map(part).transpose()?;
            let cutouts = flux.as_ref().map(|flux| Cutouts {
                flux,
                dereddening: None,
            });
            let mags = inputs.mags.as_ref().map(part).transpose()?;
            let part = self.forward_rows(cutouts, mags.as_ref(), wanted)?;
            parts
                .iter_mut()
                .zip(part)
                .for_each(|(all, rows)| all.push(rows));
        }
        parts.iter().map(|parts| Tensor::f_cat(parts, 0)).collect()
    }

    /// Predicts `wanted` for up to [`Backend::rows_max`] galaxies, whose inputs are on the network's device.
    ///
    /// # Panics
    /// If an output is wanted that this network does not have.
    pub(crate) fn forward_rows(
        &self,
        cutouts: Option<Cutouts<'_>>,
        mags: Option<&Tensor>,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, TchError> {
        let image = cutouts.map(|x| self.image(x)).transpose()?;
        let encoder = self.encoder.as_ref().zip(image.as_ref());
        let latents = encoder.map(|(encoder, x)| encoder.latents(x)).transpose()?;
        let encoder = self.encoder.as_ref().zip(latents.as_ref());
        let has_redshifts = wanted.iter().any(|output| !is_embedding(output));
        let head = has_redshifts.then(|| self.head(encoder, image.as_ref(), mags));
        let head = head.transpose()?;
        let output = |output: &ModelOutput| match (output, encoder, &head) {
            (ModelOutput::Embedding { .. }, Some((encoder, latents)), _) => {
                encoder.embedding(latents)
            }
            (redshifts, _, Some(head)) => self.on.redshifts(head, redshifts),
            _ => unreachable!("invariant: a network is asked for outputs that it has"),
        };
        wanted.iter().map(output).collect()
    }

    /// The outputs of the last layer, `[batch, level]` of float32, from the encoder's latents and the other branches' inputs.
    fn head(
        &self,
        encoder: Option<(&FoldedEncoder, &Tensor)>,
        image: Option<&Image<'_>>,
        mags: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let mut features = Vec::with_capacity(3);
        if let Some((encoder, latents)) = encoder {
            features.push(encoder.features(latents)?);
        }
        if let (Some(inception), Some(image)) = (&self.inception, image) {
            features.push(inception.forward(image)?);
        }
        if let (Some(magnitude), Some(mags)) = (&self.magnitude, mags) {
            features.push(magnitude.forward(mags)?);
        }
        let features = Tensor::f_cat(&features, 1)?;
        let joint = self.joint.forward(&features, Activation::Relu)?;
        let joint = joint.f_to_kind(Kind::Float)?;
        self.out.forward(&joint, Activation::Identity)
    }

    /// Cutouts in the forms that the branches take.
    fn image<'a>(&'a self, cutouts: Cutouts<'a>) -> Result<Image<'a>, TchError> {
        let encoder = self.encoder.as_ref().map(FoldedEncoder::takes_scaled);
        let inception = self.inception.as_ref().map(FoldedInception::takes_scaled);
        let is_taken_scaled = encoder == Some(true) || inception == Some(true);
        Image::new(cutouts, self.asinh.as_ref(), is_taken_scaled, self.on)
    }
}

fn is_embedding(output: &ModelOutput) -> bool {
    matches!(output, ModelOutput::Embedding { .. })
}
