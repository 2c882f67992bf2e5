//! The names and shapes of AstroCLIP's tensors in the public checkpoint, without `image_encoder.`.

use super::TensorEntry;
use crate::config::AstroClipConfig;

/// The tensors that the public checkpoint has and the forward pass does not use. A backbone alone uses the first two.
pub(crate) const UNUSED: [&str; 3] = [
    "backbone.cls_token",
    "backbone.pos_embed",
    "backbone.mask_token",
];

/// The attention of the query.
pub(crate) const ATTENTION: &str = "cross_attention.multihead_attn";

/// The names of the weights of queries, keys and values. They are one tensor, `in_proj_weight`, if all have one width.
pub(crate) const QKV: [&str; 3] = ["q_proj_weight", "k_proj_weight", "v_proj_weight"];

/// Lists every tensor of an AstroCLIP.
///
/// ```
/// use hubbleflow_models::{config::AstroClipConfig, layout::astroclip_layout};
/// let layout = astroclip_layout(&AstroClipConfig::public());
/// assert_eq!(layout.last().unwrap().name, "mlp.decoder.bias");
/// ```
pub fn astroclip_layout(config: &AstroClipConfig) -> Vec<TensorEntry> {
    let width = config.encoder.width;
    let (patch, patches) = (config.encoder.patch_px, config.grid() * config.grid());
    let mut table = Table {
        entries: Vec::new(),
        is_alone: config.query.is_none(),
    };
    table.tensor(UNUSED[0], &[1, 1, width]);
    table.tensor(UNUSED[1], &[1, patches + 1, width]);
    table.tensor(UNUSED[2], &[1, width]);
    table.layer("backbone.patch_embed.proj", &[width, 3, patch, patch]);
    for path in config.block_paths() {
        for (part, shape) in [
            ("norm1", &[width][..]),
            ("attn.qkv", &[3 * width, width]),
            ("attn.proj", &[width, width]),
            ("norm2", &[width]),
            ("mlp.fc1", &[4 * width, width]),
            ("mlp.fc2", &[width, 4 * width]),
        ] {
            table.layer(&format!("{path}.{part}"), shape);
        }
        table.tensor(&format!("{path}.ls1.gamma"), &[width]);
        table.tensor(&format!("{path}.ls2.gamma"), &[width]);
    }
    table.layer("backbone.norm", &[width]);
    if let Some(query) = &config.query {
        table.head(query.width, width);
    }
    table.entries
}

/// The layout as it grows.
struct Table {
    entries: Vec<TensorEntry>,
    /// Whether there is only the backbone, which then uses its class token and positions.
    is_alone: bool,
}

impl Table {
    fn tensor(&mut self, name: &str, shape: &[usize]) {
        let unused = if self.is_alone {
            &UNUSED[2..]
        } else {
            &UNUSED[..]
        };
        self.entries.push(TensorEntry {
            name: name.to_owned(),
            shape: shape.to_vec(),
            required: !unused.contains(&name),
        });
    }

    fn layer(&mut self, path: &str, shape: &[usize]) {
        self.tensor(&format!("{path}.weight"), shape);
        self.tensor(&format!("{path}.bias"), &shape[..1]);
    }

    /// The attention of a query of this width to tokens of `width`, and the perceptron after it.
    fn head(&mut self, query: usize, width: usize) {
        self.tensor("cross_attention.query", &[1, 1, query]);
        if query == width {
            self.tensor(&format!("{ATTENTION}.in_proj_weight"), &[3 * query, width]);
        } else {
            for (name, inputs) in QKV.into_iter().zip([query, width, width]) {
                self.tensor(&format!("{ATTENTION}.{name}"), &[query, inputs]);
            }
        }
        self.tensor(&format!("{ATTENTION}.in_proj_bias"), &[3 * query]);
        self.layer(&format!("{ATTENTION}.out_proj"), &[query, query]);
        self.layer("cross_attention.layernorm", &[query]);
        self.layer("mlp.encoder", &[4 * query, query]);
        self.layer("mlp.decoder", &[query, 4 * query]);
    }
}
