//! AstroMAE's branches and its head: one forward pass, for predictions and for training.
//!
//! | | shapes |
//! |---|---|
//! | encoder | `[batch, 1 + patch, width] -> [batch, width]`, the mean of the patches |
//! | vit_block | `[batch, width] -> [batch, 1096]` |
//! | inception | `[batch, band, y, x] -> [batch, 1096]` |
//! | magnitude | `[batch, band] -> [batch, 1024]` |
//! | head | the branches, concatenated in this order `-> [batch]` |

use tch::{Kind, TchError, Tensor};

use crate::config::{Branch, Config, Preprocessing};
use crate::encoder::Encoder;
use crate::inception::VisInception;
use crate::layers::{LayerNorm, Linear, Mlp, wide};
use crate::layout::{MAG_LAYERS, head_names};
use crate::{Checkpoint, Error, Taps};

/// The network, on the device and in the numbers of its weights.
#[derive(Debug)]
pub(crate) struct Network {
    preprocess: Preprocessing,
    kind: Kind,
    encoder: Option<EncoderBranch>,
    inception: Option<VisInception>,
    magnitude: Option<Mlp>,
    head: Head,
}

impl Network {
    /// The network of `config` with weights of `kind`.
    pub(crate) fn new(c: &Checkpoint, config: &Config, kind: Kind) -> Result<Self, Error> {
        let on = |branch| config.has(branch).then_some(c);
        let encoder = |c| EncoderBranch::new(c, config);
        let magnitude = |c| Mlp::new(c, "inception_model.magnitude_block", &MAG_LAYERS);
        Ok(Self {
            preprocess: config.preprocess.clone(),
            kind,
            encoder: on(Branch::Encoder).map(encoder).transpose()?,
            inception: on(Branch::Inception).map(VisInception::new).transpose()?,
            magnitude: on(Branch::Magnitude).map(magnitude).transpose()?,
            head: Head::new(c, config)?,
        })
    }

    /// The forward pass: cutouts and magnitudes as they come, on the network's device.
    pub(crate) fn forward(
        &self,
        cutouts: Option<&Tensor>,
        mags: Option<&Tensor>,
    ) -> Result<Taps, TchError> {
        self.forward_from(cutouts, mags, None)
    }

    /// The forward pass, where `latents` are there with the encoder's part done: [`Network::latents`] of the cutouts.
    pub(crate) fn forward_from(
        &self,
        cutouts: Option<&Tensor>,
        mags: Option<&Tensor>,
        latents: Option<&Tensor>,
    ) -> Result<Taps, TchError> {
        let cutouts = cutouts.map(|x| self.prepared(x)).transpose()?;
        let mags = mags.map(|x| self.preprocess.mag.apply(x)?.f_to_kind(self.kind));
        let mags = mags.transpose()?;
        let [encoder, vit_block] = match (&self.encoder, latents, &cutouts) {
            (Some(branch), Some(latents), _) => branch.forward(latents)?,
            (Some(branch), None, Some(cutouts)) => branch.forward(&branch.latents(cutouts)?)?,
            _ => [None, None],
        };
        let inception = self.inception.as_ref().zip(cutouts.as_ref());
        let inception = inception.map(|(net, x)| net.forward(x)).transpose()?;
        let magnitude = self.magnitude.as_ref().zip(mags.as_ref());
        let magnitude = magnitude.map(|(net, x)| net.forward(x)).transpose()?;
        let branches = [&vit_block, &inception, &magnitude];
        let features: Vec<&Tensor> = branches.into_iter().flatten().collect();
        let z_phot = self.head.forward(&Tensor::f_cat(&features, 1)?)?;
        Ok(Taps {
            encoder,
            vit_block,
            inception,
            magnitude,
            z_phot,
        })
    }

    /// What the transformer makes of cutouts, before anything that learns on top of one that is frozen:
    /// `[batch, width]`.
    ///
    /// # Panics
    /// Where the encoder is switched off.
    pub(crate) fn latents(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let branch = self.encoder.as_ref();
        let branch = branch.expect("invariant: latents are asked of a network with an encoder");
        branch.latents(&self.prepared(cutouts)?)
    }

    /// Whether a branch besides the encoder looks at cutouts.
    pub(crate) fn looks_twice(&self) -> bool {
        self.inception.is_some()
    }

    fn prepared(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let cutouts = self.preprocess.cutout.apply(cutouts)?;
        cutouts.f_to_kind(self.kind)
    }
}

/// The encoder and what makes features of it.
#[derive(Debug)]
struct EncoderBranch {
    encoder: Encoder,
    fc_norm: LayerNorm,
    linear: Linear,
    vit_block: Mlp,
}

impl EncoderBranch {
    fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        Ok(Self {
            encoder: Encoder::new(c, config)?,
            fc_norm: LayerNorm::new(c, "fc_norm")?,
            linear: Linear::new(c, "head")?,
            vit_block: Mlp::new(c, "vit_block", &[0, 2])?,
        })
    }

    /// The mean of the patches after the last block.
    fn latents(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let tokens = self.encoder.forward(cutouts, None)?;
        let patches = tokens.f_narrow(1, 1, tokens.size3()?.1 - 1)?;
        patches.f_mean_dim(1, false, None)
    }

    /// The latents, normalised, and the features that they become.
    fn forward(&self, latents: &Tensor) -> Result<[Option<Tensor>; 2], TchError> {
        let encoded = self.fc_norm.forward(latents)?;
        let features = self.vit_block.forward(&self.linear.forward(&encoded)?)?;
        Ok([Some(encoded), Some(features)])
    }
}

/// Features to a redshift: a hidden layer where several branches (or magnitudes alone) feed it,
/// then ReLU and one linear layer.
#[derive(Debug)]
struct Head {
    hidden: Option<Linear>,
    out: Linear,
}

impl Head {
    fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        let (hidden, out) = head_names(config);
        Ok(Self {
            hidden: hidden.map(|path| Linear::new(c, path)).transpose()?,
            out: Linear::new(c, out)?.widened()?,
        })
    }

    /// `[batch, features] -> [batch]`, float32 at least.
    fn forward(&self, features: &Tensor) -> Result<Tensor, TchError> {
        let hidden = match &self.hidden {
            Some(layer) => layer.forward(features)?.f_relu()?,
            None => features.f_relu()?,
        };
        // The last sum is float32 whatever the rest is: bfloat16 has no more than three digits for a redshift.
        let hidden = hidden.f_to_kind(wide(hidden.kind()))?;
        self.out.forward(&hidden)?.f_squeeze_dim(1)
    }
}
