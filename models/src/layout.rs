//! The names and shapes of AstroMAE's tensors in the public checkpoint.
//!
//! [`Checkpoint`](crate::Checkpoint) reads weights by this table, [`init`](crate::init) makes them by it.

mod astroclip;

pub use self::astroclip::astroclip_layout;
pub(crate) use self::astroclip::{ATTENTION, QKV, UNUSED};
use crate::config::{Branch, Config, DecoderConfig, EncoderConfig, EncoderKind};

/// The number of features that the encoder and the Inception network each give to the head.
pub const IMAGE_FEATURES: usize = 1096;
/// The number of features that the magnitudes give to the head, and the width of the head's hidden layer.
pub const MAG_FEATURES: usize = 1024;
/// Output channels of the first 1x1 convolution of the Inception network.
const STEM: usize = 32;

/// The Inception blocks: position in `vis_inception`, input channels, output channels of each branch.
pub(crate) const INCEPTION_BLOCKS: [(usize, usize, usize); 5] =
    [(2, 32, 16), (3, 64, 16), (5, 64, 8), (6, 32, 8), (8, 32, 4)];
/// The last Inception block. The public checkpoint has its 5x5 branch, but the block's output does not.
pub(crate) const LAST_BLOCK: usize = 8;
/// The channels that the last Inception block gives: three branches.
pub(crate) const LAST_CHANNELS: usize = 3 * INCEPTION_BLOCKS[4].2;
/// The positions of the linear layers in `magnitude_block`, which have a ReLU between them.
pub(crate) const MAG_LAYERS: [usize; 5] = [0, 2, 4, 6, 8];

/// A tensor of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// The name in the public checkpoint.
    pub name: String,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Whether the forward pass uses it. If not, it may be missing.
    pub required: bool,
}

/// Lists every tensor of the branches of `config` and of their head, or of a masked autoencoder.
///
/// ```
/// let mut config = hubbleflow_models::Config::preset("astromae").unwrap();
/// config.branches = vec![hubbleflow_models::Branch::Magnitude];
/// let layout = hubbleflow_models::layout::layout(&config);
/// assert_eq!(layout[0].name, "inception_model.magnitude_block.0.weight");
/// assert_eq!(layout[0].shape, [1024, 5]);
/// ```
pub fn layout(config: &Config) -> Vec<TensorEntry> {
    let mut table = Table::default();
    if let Some(decoder) = &config.decoder {
        table.trunk(config);
        table.decoder(config, decoder);
        return table.0;
    }
    for branch in config.ordered_branches() {
        match branch {
            Branch::Encoder => table.encoder(config),
            Branch::Inception => table.inception(config),
            Branch::Magnitude => table.magnitude(config),
        }
    }
    table.head(config);
    table.0
}

/// Whether a tensor belongs to the transformer itself, which pretraining trains and fine-tuning takes over.
///
/// ```
/// use hubbleflow_models::layout::is_trunk;
/// assert!(is_trunk("blocks.0.attn.qkv.weight") && !is_trunk("vit_block.0.weight"));
/// ```
pub fn is_trunk(name: &str) -> bool {
    let parts = ["cls_token", "pos_embed", "patch_embed.", "blocks."];
    parts.iter().any(|part| name.starts_with(part))
}

/// Whether a tensor belongs to a batch normalisation, which computes in float32 on every device.
pub(crate) fn is_batch_norm(name: &str) -> bool {
    name.contains(".bn.") || name.contains(".PCM.1.")
}

/// The prefixes of the names of the tensors of `branch`.
pub(crate) fn prefixes(branch: Branch) -> &'static [&'static str] {
    match branch {
        Branch::Encoder => &[
            "cls_token",
            "pos_embed",
            "patch_embed.",
            "blocks.",
            "fc_norm.",
            "head.",
            "vit_block.",
        ],
        Branch::Inception => &[
            "inception_model.conv2d_init.",
            "inception_model.vis_inception.",
        ],
        Branch::Magnitude => &["inception_model.magnitude_block."],
    }
}

/// The names of the head's layers: the hidden layer, if there is one, and the output.
///
/// With a single image branch there is no hidden layer: the features pass a ReLU and one linear layer, `concat_block.1`.
/// Otherwise they pass `concat_block.0`, a ReLU, and `concat_block.2`.
pub(crate) fn head_names(config: &Config) -> (Option<&'static str>, &'static str) {
    match config.ordered_branches()[..] {
        [Branch::Encoder] | [Branch::Inception] => (None, "concat_block.1"),
        _ => (Some("concat_block.0"), "concat_block.2"),
    }
}

/// The layout as it grows.
#[derive(Default)]
struct Table(Vec<TensorEntry>);

impl Table {
    fn tensor(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.push(TensorEntry {
            name: name.into(),
            shape: shape.to_vec(),
            required: true,
        });
    }

    /// A linear layer or a convolution: a weight of `shape`, and a bias as long as its first dimension.
    fn layer(&mut self, path: &str, shape: &[usize]) {
        self.tensor(format!("{path}.weight"), shape);
        self.tensor(format!("{path}.bias"), &shape[..1]);
    }

    fn batch_norm(&mut self, path: &str, channels: usize) {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.tensor(format!("{path}.{part}"), &[channels]);
        }
    }

    fn trunk(&mut self, config: &Config) {
        let encoder = &config.encoder;
        let width = encoder.width;
        let patch = encoder.patch_px;
        self.tensor("cls_token", &[1, 1, width]);
        self.tensor("pos_embed", &[1, config.grid() * config.grid() + 1, width]);
        self.layer(
            "patch_embed.proj",
            &[width, config.bands.len(), patch, patch],
        );
        for n in 0..encoder.depth {
            self.block(&format!("blocks.{n}"), encoder);
        }
    }

    fn encoder(&mut self, config: &Config) {
        let width = config.encoder.width;
        self.trunk(config);
        self.layer("fc_norm", &[width]);
        self.layer("head", &[width, width]);
        self.layer("vit_block.0", &[IMAGE_FEATURES, width]);
        self.layer("vit_block.2", &[IMAGE_FEATURES, IMAGE_FEATURES]);
    }

    /// The decoder, with the names of He et al. 2022.
    fn decoder(&mut self, config: &Config, decoder: &DecoderConfig) {
        let (width, encoder) = (decoder.width, &config.encoder);
        let patches = config.grid() * config.grid();
        self.layer("norm", &[encoder.width]);
        self.layer("decoder_embed", &[width, encoder.width]);
        self.tensor("mask_token", &[1, 1, width]);
        self.tensor("decoder_pos_embed", &[1, patches + 1, width]);
        let blocks = decoder.blocks(encoder);
        for n in 0..decoder.depth {
            self.block(&format!("decoder_blocks.{n}"), &blocks);
        }
        self.layer("decoder_norm", &[width]);
        let pixels = config.bands.len() * encoder.patch_px * encoder.patch_px;
        self.layer("decoder_pred", &[pixels, width]);
    }

    fn block(&mut self, path: &str, encoder: &EncoderConfig) {
        let width = encoder.width;
        let hidden = width * encoder.mlp_ratio;
        self.layer(&format!("{path}.norm1"), &[width]);
        match encoder.kind {
            EncoderKind::Plain => self.layer(&format!("{path}.attn.qkv"), &[3 * width, width]),
            EncoderKind::Pcm => {
                self.tensor(format!("{path}.attn.qkv.weight"), &[3 * width, width]);
                self.tensor(format!("{path}.attn.q_bias"), &[width]);
                self.tensor(format!("{path}.attn.v_bias"), &[width]);
                let (k, groups) = (encoder.pcm_kernel, encoder.pcm_group);
                self.layer(&format!("{path}.PCM.0"), &[hidden, width / groups, k, k]);
                self.batch_norm(&format!("{path}.PCM.1"), hidden);
                self.layer(&format!("{path}.PCM.3"), &[width, hidden / groups, k, k]);
            }
        }
        self.layer(&format!("{path}.attn.proj"), &[width, width]);
        self.layer(&format!("{path}.norm2"), &[width]);
        self.layer(&format!("{path}.mlp.fc1"), &[hidden, width]);
        self.layer(&format!("{path}.mlp.fc2"), &[width, hidden]);
    }

    fn inception(&mut self, config: &Config) {
        let vis = "inception_model.vis_inception";
        self.layer(
            "inception_model.conv2d_init",
            &[STEM, config.bands.len(), 1, 1],
        );
        for (n, channels, each) in INCEPTION_BLOCKS {
            let mut conv = |branch: &str, shape: [usize; 3]| {
                let [from, k, start] = [shape[0], shape[1], self.0.len()];
                let path = format!("{vis}.{n}.{branch}");
                self.layer(&format!("{path}.conv"), &[shape[2], from, k, k]);
                self.batch_norm(&format!("{path}.bn"), shape[2]);
                let used = n != LAST_BLOCK || !branch.starts_with("branch3");
                self.0[start..]
                    .iter_mut()
                    .for_each(|entry| entry.required = used);
            };
            conv("branch1", [channels, 1, each]);
            conv("branch2.0", [channels, 1, each]);
            conv("branch2.1", [each, 3, each]);
            conv("branch3.0", [channels, 1, each]);
            conv("branch3.1", [each, 5, each]);
            conv("branch4.1", [channels, 1, each]);
        }
        // Three poolings by two, which leave out the last row and column of an odd side.
        let side = config.cutout_px / 2 / 2 / 2;
        let flat = LAST_CHANNELS * side * side;
        self.layer(&format!("{vis}.10"), &[IMAGE_FEATURES, flat]);
        self.layer(&format!("{vis}.12"), &[IMAGE_FEATURES, IMAGE_FEATURES]);
    }

    fn magnitude(&mut self, config: &Config) {
        for n in MAG_LAYERS {
            let from = if n == 0 {
                config.mags().len()
            } else {
                MAG_FEATURES
            };
            self.layer(
                &format!("inception_model.magnitude_block.{n}"),
                &[MAG_FEATURES, from],
            );
        }
    }

    fn head(&mut self, config: &Config) {
        let features: usize = config
            .ordered_branches()
            .iter()
            .map(|branch| match branch {
                Branch::Encoder | Branch::Inception => IMAGE_FEATURES,
                Branch::Magnitude => MAG_FEATURES,
            })
            .sum();
        match head_names(config) {
            (None, out) => self.layer(out, &[config.head.width(), features]),
            (Some(hidden), out) => {
                self.layer(hidden, &[MAG_FEATURES, features]);
                self.layer(out, &[config.head.width(), MAG_FEATURES]);
            }
        }
    }
}
