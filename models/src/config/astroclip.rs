//! `config.json` of AstroCLIP's image encoder.
//!
//! ```json
//! {"architecture": "astroclip", "name": "…", "bands": ["g", "r", "z"], "cutout_px": 144,
//!  "encoder": {"width": 1024, "depth": 24, "heads": 16, "patch_px": 12, "chunks": 4},
//!  "query": {"width": 1024, "heads": 4}}
//! ```

use serde::{Deserialize, Serialize};

use super::Architecture;
use super::validation::{BrokenRule, CUTOUT_PX_MAX, DEPTH_MAX, WIDTH_MAX, divides};
use crate::bands;
use crate::needs::{CutoutNeeds, Needs};

/// The bands of the pictures that the network has learned from: name, plane, scale.
pub(crate) const PICTURE_BANDS: [(&str, usize, f32); 5] = [
    ("u", 2, 1.5),
    ("g", 2, 6.0),
    ("r", 1, 3.4),
    ("i", 0, 1.0),
    ("z", 0, 2.2),
];

/// The name of the preset of [`AstroClipConfig::public`].
pub const ASTROCLIP: &str = "astroclip";

/// Upper bound on the patches along a side of the cutout: attention takes memory by its fourth power.
const GRID_MAX: usize = 64;

/// The whole content of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AstroClipConfig {
    /// Always [`Architecture::AstroClip`].
    pub architecture: Architecture,
    /// A name for people.
    pub name: String,
    /// The bands of the cutouts, in the order of their planes.
    pub bands: Vec<String>,
    /// Side of the cutout that the network uses, in pixels. Larger cutouts are cropped around their centre.
    pub cutout_px: usize,
    /// The vision transformer.
    pub encoder: BackboneConfig,
    /// The attention of one learned query to all patches. Without it, the embedding is that of DINOv2: the class token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryConfig>,
}

/// The vision transformer, DINOv2's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// The channels of a token.
    pub width: usize,
    /// The number of blocks.
    pub depth: usize,
    /// The heads of the attention.
    pub heads: usize,
    /// The side of a patch in pixels.
    pub patch_px: usize,
    /// The number of chunks that the names of the blocks count: `blocks.CHUNK.BLOCK`.
    pub chunks: usize,
}

/// The attention of the query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryConfig {
    /// The width of the query and of the embedding.
    pub width: usize,
    /// The heads of the attention.
    pub heads: usize,
}

impl AstroClipConfig {
    /// The configuration of the public model.
    ///
    /// ```
    /// let config = hubbleflow_models::config::AstroClipConfig::public();
    /// assert_eq!((config.cutout_px, config.encoder.depth, config.embedding_width()), (144, 24, 1024));
    /// ```
    pub fn public() -> Self {
        Self {
            architecture: Architecture::AstroClip,
            name: ASTROCLIP.to_owned(),
            bands: ["g", "r", "z"].map(str::to_owned).to_vec(),
            cutout_px: 144,
            encoder: BackboneConfig {
                width: 1024,
                depth: 24,
                heads: 16,
                patch_px: 12,
                chunks: 4,
            },
            query: Some(QueryConfig {
                width: 1024,
                heads: 4,
            }),
        }
    }

    /// Checks that the sizes fit each other, and names the first rule that is broken.
    ///
    /// # Errors
    /// The rule.
    pub fn validate(&self) -> Result<(), BrokenRule> {
        bands::check("bands", &self.bands)?;
        let planes: Vec<_> = self.bands.iter().map(|band| plane(band)).collect();
        let is_known = planes.iter().all(Option::is_some);
        let twice = (1..planes.len()).any(|n| planes[..n].contains(&planes[n]));
        let BackboneConfig {
            width,
            depth,
            heads,
            patch_px,
            chunks,
        } = self.encoder;
        let px = self.cutout_px;
        let fits =
            |query: &QueryConfig| query.width <= WIDTH_MAX && divides(query.heads, query.width);
        let rules = [
            (
                is_known && !self.bands.is_empty(),
                "`bands` must be of u, g, r, i and z: the colours of a picture are known for these".to_owned(),
            ),
            (
                !twice,
                "`bands` has two bands that make the same colour of a picture (u and g, or i and z)".to_owned(),
            ),
            (
                px <= CUTOUT_PX_MAX && divides(patch_px, px),
                format!("`patch_px` {patch_px} does not divide `cutout_px` {px}, at most {CUTOUT_PX_MAX}"),
            ),
            (
                patch_px == 0 || px / patch_px <= GRID_MAX,
                format!("`cutout_px` {px} is more than {GRID_MAX} patches of {patch_px} pixels"),
            ),
            (
                width <= WIDTH_MAX && divides(heads, width),
                format!("`heads` {heads} does not divide `width` {width}, at most {WIDTH_MAX}"),
            ),
            (
                depth <= DEPTH_MAX && divides(chunks, depth),
                format!("`chunks` {chunks} does not divide `depth` {depth}, at most {DEPTH_MAX}"),
            ),
            (
                self.query.as_ref().is_none_or(fits),
                format!("`query`: `heads` does not divide `width`, at most {WIDTH_MAX}"),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(broken.into()),
            None => Ok(()),
        }
    }

    /// The inputs that the network takes.
    pub fn needs(&self) -> Needs {
        Needs {
            cutouts: Some(CutoutNeeds {
                bands: self.bands.clone(),
                px: self.cutout_px,
            }),
            ..Needs::default()
        }
    }

    /// The number of components of the embedding.
    pub fn embedding_width(&self) -> usize {
        let query = self.query.as_ref();
        query.map_or(self.encoder.width, |query| query.width)
    }

    /// The number of patches along a side of the cutout.
    pub(crate) fn grid(&self) -> usize {
        self.cutout_px / self.encoder.patch_px
    }

    /// The paths of the blocks, in the order in which tokens go through them.
    pub(crate) fn block_paths(&self) -> impl Iterator<Item = String> {
        let each = self.encoder.depth / self.encoder.chunks;
        (0..self.encoder.depth).map(move |n| format!("backbone.blocks.{}.{n}", n / each))
    }
}

/// The plane of a band in a picture.
fn plane(band: &str) -> Option<usize> {
    let known = PICTURE_BANDS.iter().find(|(name, ..)| *name == band);
    known.map(|(_, plane, _)| *plane)
}
