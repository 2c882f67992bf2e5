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

use tch::{Device, Kind, TchError, Tensor};

use super::activation::Activation;
use super::backend::Backend;
use super::linear::FoldedLinear;
use super::loops::pcm_channels;
use super::pcm::FoldedPcm;
use super::weight::{Affine, PcmLayers, Weight, exact};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, EncoderConfig, EncoderKind};
use crate::error::Error;

/// The encoder branch: from cutouts to the features for the head.
#[derive(Debug, Clone)]
pub(super) struct FoldedEncoder {
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
    /// Scale and shift of `fc_norm`, `head` and `vit_block.0`.
    features: FoldedLinear,
    fc_norm: FcNorm,
}

/// A block of the transformer.
#[derive(Debug, Clone)]
struct FoldedBlock {
    on: Backend,
    heads: usize,
    qkv: FoldedLinear,
    pcm: Option<FoldedPcm>,
    proj: FoldedLinear,
    fc1: FoldedLinear,
    fc2: FoldedLinear,
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

/// The order of the encoder's channels: the number of each channel in the checkpoint.
struct Channels(Tensor);

impl FoldedEncoder {
    pub(super) fn new(c: &Checkpoint, config: &Config, on: Backend) -> Result<Self, Error> {
        let encoder = &config.encoder;
        let (width, patch_px) = (encoder.width as i64, encoder.patch_px as i64);
        let channels = Channels(match (encoder.kind, on.set) {
            (EncoderKind::Pcm, Some(set)) => {
                let channels = pcm_channels(set, encoder.width, encoder.pcm_group, on.kind);
                Tensor::f_from_slice(&channels)?
            }
            _ => Tensor::f_arange(width, (Kind::Int64, Device::Cpu))?,
        });
        let mut patch_embed = Affine::read(c, "patch_embed.proj")?.outputs_in(&channels.0)?;
        patch_embed.weight = patch_embed.weight.f_flatten(1, -1)?;
        let places = exact(c, "pos_embed")?.f_index_select(2, &channels.0)?;
        let class = exact(c, "cls_token")?.f_index_select(2, &channels.0)?;
        let class = class
            .f_add(&places.f_narrow(1, 0, 1)?)?
            .f_view([1, width])?;
        let patches = places.size()[1] - 1;
        let places = places.f_narrow(1, 1, patches)?.f_add(&patch_embed.bias)?;
        patch_embed.bias = patch_embed.bias.f_zeros_like()?;
        let features = Affine::read(c, "vit_block.0")?
            .after(&Affine::read(c, "head")?)?
            .after_norm(c, "fc_norm")?
            .inputs_in(&channels.0)?;
        let block = |n| FoldedBlock::new(c, &format!("blocks.{n}"), config, &channels, on);
        Ok(Self {
            on,
            grid: config.grid() as i64,
            patch_px,
            width,
            patch_embed: FoldedLinear::new(&patch_embed, on)?,
            places: on.weight(&places.f_view([patches, 1, width])?)?,
            class: on.weight(&class)?,
            blocks: (0..encoder.depth).map(block).collect::<Result<_, _>>()?,
            features: FoldedLinear::new(&features, on)?,
            fc_norm: FcNorm::new(c, &channels, on)?,
        })
    }

    /// The mean of the patches, of mean 0 and variance 1: `[batch, band, y, x] -> [batch, width]`.
    pub(super) fn latents(&self, cutouts: &Tensor) -> Result<Tensor, TchError> {
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
        self.on.normalise(&last.mean_of_patches(&x, batch)?)
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

impl FoldedBlock {
    fn new(
        c: &Checkpoint,
        path: &str,
        config: &Config,
        channels: &Channels,
        on: Backend,
    ) -> Result<Self, Error> {
        let encoder = &config.encoder;
        let layer = |name: &str| Affine::read(c, &format!("{path}.{name}"));
        let norm = |n| format!("{path}.norm{n}");
        let qkv = qkv(c, path, encoder)?.after_norm(c, &norm(1))?;
        let fc1 = layer("mlp.fc1")?.after_norm(c, &norm(2))?;
        let pack = |layer: Affine| FoldedLinear::new(&layer, on);
        let pcm = match encoder.kind {
            EncoderKind::Plain => None,
            EncoderKind::Pcm => {
                let layers = PcmLayers {
                    widen: layer("PCM.0")?.then_batch_norm(c, &format!("{path}.PCM.1"))?,
                    narrow: layer("PCM.3")?,
                    groups: encoder.pcm_group,
                    grid: config.grid(),
                };
                Some(FoldedPcm::new(&layers, on)?)
            }
        };
        Ok(Self {
            on,
            heads: encoder.heads,
            qkv: pack(qkv.inputs_in(&channels.0)?)?,
            pcm,
            proj: pack(layer("attn.proj")?.outputs_in(&channels.0)?)?,
            fc1: pack(fc1.inputs_in(&channels.0)?)?,
            fc2: pack(layer("mlp.fc2")?.outputs_in(&channels.0)?)?,
        })
    }

    /// Adds the attention and the PCM to the tokens.
    fn attend(&self, x: &mut Tensor, batch: i64) -> Result<(), TchError> {
        let qkv = self
            .qkv
            .forward(&self.on.normalise(x)?, Activation::Identity)?;
        let mixed = self.on.attend(&qkv, batch, self.heads)?;
        if let Some(pcm) = &self.pcm {
            // Only the patches: the class token has no place on the grid.
            pcm.add_to(&mut x.f_narrow(0, batch, x.size()[0] - batch)?)?;
        }
        self.proj.add_to(x, &mixed)
    }

    /// Adds the perceptron to the tokens.
    fn transform(&self, x: &mut Tensor) -> Result<(), TchError> {
        let rows = x.size()[0];
        let together = self.on.perceptron_rows(rows);
        for first in (0..rows).step_by(together as usize) {
            let mut x = x.f_narrow(0, first, together.min(rows - first))?;
            let hidden = self
                .fc1
                .forward(&self.on.normalise(&x)?, Activation::Gelu)?;
            self.fc2.add_to(&mut x, &hidden)?;
        }
        Ok(())
    }

    /// The mean of the patches after the perceptron. The second layer is linear, so it is applied to the mean.
    fn mean_of_patches(&self, x: &Tensor, batch: i64) -> Result<Tensor, TchError> {
        let rows = x.size()[0];
        let mean = |x: &Tensor| {
            let tokens = x.f_view([-1, batch, x.size()[1]])?;
            tokens.f_mean_dim(0, false, None)
        };
        let patches = x.f_narrow(0, batch, rows - batch)?;
        let hidden = self
            .fc1
            .forward(&self.on.normalise(&patches)?, Activation::Gelu)?;
        let mut sum = mean(&patches)?;
        self.fc2.add_to(&mut sum, &mean(&hidden)?)?;
        Ok(sum)
    }
}

/// The layer of queries, keys and values, with queries divided by the root of the number of channels of a head.
fn qkv(c: &Checkpoint, path: &str, encoder: &EncoderConfig) -> Result<Affine, Error> {
    let weight = exact(c, &format!("{path}.attn.qkv.weight"))?;
    let bias = match encoder.kind {
        EncoderKind::Plain => exact(c, &format!("{path}.attn.qkv.bias"))?,
        EncoderKind::Pcm => {
            let q = exact(c, &format!("{path}.attn.q_bias"))?;
            let v = exact(c, &format!("{path}.attn.v_bias"))?;
            Tensor::f_cat(&[&q, &q.f_zeros_like()?, &v], 0)?
        }
    };
    let scale = ((encoder.width / encoder.heads) as f64).powf(-0.5);
    let scales = bias.f_ones_like()?;
    let _ = scales
        .f_narrow(0, 0, encoder.width as i64)?
        .f_fill_(scale)?;
    Ok(Affine {
        weight: weight.f_mul(&scales.f_unsqueeze(1)?)?,
        bias: bias.f_mul(&scales)?,
    })
}
