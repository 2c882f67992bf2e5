//! The sizes of the vision transformer, and of the decoder that it is pretrained with.

use serde::{Deserialize, Serialize};

/// The kind of the encoder's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// A parallel convolution module beside the attention, and no bias on the keys (ViTAE, Xu et al. 2021).
    Pcm,
    /// The plain vision transformer, with one bias for queries, keys and values (Dosovitskiy et al. 2021).
    Plain,
}

/// The sizes of the vision transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    /// The kind of the blocks.
    pub kind: EncoderKind,
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a block's hidden layer, in units of `width`.
    pub mlp_ratio: usize,
    /// Side of a patch, in pixels.
    pub patch_px: usize,
    /// Side of the PCM's convolutions, odd, in patches; unused by `plain`.
    #[serde(default = "one")]
    pub pcm_kernel: usize,
    /// Number of groups of the PCM's convolutions; unused by `plain`.
    #[serde(default = "one")]
    pub pcm_group: usize,
}

fn one() -> usize {
    1
}

/// The sizes of a masked autoencoder's decoder: plain blocks, with the encoder's `mlp_ratio`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
}

impl DecoderConfig {
    /// The sizes of the decoder's blocks, behind this encoder.
    pub(crate) fn blocks(&self, encoder: &EncoderConfig) -> EncoderConfig {
        EncoderConfig {
            kind: EncoderKind::Plain,
            width: self.width,
            depth: self.depth,
            heads: self.heads,
            ..encoder.clone()
        }
    }
}
