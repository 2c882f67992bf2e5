//! The networks that can be trained: what a training asks of each.

use std::fmt::Debug;

use serde::Serialize;
use tch::{Kind, Tensor};

use super::rows::{TrainingRows, missing};
use crate::checkpoint::Checkpoint;
use crate::config::{Architecture, Branch, Config, DecoderConfig, HeadKind};
use crate::error::Error;
use crate::head::HeadConfig;
use crate::init::fixed_table;
use crate::inputs::Inputs;
use crate::layers::Mlp;
use crate::layout::{TensorEntry, head_names, layout};
use crate::needs::Needs;
use crate::network::Network;
use crate::preprocess::{CutoutPreprocess, EmbeddingPreprocess, MagPreprocess};
use crate::quantiles::quantiles;
use crate::training_inputs::{Learned, TrainingInputs};

/// The configuration of a network that can be trained. One training loop, [`Trainer`](super::Trainer), trains them all.
pub trait Trainable: Clone + Debug + Serialize {
    /// A name for people.
    fn name(&self) -> &str;

    /// The inputs that the network takes.
    fn needs(&self) -> Needs;

    /// Every tensor of the network, by name and shape.
    fn layout(&self) -> Vec<TensorEntry>;

    /// The values of the tensor `name` if no training changes them.
    fn constant(&self, name: &str) -> Option<Vec<f32>> {
        let _ = name;
        None
    }

    /// The name of the last layer.
    fn output_layer(&self) -> String;

    /// The form of the redshift that the last layer gives.
    fn head(&self) -> &HeadKind;

    /// Sets the form of the redshift.
    fn set_head(&mut self, head: HeadKind);

    /// Learns the scales of the inputs from `rows`, and what the inputs are like.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot compute.
    fn learn_preprocess(&mut self, rows: &TrainingRows) -> Result<(), Error>;

    /// The quantiles of `batch`, `[batch, level]`, or the redshifts of a point head, `[batch, 1]`, with these weights in
    /// numbers of `kind`.
    ///
    /// # Errors
    /// [`Error::Inputs`] if a column is missing, [`Error::Torch`] if libtorch cannot compute.
    fn redshifts(
        &self,
        weights: &Checkpoint,
        kind: Kind,
        batch: &TrainingRows,
    ) -> Result<Tensor, Error>;

    /// The network whose encoder can encode all rows before the first step, if it does not learn. `None` if there is no
    /// encoder.
    ///
    /// # Errors
    /// [`Error::Tensor`] if a tensor is missing.
    fn encoding(&self, weights: &Checkpoint, kind: Kind) -> Result<Option<Network>, Error> {
        let _ = (weights, kind);
        Ok(None)
    }

    /// The masked autoencoder, if it is one.
    fn autoencoder(&self) -> Option<(&Config, &DecoderConfig)> {
        None
    }
}

impl Trainable for Config {
    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> Needs {
        Config::needs(self)
    }

    fn layout(&self) -> Vec<TensorEntry> {
        layout(self)
    }

    fn constant(&self, name: &str) -> Option<Vec<f32>> {
        fixed_table(name, self)
    }

    fn output_layer(&self) -> String {
        head_names(self).1.to_owned()
    }

    fn head(&self) -> &HeadKind {
        &self.head
    }

    fn set_head(&mut self, head: HeadKind) {
        self.head = head;
    }

    /// The scales of a pretrained encoder stay.
    fn learn_preprocess(&mut self, rows: &TrainingRows) -> Result<(), Error> {
        let is_settled = matches!(self.preprocess.cutout, CutoutPreprocess::Asinh { .. });
        if let Some(cutouts) = rows.cutouts.as_ref().filter(|_| !is_settled) {
            let dereddening = self.preprocess.cutout.dereddening().to_vec();
            let learned = CutoutPreprocess::asinh_of(cutouts)?;
            self.preprocess.cutout = learned.with_dereddening(dereddening);
        }
        if let Some(mags) = &rows.mags {
            self.preprocess.mag = MagPreprocess::whiten_of(mags)?;
        }
        // A masked autoencoder predicts no redshifts.
        if self.architecture != Architecture::Mae {
            let noise = match &self.preprocess.cutout {
                CutoutPreprocess::Asinh { softening, .. } => softening.clone(),
                CutoutPreprocess::Identity { .. } => Vec::new(),
            };
            self.training_inputs = TrainingInputs::learn(Learned {
                mags: rows.mags.as_ref(),
                reference: self.needs().reference_place(),
                cutouts: rows.cutouts.as_ref(),
                noise: &noise,
            })?;
        }
        Ok(())
    }

    fn redshifts(
        &self,
        weights: &Checkpoint,
        kind: Kind,
        batch: &TrainingRows,
    ) -> Result<Tensor, Error> {
        let network = Network::new(weights, self, kind)?;
        let TrainingRows {
            cutouts,
            mags,
            latents,
            ..
        } = batch;
        let taps = network.forward_from(cutouts.as_ref(), mags.as_ref(), latents.as_ref())?;
        match taps.z_quantiles {
            Some(quantiles) => Ok(quantiles),
            None => Ok(taps.z_phot.f_unsqueeze(1)?),
        }
    }

    fn encoding(&self, weights: &Checkpoint, kind: Kind) -> Result<Option<Network>, Error> {
        let has_encoder = self.has(Branch::Encoder);
        let network = has_encoder.then(|| Network::new(weights, self, kind));
        network.transpose()
    }

    fn autoencoder(&self) -> Option<(&Config, &DecoderConfig)> {
        Some((self, self.decoder.as_ref()?))
    }
}

impl Trainable for HeadConfig {
    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> Needs {
        HeadConfig::needs(self)
    }

    fn layout(&self) -> Vec<TensorEntry> {
        HeadConfig::layout(self)
    }

    fn output_layer(&self) -> String {
        format!("layers.{}", self.hidden.len())
    }

    fn head(&self) -> &HeadKind {
        &self.head
    }

    fn set_head(&mut self, head: HeadKind) {
        self.head = head;
    }

    fn learn_preprocess(&mut self, rows: &TrainingRows) -> Result<(), Error> {
        if let Some(embeddings) = &rows.latents {
            self.preprocess.embedding = EmbeddingPreprocess::standardise_of(embeddings)?;
        }
        let mags = rows.mags.as_ref().filter(|_| !self.mags.is_empty());
        if let Some(mags) = mags {
            self.preprocess.mag = MagPreprocess::whiten_of(mags)?;
        }
        self.training_inputs = TrainingInputs::learn(Learned {
            mags,
            reference: HeadConfig::needs(self).reference_place(),
            cutouts: None,
            noise: &[],
        })?;
        Ok(())
    }

    /// A head computes in float32 alone.
    fn redshifts(
        &self,
        weights: &Checkpoint,
        _kind: Kind,
        batch: &TrainingRows,
    ) -> Result<Tensor, Error> {
        let needs = HeadConfig::needs(self);
        let column = |column: &Option<Tensor>| column.as_ref().map(Tensor::shallow_clone);
        let inputs = Inputs {
            embeddings: column(&batch.latents),
            mags: column(&batch.mags),
            ..Inputs::default()
        };
        if inputs.embeddings.is_none() || (needs.mags_required && inputs.mags.is_none()) {
            return Err(missing("embeddings, and magnitudes if the head takes them"));
        }
        let positions: Vec<usize> = (0..=self.hidden.len()).collect();
        let layers = Mlp::new(weights, "layers", &positions)?;
        let out = layers.forward(&self.first_layer(&inputs)?)?;
        match self.head {
            HeadKind::Point => Ok(out),
            HeadKind::Quantiles { .. } => Ok(quantiles(&out)?),
        }
    }
}
