//! The masked autoencoder: an encoder that sees a quarter of the patches, and a light decoder that must draw the rest.
//!
//! | | shapes |
//! |---|---|
//! | order | `[batch, patch]`, a shuffle of the patches of each cutout; the first are seen, the others masked |
//! | target | `[batch, band, y, x] -> [batch, patch, band * y * x]` |
//! | encoder | the patches seen `-> [batch, 1 + seen, width]` |
//! | decoder | `[batch, 1 + patch, width] -> [batch, patch, band * y * x]` |
//! | loss | mean squared error over the pixels of masked patches |
//!
//! He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", [arXiv:2111.06377].
//!
//! [arXiv:2111.06377]: https://arxiv.org/abs/2111.06377

use tch::{Kind, TchError, Tensor};

use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::config::{Config, Decoder as DecoderConfig};
use crate::encoder::{Block, Encoder};
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

    /// The loss of a batch of which the first `seen` patches of `order` are seen.
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

    fn patches(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
        let (batch, bands, side, _) = cutouts.size4()?;
        let (patch, grid) = (self.patch_px, side / self.patch_px);
        cutouts
            .f_reshape([batch, bands, grid, patch, grid, patch])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([batch, grid * grid, bands * patch * patch])
    }
}

/// A shuffle of `patches` for each of `batch` cutouts; [`tch::manual_seed`] decides it.
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

/// The decoder: tokens of the patches seen, and a mask token for each that was not.
#[derive(Debug)]
struct Decoder {
    embed: Linear,
    mask_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    pixels: Linear,
}

impl Decoder {
    fn new(c: &Checkpoint, config: &Config, decoder: &DecoderConfig) -> Result<Self, Error> {
        let shape = decoder.blocks(&config.encoder);
        let block = |n| Block::new(c, &format!("decoder_blocks.{n}"), &shape, config.grid());
        Ok(Self {
            embed: Linear::new(c, "decoder_embed")?,
            mask_token: c.tensor("mask_token")?,
            pos_embed: c.tensor("decoder_pos_embed")?,
            blocks: (0..decoder.depth).map(block).collect::<Result<_, _>>()?,
            norm: LayerNorm::new(c, "decoder_norm")?,
            pixels: Linear::new(c, "decoder_pred")?,
        })
    }

    fn forward(&self, tokens: &Tensor, order: &Tensor) -> Result<Tensor, TchError> {
        let tokens = self.embed.forward(tokens)?;
        let (batch, patches) = order.size2()?;
        let seen = tokens.size3()?.1 - 1;
        let masks = self
            .mask_token
            .f_expand([batch, patches - seen, -1], false)?;
        let shuffled = Tensor::f_cat(&[&tokens.f_narrow(1, 1, seen)?, &masks], 1)?;
        // The place of each patch in the shuffle: back to the order of the sky.
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
