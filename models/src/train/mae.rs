//! The masked autoencoder: an encoder that sees some of the patches, and a light decoder that draws the others.
//!
//! | part | shapes |
//! |---|---|
//! | order | `[batch, patch]`, a shuffle of the patches of each cutout: the first patches are seen, the others are masked |
//! | target | `[batch, band, y, x] -> [batch, patch, band * y * x]` |
//! | encoder | the patches seen `-> [batch, 1 + seen, width]` |
//! | decoder | `[batch, 1 + patch, width] -> [batch, patch, band * y * x]` |
//! | loss | mean squared error over the pixels of masked patches |
//!
//! He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", [arXiv:2111.06377].
//!
//! [arXiv:2111.06377]: https://arxiv.org/abs/2111.06377

use tch::{Kind, TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, DecoderConfig};
use crate::encoder::{Encoder, TransformerBlock};
use crate::error::Error;
use crate::layers::{LayerNorm, Linear};
use crate::preprocess::CutoutPreprocess;

/// The network that pretraining runs.
#[derive(Debug)]
pub(crate) struct MaskedAutoencoder {
    preprocess: CutoutPreprocess,
    kind: Kind,
    patch_px: i64,
    encoder: Encoder,
    norm: LayerNorm,
    decoder: Decoder,
}

impl MaskedAutoencoder {
    pub(crate) fn new(
        c: &Checkpoint,
        config: &Config,
        decoder: &DecoderConfig,
        kind: Kind,
    ) -> Result<Self, Error> {
        Ok(Self {
            preprocess: config.preprocess.cutout.clone(),
            kind,
            patch_px: config.encoder.patch_px as i64,
            encoder: Encoder::new(c, config)?,
            norm: LayerNorm::new(c, "norm")?,
            decoder: Decoder::new(c, config, decoder)?,
        })
    }

    /// Computes the loss of a batch. The encoder sees the first `seen` patches of `order`.
    pub(crate) fn loss(
        &self,
        cutouts: &Tensor,
        order: &Tensor,
        seen: i64,
    ) -> Result<Tensor, TchError> {
        let cutouts = self.preprocess.apply(cutouts)?;
        let places = order.f_narrow(1, 0, seen)?;
        let tokens = self
            .encoder
            .forward(&cutouts.f_to_kind(self.kind)?, Some(&places))?;
        let drawn = self.decoder.forward(&self.norm.forward(&tokens)?, order)?;
        let masked = order.f_narrow(1, seen, order.size2()?.1 - seen)?;
        let difference = at(&drawn, &masked)?
            .f_to_kind(Kind::Float)?
            .f_sub(&at(&self.patches(&cutouts)?, &masked)?)?;
        difference.f_square()?.f_mean(Kind::Float)
    }

    /// The target: `[batch, band, y, x] -> [batch, patch, band * y * x]`.
    fn patches(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let (batch, bands, side, _) = cutouts.size4()?;
        let (patch, grid) = (self.patch_px, side / self.patch_px);
        cutouts
            .f_reshape([batch, bands, grid, patch, grid, patch])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([batch, grid * grid, bands * patch * patch])
    }
}

/// Shuffles the numbers of `patches` for each of `batch` cutouts: `[batch, patch]`. [`tch::manual_seed`] decides the order.
pub(crate) fn shuffle(batch: i64, patches: i64, device: tch::Device) -> Result<Tensor, TchError> {
    Tensor::f_rand([batch, patches], (Kind::Float, device))?.f_argsort(1, false)
}

/// The entries of `x`, `[batch, patch, n]`, at `places`, `[batch, k]`.
fn at(x: &Tensor, places: &Tensor) -> Result<Tensor, TchError> {
    let index = places
        .f_unsqueeze(2)?
        .f_expand([-1, -1, x.size3()?.2], false)?;
    x.f_gather(1, &index, false)
}

/// The decoder. It takes the tokens of the patches seen, and a mask token for each masked patch.
#[derive(Debug)]
struct Decoder {
    embed: Linear,
    mask_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    pixels: Linear,
}

impl Decoder {
    fn new(c: &Checkpoint, config: &Config, decoder: &DecoderConfig) -> Result<Self, Error> {
        let shape = decoder.blocks(&config.encoder);
        let block = |n| {
            let path = format!("decoder_blocks.{n}");
            TransformerBlock::new(c, &path, &shape, config.grid())
        };
        Ok(Self {
            embed: Linear::new(c, "decoder_embed")?,
            mask_token: c.tensor("mask_token")?,
            pos_embed: c.tensor("decoder_pos_embed")?,
            blocks: (0..decoder.depth).map(block).collect::<Result<_, _>>()?,
            norm: LayerNorm::new(c, "decoder_norm")?,
            pixels: Linear::new(c, "decoder_pred")?,
        })
    }

    /// `[batch, 1 + seen, width] -> [batch, patch, band * y * x]`.
    fn forward(&self, tokens: &Tensor, order: &Tensor) -> Result<Tensor, TchError> {
        let tokens = self.embed.forward(tokens)?;
        let (batch, patches) = order.size2()?;
        let seen = tokens.size3()?.1 - 1;
        let masks = self
            .mask_token
            .f_expand([batch, patches - seen, -1], false)?;
        let shuffled = Tensor::f_cat(&[&tokens.f_narrow(1, 1, seen)?, &masks], 1)?;
        // The sorted order gives each patch its place in the shuffle, which puts the patches back on the grid.
        let patches = at(&shuffled, &order.f_argsort(1, false)?)?;
        let cls = tokens.f_narrow(1, 0, 1)?;
        let mut x = Tensor::f_cat(&[&cls, &patches], 1)?.f_add(&self.pos_embed)?;
        for block in &self.blocks {
            x = block.forward(&x, None)?;
        }
        let patches = x.f_narrow(1, 1, patches.size3()?.1)?;
        self.pixels.forward(&self.norm.forward(&patches)?)
    }
}
