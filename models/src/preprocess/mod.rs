//! The preprocessing of cutouts, magnitudes and embeddings. It is part of the model, in its `config.json`.
//!
//! | input | kind | formula |
//! |---|---|---|
//! | cutouts | any, with `dereddening` first | `flux 10^(0.4 A E(B-V))`, with an extinction A for each band |
//! | cutouts | `asinh` | `asinh(flux / softening) / scale`, with a softening and a scale for each band |
//! | magnitudes | `whiten` | `matrix (mag - mean)` |
//! | embeddings | `standardise` | `(embedding - mean) / scale`, with a mean and a scale for each component |
//! | any | `identity` | unchanged: nanomaggies, AB magnitudes, numbers of another model |
//!
//! `asinh` is linear near zero, where noise dominates, and logarithmic in the light of a galaxy (Lupton, Gunn & Szalay
//! 1999, [arXiv:astro-ph/9903081]). `whiten` makes colours as large as magnitudes for the network: the redshift of a galaxy
//! shows in differences of hundredths between numbers near 17.
//!
//! [arXiv:astro-ph/9903081]: https://arxiv.org/abs/astro-ph/9903081

mod cutout;
mod embedding;
mod mag;
mod transform;
mod whitening;

use serde::{Deserialize, Serialize};

pub use self::cutout::CutoutPreprocess;
pub(crate) use self::cutout::asinh;
pub use self::embedding::EmbeddingPreprocess;
pub use self::mag::MagPreprocess;
pub(crate) use self::transform::{one_each, rounded};
pub(crate) use self::whitening::{Whitening, whiten};

/// The preprocessing of each of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The preprocessing of the cutouts.
    pub cutout: CutoutPreprocess,
    /// The preprocessing of the magnitudes.
    pub mag: MagPreprocess,
}

impl Preprocessing {
    /// Checks that there is a parameter for each of `bands` and `mags`, that all give finite numbers, and names the first
    /// that does not.
    pub(crate) fn validate(&self, bands: usize, mags: usize) -> Result<(), String> {
        self.cutout.validate(bands)?;
        self.mag.validate(mags)
    }
}

/// The preprocessing of the inputs of a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadPreprocessing {
    /// The preprocessing of the embeddings.
    pub embedding: EmbeddingPreprocess,
    /// The preprocessing of the magnitudes.
    pub mag: MagPreprocess,
}

impl Default for HeadPreprocessing {
    fn default() -> Self {
        Self {
            embedding: EmbeddingPreprocess::Identity {},
            mag: MagPreprocess::Identity {},
        }
    }
}

impl HeadPreprocessing {
    /// Checks that there is a parameter for each component and each magnitude, and names the first that does not fit.
    pub(crate) fn validate(&self, width: usize, mags: usize) -> Result<(), String> {
        self.embedding.validate(width)?;
        self.mag.validate(mags)
    }
}
