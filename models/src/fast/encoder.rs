//! The transformer, folded. Tokens come first: the tokens of all galaxies at one place are contiguous in memory.
//!
//! | | shapes |
//! |---|---|
//! | patches | `[batch, band, y, x] -> [patch * batch, band * y * x]` |
//! | a block | `[(1 + patch) * batch, width]` in and out |
//! | the last block | `[(1 + patch) * batch, width] -> [batch, width]`, the mean of the patches |
//!
//! For our own loops, the channels of an encoder with a PCM are in the order of [`pcm_channels`], and so are all weights
//! that are multiplied with them.

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::block::{BlockLayers, Channels, FoldedBlock};
use super::cutouts::Image;
use super::embedding::Embedding;
use super::kernels::KernelTokens;
use super::linear::FoldedLinear;
use super::loops::pcm_channels;
use super::weight::{Affine, Weight};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, EncoderKind};
use crate::cuda::Kernels;
use crate::error::Error;

/// The encoder branch: from cutouts to the features for the head.
#[derive(Debug, Clone)]
pub(super) struct FoldedEncoder {
    on: Backend,
    tokens: Tokens,
    /// Scale and shift of `fc_norm`, `head` and `vit_block.0`.
    features: FoldedLinear,
    fc_norm: FcNorm,
}

/// From cutouts to the mean of the patches.
#[derive(Debug, Clone)]
enum Tokens {
    Layers(Layers),
    /// Kernels for a GPU.
    Kernels(KernelTokens),
}

/// The transformer, an operator after the other.
#[derive(Debug, Clone)]
struct Layers {
    on: Backend,
    grid: i64,
    patch_px: i64,
    width: i64,
    patch_embed: FoldedLinear,
    /// `[patch, 1, width]`: the positions plus the bias of `patch_embed`.
    places: Weight,
    /// `[1, width]`: the class token plus its position.
    class: Weight,
    blocks: Vec<FoldedBlock>,
}

/// Scale and shift of `fc_norm`, which only the embedding needs by themselves.
#[derive(Debug, Clone)]
struct FcNorm {
    /// `[width]`: the place of each channel of the checkpoint among the encoder's channels.
    places: Weight,
    scale: Weight,
    shift: Weight,
}

impl FcNorm {
    fn new(c: &Checkpoint, channels: &Channels, on: Backend) -> Result<Self, Error> {
        let exact = on.with_kind(Kind::Float);
        Ok(Self {
            places: Weight(channels.0.f_argsort(0, false)?.f_to_device(on.device)?),
            scale: exact.weight(&c.tensor("fc_norm.weight")?)?,
            shift: exact.weight(&c.tensor("fc_norm.bias")?)?,
        })
    }
}

impl FoldedEncoder {
    /// The encoder of `config`, by `kernels` if there are some and its sizes are theirs.
    pub(super) fn new(
        c: &Checkpoint,
        config: &Config,
        on: Backend,
        kernels: Option<&Arc<Kernels>>,
    ) -> Result<Self, Error> {
        let encoder = &config.encoder;
        let channels = Channels(match (encoder.kind, on.set) {
            (EncoderKind::Pcm, Some(set)) => {
                let channels = pcm_channels(set, encoder.width, encoder.pcm_group, on.kind);
                Tensor::f_from_slice(&channels)?
            }
            _ => Tensor::f_arange(encoder.width as i64, (Kind::Int64, Device::Cpu))?,
        });
        let features = Affine::read(c, "vit_block.0")?
            .after(&Affine::read(c, "head")?)?
            .after_norm(c, "fc_norm")?
            .inputs_in(&channels.0)?;
        let kernels = kernels.filter(|_| KernelTokens::suit(config));
        Ok(Self {
            on,
            tokens: match kernels {
                Some(kernels) => Tokens::Kernels(KernelTokens::new(c, config, on, kernels)?),
                None => Tokens::Layers(Layers::new(c, config, &channels, on)?),
            },
            features: FoldedLinear::new(&features, on)?,
            fc_norm: FcNorm::new(c, &channels, on)?,
        })
    }

    /// Whether it takes cutouts that are scaled.
    pub(super) fn takes_scaled(&self) -> bool {
        matches!(self.tokens, Tokens::Layers(_))
    }

    /// The mean of the patches, of mean 0 and variance 1: `[batch, width]`.
    pub(super) fn latents(&self, image: &Image<'_>) -> Result<Tensor, TchError> {
        let mean = match &self.tokens {
            Tokens::Layers(layers) => layers.mean_of_patches(image.scaled())?,
            Tokens::Kernels(kernels) => kernels.mean_of_patches(image)?,
        };
        self.on.normalise(&mean)
    }

    /// The features for the head: `[batch, width] -> [batch, 1096]`.
    pub(super) fn features(&self, latents: &Tensor) -> Result<Tensor, TchError> {
        self.features.forward(latents, Activation::Relu)
    }

    /// The embedding: `[batch, width]` in and out, in float32 and in the order of the checkpoint's channels.
    pub(super) fn embedding(&self, latents: &Tensor) -> Result<Tensor, TchError> {
        let FcNorm {
            places,
            scale,
            shift,
        } = &self.fc_norm;
        let latents = latents.f_to_kind(Kind::Float)?.f_index_select(1, places)?;
        latents.f_mul(scale)?.f_add(shift)
    }
}

impl Layers {
    fn new(
        c: &Checkpoint,
        config: &Config,
        channels: &Channels,
        on: Backend,
    ) -> Result<Self, Error> {
        let encoder = &config.encoder;
        let (width, patch_px) = (encoder.width as i64, encoder.patch_px as i64);
        let Embedding { patches, places } = Embedding::read(c)?;
        let patches = patches.outputs_in(&channels.0)?;
        let places = places.f_index_select(1, &channels.0)?;
        let count = places.size()[0] - 1;
        let patch_places = places.f_narrow(0, 1, count)?.f_view([count, 1, width])?;
        let block = |n| {
            let path = format!("blocks.{n}");
            let layers = BlockLayers::read(c, &path, encoder, config.grid())?;
            Ok(FoldedBlock::new(&layers, encoder.heads, channels, on)?)
        };
        Ok(Self {
            on,
            grid: config.grid() as i64,
            patch_px,
            width,
            patch_embed: FoldedLinear::new(&patches, on)?,
            places: on.weight(&patch_places)?,
            class: on.weight(&places.f_narrow(0, 0, 1)?)?,
            blocks: (0..encoder.depth)
                .map(block)
                .collect::<Result<_, Error>>()?,
        })
    }

    /// The mean of the patches: `[batch, band, y, x] -> [batch, width]`.
    fn mean_of_patches(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let batch = cutouts.size()[0];
        let patches = self.grid * self.grid;
        let tokens = self.patch_embed.forward(
            &self.on.patches(cutouts, self.patch_px)?,
            Activation::Identity,
        )?;
        let tokens = tokens.f_view([patches, batch, self.width])?;
        let mut x = Tensor::f_empty(
            [1 + patches, batch, self.width],
            (cutouts.kind(), cutouts.device()),
        )?;
        x.f_narrow(0, 0, 1)?.f_copy_(&self.class)?;
        let _ = tokens.f_add_out(&x.f_narrow(0, 1, patches)?, &self.places)?;
        x = x.f_view([-1, self.width])?;
        let (last, blocks) = self
            .blocks
            .split_last()
            .expect("invariant: the depth is above 0");
        for block in blocks {
            block.attend(&mut x, batch)?;
            block.transform(&mut x)?;
        }
        last.attend(&mut x, batch)?;
        last.mean_of_patches(&x, batch)
    }
}
