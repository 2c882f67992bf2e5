//! AstroMAE's branches and its head, as published. Training uses this network; `fast/` is the same network for predictions.
//!
//! | part | shapes |
//! |---|---|
//! | encoder | `[batch, 1 + patch, width] -> [batch, width]`, the mean of the patches |
//! | vit_block | `[batch, width] -> [batch, 1096]` |
//! | inception | `[batch, band, y, x] -> [batch, 1096]` |
//! | magnitude | `[batch, band] -> [batch, 1024]` |
//! | head | the features of the branches, concatenated in this order `-> [batch, level]`; a point head has one level |

use tch::{Kind, TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Branch, Config};
use crate::encoder::Encoder;
use crate::error::Error;
use crate::inception::VisInception;
use crate::layers::{LayerNorm, Linear, Mlp, wide};
use crate::layout::{MAG_LAYERS, head_names};
use crate::preprocess::Preprocessing;
use crate::quantiles::{median, quantiles};

/// The intermediate results of a forward pass. Those of branches that the configuration does not have are `None`.
#[derive(Debug)]
pub struct Taps {
    /// `[batch, width]`: the mean of the patches after the last block, normalised by `fc_norm`.
    pub encoder: Option<Tensor>,
    /// `[batch, 1096]`: the features of the encoder for the head.
    pub vit_block: Option<Tensor>,
    /// `[batch, 1096]`: the features of the Inception network for the head.
    pub inception: Option<Tensor>,
    /// `[batch, 1024]`: the features of the magnitudes for the head.
    pub magnitude: Option<Tensor>,
    /// `[batch]`: the photometric redshifts, the medians of a quantile head.
    pub z_phot: Tensor,
    /// `[batch, level]`: the quantiles of a quantile head.
    pub z_quantiles: Option<Tensor>,
}

/// The network. It computes on the device and in the numbers of its weights.
#[derive(Debug)]
pub struct Network {
    preprocess: Preprocessing,
    kind: Kind,
    encoder: Option<EncoderBranch>,
    inception: Option<VisInception>,
    magnitude: Option<Mlp>,
    head: Head,
}

impl Network {
    /// The network of `config`, with weights of `kind`.
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

    /// The forward pass, from raw cutouts and magnitudes on the network's device.
    pub(crate) fn forward(
        &self,
        cutouts: Option<&Tensor>,
        mags: Option<&Tensor>,
    ) -> Result<Taps, TchError> {
        self.forward_from(cutouts, mags, None)
    }

    /// The forward pass. If `latents` are given ([`Network::latents`] of the cutouts), the encoder is skipped.
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
        let out = self.head.forward(&Tensor::f_cat(&features, 1)?)?;
        let z_quantiles = self.head.gives_quantiles.then(|| quantiles(&out));
        Ok(Taps {
            encoder,
            vit_block,
            inception,
            magnitude,
            z_phot: median(&out)?,
            z_quantiles: z_quantiles.transpose()?,
        })
    }

    /// The mean of the encoder's patches after the last block, `[batch, width]`. If the encoder is frozen, nothing before
    /// this point learns.
    ///
    /// # Panics
    /// If the network has no encoder.
    pub(crate) fn latents(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let branch = self.encoder.as_ref();
        let branch =
            branch.expect("invariant: only a network with an encoder is asked for latents");
        branch.latents(&self.prepared(cutouts)?)
    }

    /// Whether a branch other than the encoder uses cutouts.
    pub(crate) fn needs_cutouts_beside_encoder(&self) -> bool {
        self.inception.is_some()
    }

    fn prepared(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let cutouts = self.preprocess.cutout.apply(cutouts)?;
        cutouts.f_to_kind(self.kind)
    }
}

/// The encoder, and the layers that make features of its output.
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

    /// The mean of the patches after the last block: `[batch, band, y, x] -> [batch, width]`.
    fn latents(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let tokens = self.encoder.forward(cutouts, None)?;
        let patches = tokens.f_narrow(1, 1, tokens.size3()?.1 - 1)?;
        patches.f_mean_dim(1, false, None)
    }

    /// Normalises the latents and computes the features: `[batch, width] -> [batch, width], [batch, 1096]`.
    fn forward(&self, latents: &Tensor) -> Result<[Option<Tensor>; 2], TchError> {
        let encoded = self.fc_norm.forward(latents)?;
        let features = self.vit_block.forward(&self.linear.forward(&encoded)?)?;
        Ok([Some(encoded), Some(features)])
    }
}

/// From features to a redshift or its quantiles: a hidden layer (unless a single image branch feeds the head), a ReLU and a linear layer.
#[derive(Debug)]
struct Head {
    hidden: Option<Linear>,
    out: Linear,
    gives_quantiles: bool,
}

impl Head {
    fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        let (hidden, out) = head_names(config);
        Ok(Self {
            hidden: hidden.map(|path| Linear::new(c, path)).transpose()?,
            out: Linear::new(c, out)?.widened()?,
            gives_quantiles: !config.head.is_point(),
        })
    }

    /// `[batch, features] -> [batch, level]`, in float32 or float64.
    fn forward(&self, features: &Tensor) -> Result<Tensor, TchError> {
        let hidden = match &self.hidden {
            Some(layer) => layer.forward(features)?.f_relu()?,
            None => features.f_relu()?,
        };
        // The last sum is always in float32 or float64: bfloat16 has at most three digits for a redshift.
        let hidden = hidden.f_to_kind(wide(hidden.kind()))?;
        self.out.forward(&hidden)
    }
}
