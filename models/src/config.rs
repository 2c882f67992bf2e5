//! `config.json` of a model directory: which network the weights beside it belong to.
//!
//! ```json
//! {"architecture": "astromae", "name": "…", "bands": ["u","g","r","i","z"], "cutout_px": 32,
//!  "encoder": {"kind": "pcm", "width": 192, "depth": 12, "heads": 3, "mlp_ratio": 4,
//!              "patch_px": 8, "pcm_kernel": 1, "pcm_group": 48},
//!  "branches": ["encoder", "inception", "magnitude"],
//!  "preprocess": {"cutout": {"kind": "identity"}, "mag": {"kind": "identity"}}}
//! ```
//!
//! A field, an architecture or a kind that is not known here is refused by name: weights run through
//! another network than theirs would still give numbers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::preprocess::{CutoutPreprocess, MagPreprocess};

/// The survey's bands, in the order in which every cutout and every row of magnitudes holds them.
pub const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];

/// The networks that [`load`](crate::load) knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// [`AstroMae`](crate::AstroMae).
    AstroMae,
    /// An encoder with the decoder it was pretrained with: what fine-tuning starts from.
    Mae,
}

/// What feeds the head, in the order in which it is concatenated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Branch {
    /// The vision transformer, on cutouts.
    Encoder,
    /// The Inception network, on cutouts.
    Inception,
    /// The dense network on magnitudes.
    Magnitude,
}

/// A block of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderKind {
    /// With a parallel convolution module beside the attention, and no bias on the keys.
    Pcm,
    /// The plain vision transformer, with one bias for queries, keys and values.
    Plain,
}

/// The vision transformer's dimensions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// What stands beside the attention.
    pub kind: EncoderKind,
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer, in units of `width`.
    pub mlp_ratio: usize,
    /// Side of a patch.
    pub patch_px: usize,
    /// Side of the PCM's convolutions, odd; unused by `plain`.
    #[serde(default = "one")]
    pub pcm_kernel: usize,
    /// Groups of the PCM's convolutions; unused by `plain`.
    #[serde(default = "one")]
    pub pcm_group: usize,
}

/// Blocks that a network can have: far more than any has, and few enough to look for the tensors of each.
const DEPTH_MAX: usize = 1024;

/// Channels of a token: far more than any network has. With these bounds no product of sizes wraps.
const WIDTH_MAX: usize = 1 << 16;
/// Units of `width` in a hidden layer.
const MLP_RATIO_MAX: usize = 256;
/// Side of a cutout.
const CUTOUT_PX_MAX: usize = 4096;
/// Side of the PCM's convolutions.
const PCM_KERNEL_MAX: usize = 255;

fn one() -> usize {
    1
}

/// The decoder of a masked autoencoder: plain blocks, with the encoder's `mlp_ratio`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoder {
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
}

impl Decoder {
    /// The shape of its blocks, on an encoder's tokens.
    pub(crate) fn blocks(&self, encoder: &Encoder) -> Encoder {
        Encoder {
            kind: EncoderKind::Plain,
            width: self.width,
            depth: self.depth,
            heads: self.heads,
            ..encoder.clone()
        }
    }
}

/// What is done to each of the inputs before the network sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// To the cutouts.
    pub cutout: CutoutPreprocess,
    /// To the magnitudes.
    pub mag: MagPreprocess,
}

/// The whole of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network.
    pub architecture: Architecture,
    /// For people; says where the weights come from.
    pub name: String,
    /// Always [`BANDS`].
    pub bands: Vec<String>,
    /// Side of the cutout that the network sees; larger ones are centre-cropped to it.
    pub cutout_px: usize,
    /// The vision transformer.
    pub encoder: Encoder,
    /// What feeds the head, each at most once; an [`Architecture::Mae`] has no head and none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// What an [`Architecture::Mae`] was pretrained with; no other has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<Decoder>,
    /// What is done to the inputs.
    pub preprocess: Preprocessing,
}

/// The names that [`Config::preset`] knows.
pub const PRESETS: [&str; 4] = [
    "astromae",
    "astromae-pcm3",
    "astromae-plain",
    "astromae-tiny",
];

impl Config {
    /// A configuration by its name, one of [`PRESETS`].
    ///
    /// `astromae` is the public checkpoint's; `-pcm3` has 3x3 convolutions beside the attention,
    /// `-plain` none; `-tiny` is two blocks deep, for tests and demonstrations.
    ///
    /// ```
    /// let config = models::Config::preset("astromae").unwrap();
    /// assert_eq!((config.encoder.depth, config.encoder.pcm_kernel), (12, 1));
    /// assert!(models::Config::preset("resnet").is_none());
    /// ```
    pub fn preset(name: &str) -> Option<Self> {
        let (kind, depth, pcm_kernel) = match name {
            "astromae" => (EncoderKind::Pcm, 12, 1),
            "astromae-pcm3" => (EncoderKind::Pcm, 12, 3),
            "astromae-plain" => (EncoderKind::Plain, 12, 1),
            "astromae-tiny" => (EncoderKind::Pcm, 2, 1),
            _ => return None,
        };
        Some(Config {
            architecture: Architecture::AstroMae,
            name: name.to_owned(),
            bands: BANDS.map(str::to_owned).to_vec(),
            cutout_px: 32,
            encoder: Encoder {
                kind,
                width: 192,
                depth,
                heads: 3,
                mlp_ratio: 4,
                patch_px: 8,
                pcm_kernel,
                pcm_group: 48,
            },
            branches: vec![Branch::Encoder, Branch::Inception, Branch::Magnitude],
            decoder: None,
            preprocess: Preprocessing {
                cutout: CutoutPreprocess::Identity {},
                mag: MagPreprocess::Identity {},
            },
        })
    }

    /// Reads the configuration from `bytes`, the content of `path`.
    ///
    /// # Errors
    /// [`Error::Config`] where it is not JSON, names something unknown, or contradicts itself.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config {
            path: path.to_owned(),
            reason,
        };
        let config: Self = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
        config.validate().map_err(refuse)?;
        Ok(config)
    }

    /// Says which sizes contradict each other, if any.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let Encoder {
            kind,
            width,
            depth,
            heads,
            mlp_ratio,
            patch_px,
            pcm_kernel,
            pcm_group,
        } = self.encoder;
        let is_mae = self.architecture == Architecture::Mae;
        let divides =
            |part: usize, whole: usize| part > 0 && whole > 0 && whole.is_multiple_of(part);
        let decoder_width = self.decoder.as_ref().map_or(0, |decoder| decoder.width);
        let rules = [
            (
                width.max(decoder_width) <= WIDTH_MAX,
                format!("`width` is {}, above {WIDTH_MAX}", width.max(decoder_width)),
            ),
            (
                mlp_ratio <= MLP_RATIO_MAX,
                format!("`mlp_ratio` is {mlp_ratio}, above {MLP_RATIO_MAX}"),
            ),
            (
                self.cutout_px <= CUTOUT_PX_MAX,
                format!("`cutout_px` is {}, above {CUTOUT_PX_MAX}", self.cutout_px),
            ),
            (
                kind == EncoderKind::Plain || pcm_kernel <= PCM_KERNEL_MAX,
                format!("`pcm_kernel` is {pcm_kernel}, above {PCM_KERNEL_MAX}"),
            ),
            (
                self.bands == BANDS,
                format!("`bands` is {:?}, and must be {BANDS:?}", self.bands),
            ),
            (
                is_mae || !self.branches.is_empty(),
                "`branches` is empty: nothing feeds the head".to_owned(),
            ),
            (
                self.decoder.is_some() == is_mae && (!is_mae || self.branches.is_empty()),
                "a `mae` has a `decoder` and no `branches`, any other architecture the reverse"
                    .to_owned(),
            ),
            (
                self.decoder.as_ref().is_none_or(|d| {
                    divides(d.heads, d.width)
                        && d.width % 4 == 0
                        && (1..=DEPTH_MAX).contains(&d.depth)
                }),
                format!(
                    "`decoder`: `heads` must divide `width`, a multiple of 4, and `depth` be from 1 to {DEPTH_MAX}"
                ),
            ),
            (
                self.ordered_branches().len() == self.branches.len(),
                "`branches` names one branch twice".to_owned(),
            ),
            (
                self.cutout_px >= 8,
                format!("`cutout_px` is {}, below 8", self.cutout_px),
            ),
            (
                divides(patch_px, self.cutout_px),
                format!(
                    "`patch_px` {patch_px} does not divide `cutout_px` {}",
                    self.cutout_px
                ),
            ),
            (
                divides(heads, width),
                format!("`heads` {heads} does not divide `width` {width}"),
            ),
            (
                width % 4 == 0,
                format!("`width` {width} is not a multiple of 4"),
            ),
            (
                (1..=DEPTH_MAX).contains(&depth) && mlp_ratio > 0,
                format!("`depth` must be from 1 to {DEPTH_MAX}, and `mlp_ratio` above 0"),
            ),
            (
                kind == EncoderKind::Plain || pcm_kernel % 2 == 1,
                format!("`pcm_kernel` {pcm_kernel} is not odd"),
            ),
            (
                kind == EncoderKind::Plain || divides(pcm_group, width),
                format!("`pcm_group` {pcm_group} does not divide `width` {width}"),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(broken),
            None => self.preprocess.validate(),
        }
    }

    /// Whether `branch` feeds the head.
    pub fn has(&self, branch: Branch) -> bool {
        self.branches.contains(&branch)
    }

    /// The branches in the order in which the head takes them, each once.
    pub(crate) fn ordered_branches(&self) -> Vec<Branch> {
        let mut branches = self.branches.clone();
        branches.sort_unstable();
        branches.dedup();
        branches
    }

    /// The masked autoencoder that pretrains this configuration's encoder.
    pub fn pretraining(&self) -> Self {
        Self {
            architecture: Architecture::Mae,
            name: format!("{}, pretrained encoder", self.name),
            branches: Vec::new(),
            decoder: Some(Decoder {
                width: 192,
                depth: 4,
                heads: 3,
            }),
            ..self.clone()
        }
    }

    /// Patches along a side of the cutout.
    pub(crate) fn grid(&self) -> usize {
        self.cutout_px / self.encoder.patch_px
    }
}

/// The part of `config.json` that every architecture has.
#[derive(Deserialize)]
pub(crate) struct Header {
    /// Decides which reader takes the rest.
    pub(crate) architecture: Architecture,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `width * mlp_ratio` wrapped to the size that the weights had.
    #[test]
    fn sizes_whose_products_would_wrap_are_refused_by_name() {
        type Change = fn(&mut Config);
        let changes: [(&str, Change); 5] = [
            ("mlp_ratio", |c| c.encoder.mlp_ratio = (1 << 58) + 4),
            ("width", |c| c.encoder.width = 3 << 60),
            ("cutout_px", |c| c.cutout_px = 1 << 40),
            ("pcm_kernel", |c| c.encoder.pcm_kernel = usize::MAX),
            ("width", |c| {
                *c = c.pretraining();
                c.decoder.as_mut().unwrap().width = 3 << 60;
            }),
        ];
        for (name, change) in changes {
            let mut config = Config::preset("astromae").unwrap();
            change(&mut config);
            let reason = config.validate().unwrap_err();
            assert!(reason.contains(&format!("`{name}` is ")), "{reason}");
        }
    }
}
