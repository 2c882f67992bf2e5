//! Configurations by name.

use super::{Architecture, Branch, Config, EncoderConfig, EncoderKind, HeadKind};
use crate::preprocess::{CutoutPreprocess, MagPreprocess, Preprocessing};

/// The names that [`Config::preset`] knows.
pub const PRESETS: [&str; 4] = [
    "astromae",
    "astromae-pcm3",
    "astromae-plain",
    "astromae-tiny",
];

/// The bands of the presets: those of the Sloan Digital Sky Survey.
pub(crate) const UGRIZ: [&str; 5] = ["u", "g", "r", "i", "z"];

impl Config {
    /// Returns a configuration by its name, one of [`PRESETS`].
    ///
    /// `astromae` is the public checkpoint's. `astromae-pcm3` has 3x3 convolutions beside the attention, `astromae-plain`
    /// has no convolutions there. `astromae-tiny` is two blocks deep, for tests and demonstrations.
    ///
    /// ```
    /// let config = hubbleflow_models::Config::preset("astromae").unwrap();
    /// assert_eq!((config.encoder.depth, config.encoder.pcm_kernel), (12, 1));
    /// assert!(hubbleflow_models::Config::preset("resnet").is_none());
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
            bands: UGRIZ.map(str::to_owned).to_vec(),
            cutout_px: 32,
            mags: None,
            encoder: EncoderConfig {
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
            head: HeadKind::Point,
            decoder: None,
            preprocess: Preprocessing {
                cutout: CutoutPreprocess::Identity {
                    dereddening: Vec::new(),
                },
                mag: MagPreprocess::Identity {},
            },
            training_inputs: None,
        })
    }
}
