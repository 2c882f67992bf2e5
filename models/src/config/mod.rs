//! `config.json` of a model directory: the network that the weights beside it belong to.
//!
//! ```json
//! {"architecture": "astromae", "name": "…", "bands": ["u","g","r","i","z"], "cutout_px": 32,
//!  "encoder": {"kind": "pcm", "width": 192, "depth": 12, "heads": 3, "mlp_ratio": 4,
//!              "patch_px": 8, "pcm_kernel": 1, "pcm_group": 48},
//!  "branches": ["encoder", "inception", "magnitude"],
//!  "preprocess": {"cutout": {"kind": "identity"}, "mag": {"kind": "identity"}}}
//! ```
//!
//! An unknown field, architecture or kind is refused by name, because weights in the wrong network would still give
//! numbers.
//!
//! `head` says in which form the redshift comes: [`HeadKind`].
//!
//! `mags` names the bands of the magnitudes where they differ from those of the cutouts.
//!
//! `training_inputs` says what the inputs of the training were like: [`TrainingInputs`].

mod astroclip;
mod encoder;
mod head;
mod presets;
mod shape;
#[cfg(test)]
mod tests;
mod validation;

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use self::astroclip::PICTURE_BANDS;
pub use self::astroclip::{ASTROCLIP, AstroClipConfig, BackboneConfig, QueryConfig};
pub use self::encoder::{DecoderConfig, EncoderConfig, EncoderKind};
pub use self::head::{HeadKind, LEVELS, are_levels};
pub use self::presets::PRESETS;
pub(crate) use self::presets::UGRIZ;
pub use self::shape::Shape;
pub use self::validation::BrokenRule;
pub(crate) use self::validation::WIDTH_MAX;
use crate::error::Error;
use crate::needs::{CutoutNeeds, Needs};
use crate::precision::Precision;
use crate::preprocess::Preprocessing;
use crate::training_inputs::TrainingInputs;

/// The weights' file of most architectures.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The weights' file of [`Architecture::TorchScript`].
pub const MODULE_FILE: &str = "model.pt";

/// The networks that [`load`](crate::load()) knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// [`AstroMae`](crate::AstroMae).
    AstroMae,
    /// A masked autoencoder: an encoder, from which fine-tuning starts, and the decoder it was pretrained with.
    Mae,
    /// [`TorchScript`](crate::TorchScript): any network that PyTorch has traced or scripted.
    TorchScript,
    /// [`AstroClip`](crate::AstroClip).
    AstroClip,
    /// [`Head`](crate::Head): a dense network on embeddings and magnitudes.
    Head,
}

impl Architecture {
    /// The name of the weights' file in a model directory.
    pub fn weights_file(self) -> &'static str {
        match self {
            Architecture::TorchScript => MODULE_FILE,
            _ => WEIGHTS_FILE,
        }
    }

    /// Whether the network can compute in this precision.
    pub fn computes_in(self, precision: Precision) -> bool {
        match self {
            Architecture::TorchScript | Architecture::Head => precision == Precision::Fp32,
            _ => true,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::AstroMae => "astromae",
            Architecture::Mae => "mae",
            Architecture::TorchScript => "torchscript",
            Architecture::AstroClip => "astroclip",
            Architecture::Head => "head",
        })
    }
}

/// A branch of the network. The head takes the features of the branches in this order.
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

/// The whole content of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The network.
    pub architecture: Architecture,
    /// A name for people, which says where the weights come from.
    pub name: String,
    /// The bands of the cutouts, in the order of their planes.
    pub bands: Vec<String>,
    /// Side of the cutout that the network uses, in pixels. Larger cutouts are cropped around their centre.
    pub cutout_px: usize,
    /// The bands of the magnitudes, in their order; `None` means those of the cutouts. See [`Config::mags`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mags: Option<Vec<String>>,
    /// The vision transformer.
    pub encoder: EncoderConfig,
    /// The branches that feed the head, each at most once. Empty for [`Architecture::Mae`], which has no head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Branch>,
    /// The form of the redshift.
    #[serde(default, skip_serializing_if = "HeadKind::is_point")]
    pub head: HeadKind,
    /// The decoder of an [`Architecture::Mae`]; `None` for any other architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderConfig>,
    /// The preprocessing of the inputs.
    pub preprocess: Preprocessing,
    /// What the inputs of its training were like; `None` if nobody learned it. It changes no prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_inputs: Option<TrainingInputs>,
}

/// The part of `config.json` that every architecture has.
#[derive(Deserialize)]
pub(crate) struct Header {
    /// Decides which reader takes the rest.
    pub(crate) architecture: Architecture,
}

impl Config {
    /// Reads the configuration from `bytes`, the content of `path`.
    ///
    /// # Errors
    /// [`Error::Config`] if it is not JSON, names something unknown, or contradicts itself.
    ///
    /// ```
    /// use hubbleflow_models::Config;
    /// let config = Config::preset("astromae").unwrap();
    /// let json = serde_json::to_vec(&config).unwrap();
    /// assert_eq!(Config::parse("config.json".as_ref(), &json)?, config);
    /// assert!(Config::parse("config.json".as_ref(), b"{}").is_err());
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config {
            path: path.to_owned(),
            reason,
        };
        let config: Self = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
        config
            .validate()
            .map_err(|broken| refuse(broken.to_string()))?;
        Ok(config)
    }

    /// Whether `branch` feeds the head.
    ///
    /// ```
    /// use hubbleflow_models::{Branch, Config};
    /// assert!(Config::preset("astromae").unwrap().has(Branch::Magnitude));
    /// ```
    pub fn has(&self, branch: Branch) -> bool {
        self.branches.contains(&branch)
    }

    /// The bands of the magnitudes, in their order.
    ///
    /// ```
    /// let mut config = hubbleflow_models::Config::preset("astromae").unwrap();
    /// assert_eq!(config.mags(), config.bands);
    /// config.mags = Some(vec!["r".to_owned()]);
    /// assert_eq!(config.mags(), ["r"]);
    /// ```
    pub fn mags(&self) -> &[String] {
        self.mags.as_ref().unwrap_or(&self.bands)
    }

    /// The inputs that a network of this configuration takes.
    ///
    /// ```
    /// let needs = hubbleflow_models::Config::preset("astromae").unwrap().needs();
    /// assert_eq!((needs.cutouts.unwrap().px, needs.mags.len()), (32, 5));
    /// ```
    pub fn needs(&self) -> Needs {
        let is_mae = self.architecture == Architecture::Mae;
        let uses_cutouts = is_mae || self.has(Branch::Encoder) || self.has(Branch::Inception);
        Needs {
            cutouts: uses_cutouts.then(|| CutoutNeeds {
                bands: self.bands.clone(),
                px: self.cutout_px,
            }),
            mags: if is_mae {
                Vec::new()
            } else {
                self.mags().to_vec()
            },
            mags_required: self.has(Branch::Magnitude),
            dereddening: match uses_cutouts {
                true => self.preprocess.cutout.dereddening().to_vec(),
                false => Vec::new(),
            },
            training_inputs: self.training_inputs.clone(),
            ..Needs::default()
        }
    }

    /// The branches in the order in which the head takes them, each once.
    pub(crate) fn ordered_branches(&self) -> Vec<Branch> {
        let mut branches = self.branches.clone();
        branches.sort_unstable();
        branches.dedup();
        branches
    }

    /// The configuration of the masked autoencoder that pretrains this configuration's encoder.
    ///
    /// ```
    /// use hubbleflow_models::{Architecture, Config};
    /// let mae = Config::preset("astromae").unwrap().pretraining();
    /// assert_eq!((mae.architecture, mae.decoder.unwrap().depth), (Architecture::Mae, 4));
    /// ```
    pub fn pretraining(&self) -> Self {
        Self {
            architecture: Architecture::Mae,
            name: format!("{}, pretrained encoder", self.name),
            mags: None,
            branches: Vec::new(),
            head: HeadKind::Point,
            decoder: Some(DecoderConfig {
                width: 192,
                depth: 4,
                heads: 3,
            }),
            training_inputs: None,
            ..self.clone()
        }
    }

    /// The number of patches along a side of the cutout.
    pub(crate) fn grid(&self) -> usize {
        self.cutout_px / self.encoder.patch_px
    }
}
