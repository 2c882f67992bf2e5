//! The vision transformer: each patch of a cutout attends to all others.
//!
//! | part | shapes |
//! |---|---|
//! | patches | `[batch, band, y, x] -> [batch, patch, width]` |
//! | a block | `[batch, 1 + patch, width]` in and out |
//!
//! Dosovitskiy et al. 2021, [arXiv:2010.11929]; the parallel convolution module (PCM) is ViTAE's, Xu et al. 2021,
//! [arXiv:2106.03348].
//!
//! [arXiv:2010.11929]: https://arxiv.org/abs/2010.11929
//! [arXiv:2106.03348]: https://arxiv.org/abs/2106.03348

use tch::{TchError, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, EncoderConfig, EncoderKind};
use crate::error::Error;
use crate::layers::{BatchNorm, Conv, LayerNorm, Linear};

/// The vision transformer.
#[derive(Debug)]
pub(crate) struct Encoder {
    patch_embed: Conv,
    cls_token: Tensor,
    pos_embed: Tensor,
    blocks: Vec<TransformerBlock>,
}

impl Encoder {
    pub(crate) fn new(c: &Checkpoint, config: &Config) -> Result<Self, Error> {
        let block = |n| {
            let path = format!("blocks.{n}");
            TransformerBlock::new(c, &path, &config.encoder, config.grid())
        };
        Ok(Self {
            patch_embed: Conv::patches(c, "patch_embed.proj")?,
            cls_token: c.tensor("cls_token")?,
            pos_embed: c.tensor("pos_embed")?,
            blocks: (0..config.encoder.depth)
                .map(block)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Computes the tokens after the last block: `[batch, band, y, x] -> [batch, 1 + patch, width]`.
    ///
    /// With `places`, `[batch, kept]`, the encoder sees only these patches, in this order, and `patch` is `kept`.
    pub(crate) fn forward(
        &self,
        cutouts: &Tensor,
        places: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let patches = self
            .patch_embed
            .forward(cutouts)?
            .f_flatten(2, -1)?
            .f_transpose(1, 2)?;
        let (batch, n_patches, width) = patches.size3()?;
        let mut patches = patches.f_add(&self.pos_embed.f_narrow(1, 1, n_patches)?)?;
        if let Some(places) = places {
            let index = places.f_unsqueeze(2)?.f_expand([-1, -1, width], false)?;
            patches = patches.f_gather(1, &index, false)?;
        }
        let cls = self
            .cls_token
            .f_add(&self.pos_embed.f_narrow(1, 0, 1)?)?
            .f_expand([batch, -1, -1], false)?;
        let mut x = Tensor::f_cat(&[&cls, &patches], 1)?;
        for block in &self.blocks {
            x = block.forward(&x, places)?;
        }
        Ok(x)
    }
}

/// One transformer block. If it has a PCM, convolutions of its input are added after the attention.
#[derive(Debug)]
pub(crate) struct TransformerBlock {
    norm1: LayerNorm,
    attention: Attention,
    pcm: Option<Pcm>,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl TransformerBlock {
    /// The block at `path` of a transformer on `grid` by `grid` patches.
    pub(crate) fn new(
        c: &Checkpoint,
        path: &str,
        encoder: &EncoderConfig,
        grid: usize,
    ) -> Result<Self, Error> {
        let pcm = match encoder.kind {
            EncoderKind::Pcm => Some(Pcm::new(c, &format!("{path}.PCM"), encoder, grid)?),
            EncoderKind::Plain => None,
        };
        Ok(Self {
            norm1: LayerNorm::new(c, &format!("{path}.norm1"))?,
            attention: Attention::new(c, &format!("{path}.attn"), encoder)?,
            pcm,
            norm2: LayerNorm::new(c, &format!("{path}.norm2"))?,
            fc1: Linear::new(c, &format!("{path}.mlp.fc1"))?,
            fc2: Linear::new(c, &format!("{path}.mlp.fc2"))?,
        })
    }

    /// `[batch, 1 + patch, width]` in and out. `places` are given if the patches are not the whole grid.
    pub(crate) fn forward(&self, x: &Tensor, places: Option<&Tensor>) -> Result<Tensor, TchError> {
        let y = x.f_add(&self.attention.forward(&self.norm1.forward(x)?)?)?;
        if let Some(pcm) = &self.pcm {
            let local = pcm.forward(x, places)?;
            // Only the patches: the class token has no place on the grid.
            let _ = y.f_narrow(1, 1, local.size3()?.1)?.f_add_(&local)?;
        }
        let hidden = self.fc1.forward(&self.norm2.forward(&y)?)?.f_gelu("none")?;
        y.f_add(&self.fc2.forward(&hidden)?)
    }
}

/// Multi-head self-attention, `[batch, token, width] -> [batch, token, width]`.
#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: i64,
}

impl Attention {
    fn new(c: &Checkpoint, path: &str, encoder: &EncoderConfig) -> Result<Self, Error> {
        let bias = match encoder.kind {
            EncoderKind::Plain => c.tensor(&format!("{path}.qkv.bias"))?,
            EncoderKind::Pcm => {
                let q = c.tensor(&format!("{path}.q_bias"))?;
                let v = c.tensor(&format!("{path}.v_bias"))?;
                Tensor::f_cat(&[&q, &q.f_zeros_like()?, &v], 0)?
            }
        };
        Ok(Self {
            qkv: Linear::with_bias(c, &format!("{path}.qkv"), bias)?,
            proj: Linear::new(c, &format!("{path}.proj"))?,
            heads: encoder.heads as i64,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (batch, tokens, width) = x.size3()?;
        let qkv = self.qkv.forward(x)?;
        let qkv = qkv.f_reshape([batch, tokens, 3, self.heads, width / self.heads])?;
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?.f_unbind(0)?;
        let mask = None::<Tensor>;
        let mixed = Tensor::f_scaled_dot_product_attention(
            &qkv[0], &qkv[1], &qkv[2], mask, 0.0, false, None, false,
        )?;
        self.proj
            .forward(&mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?)
    }
}

/// The parallel convolution module: it tells a patch its neighbours on the sky, which attention would have to learn.
///
/// If the encoder sees only some patches, each lies at its own place of the grid, and the other places are zero, as is the
/// padding around the grid. Only the places seen are normalised and passed on (a masked convolution, as in Gao et al.
/// 2022, [arXiv:2205.03892]). So a weight means the same neighbour in pretraining and after it, and a masked patch has no
/// influence. A kernel of one patch has no neighbours and needs no grid.
///
/// [arXiv:2205.03892]: https://arxiv.org/abs/2205.03892
#[derive(Debug)]
struct Pcm {
    widen: Conv,
    norm: BatchNorm,
    narrow: Conv,
    kernel: usize,
    grid: i64,
}

impl Pcm {
    fn new(
        c: &Checkpoint,
        path: &str,
        encoder: &EncoderConfig,
        grid: usize,
    ) -> Result<Self, Error> {
        let groups = encoder.pcm_group;
        Ok(Self {
            widen: Conv::same(c, &format!("{path}.0"), groups)?,
            norm: BatchNorm::new(c, &format!("{path}.1"))?,
            narrow: Conv::same(c, &format!("{path}.3"), groups)?,
            kernel: encoder.pcm_kernel,
            grid: grid as i64,
        })
    }

    /// `[batch, 1 + patch, width] -> [batch, patch, width]`.
    fn forward(&self, x: &Tensor, places: Option<&Tensor>) -> Result<Tensor, TchError> {
        let patches = x.f_narrow(1, 1, x.size3()?.1 - 1)?.f_transpose(1, 2)?;
        let hidden = self.convolve(&self.widen, &patches, places)?;
        let hidden = self.norm.forward(&hidden)?.f_silu()?;
        self.convolve(&self.narrow, &hidden, places)?
            .f_transpose(1, 2)
    }

    /// `[batch, channels, patch]` in and out.
    fn convolve(
        &self,
        conv: &Conv,
        x: &Tensor,
        places: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let (batch, channels, _) = x.size3()?;
        if self.kernel == 1 {
            return conv.forward(&x.f_unsqueeze(3)?)?.f_squeeze_dim(3);
        }
        let Some(places) = places else {
            let sky = x.f_reshape([batch, channels, self.grid, self.grid])?;
            return conv.forward(&sky)?.f_flatten(2, -1);
        };
        let at = |channels| places.f_unsqueeze(1)?.f_expand([-1, channels, -1], false);
        let empty = Tensor::f_zeros(
            [batch, channels, self.grid * self.grid],
            (x.kind(), x.device()),
        )?;
        let sky = empty.f_scatter(2, &at(channels)?, x)?;
        let sky = sky.f_reshape([batch, channels, self.grid, self.grid])?;
        let y = conv.forward(&sky)?.f_flatten(2, -1)?;
        y.f_gather(2, &at(y.size3()?.1)?, false)
    }
}
