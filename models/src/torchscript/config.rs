//! `config.json` of a module of PyTorch.
//!
//! ```json
//! {"architecture": "torchscript", "name": "…", "bands": ["g", "r", "z"], "cutout_px": 64, "mags": ["g", "r", "z"],
//!  "inputs": ["cutouts", "mags"], "outputs": ["z_phot"]}
//! ```

use serde::{Deserialize, Serialize};

use crate::bands;
use crate::config::{Architecture, BrokenRule, are_levels};
use crate::inputs::InputName;
use crate::needs::{CutoutNeeds, Needs};

/// Upper bound on the side of a cutout, and on the width of an embedding.
const SIZE_MAX: usize = 1 << 16;

/// An output of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleOutput {
    /// `[batch]` or `[batch, 1]`.
    ZPhot,
    /// `[batch, level]`.
    ZQuantiles,
    /// `[batch, width]`, of any width.
    Embedding,
}

/// The whole content of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TorchScriptConfig {
    /// Always [`Architecture::TorchScript`].
    pub architecture: Architecture,
    /// A name for people.
    pub name: String,
    /// The bands of the cutouts, in the order of their planes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<String>,
    /// Side of the cutout that the module takes, in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutout_px: Option<usize>,
    /// The bands of the magnitudes, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mags: Vec<String>,
    /// The number of components of the embeddings that the module takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_width: Option<usize>,
    /// The inputs that the module takes, in the order of its arguments.
    pub inputs: Vec<InputName>,
    /// The outputs that the module returns, in the order of its tuple.
    pub outputs: Vec<ModuleOutput>,
    /// The levels of the quantiles, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Vec<f64>>,
}

impl TorchScriptConfig {
    /// Checks that the fields fit each other, and names the first rule that is broken.
    pub(crate) fn validate(&self) -> Result<(), BrokenRule> {
        bands::check("bands", &self.bands)?;
        bands::check("mags", &self.mags)?;
        let takes = |input| self.inputs.contains(&input);
        let size = |size: Option<usize>| size.is_some_and(|size| (1..=SIZE_MAX).contains(&size));
        let has_levels = self.outputs.contains(&ModuleOutput::ZQuantiles);
        let rules = [
            (
                !self.inputs.is_empty() && is_set(&self.inputs),
                "`inputs` must name cutouts, mags or embedding, each once".to_owned(),
            ),
            (
                !self.outputs.is_empty() && is_set(&self.outputs),
                "`outputs` must name z_phot, z_quantiles or embedding, each once".to_owned(),
            ),
            (
                !takes(InputName::Cutouts) || !self.bands.is_empty() && size(self.cutout_px),
                format!(
                    "`inputs` has cutouts, so `bands` must name theirs and `cutout_px` give their side, up to {SIZE_MAX}"
                ),
            ),
            (
                !takes(InputName::Mags) || !self.mags.is_empty(),
                "`inputs` has mags, so `mags` must name their bands".to_owned(),
            ),
            (
                takes(InputName::Embedding) == self.embedding_width.is_some()
                    && (self.embedding_width.is_none() || size(self.embedding_width)),
                format!(
                    "`embedding_width` must be given where `inputs` has embedding, and only there: from 1 to {SIZE_MAX}"
                ),
            ),
            (
                has_levels == self.levels.is_some(),
                "`levels` must be given where `outputs` has z_quantiles, and only there".to_owned(),
            ),
            (
                self.levels.as_deref().is_none_or(are_levels),
                "`levels` must ascend between 0 and 1".to_owned(),
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(broken.into()),
            None => Ok(()),
        }
    }

    /// The inputs that the module takes. Magnitudes that are named and not taken are known, and not required.
    pub(crate) fn needs(&self) -> Needs {
        let takes_cutouts = self.inputs.contains(&InputName::Cutouts);
        Needs {
            cutouts: takes_cutouts.then(|| CutoutNeeds {
                bands: self.bands.clone(),
                px: self.cutout_px.unwrap_or(0),
            }),
            mags: self.mags.clone(),
            mags_required: self.inputs.contains(&InputName::Mags),
            embedding_width: self.embedding_width,
            ..Needs::default()
        }
    }
}

/// Whether all are different.
fn is_set<T: PartialEq>(items: &[T]) -> bool {
    let mut places = items.iter().enumerate();
    places.all(|(place, item)| !items[..place].contains(item))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reason(change: &str) -> String {
        let mut config = serde_json::json!({
            "architecture": "torchscript", "name": "n", "bands": ["g", "r"], "cutout_px": 8, "mags": ["r"],
            "inputs": ["cutouts", "mags"], "outputs": ["z_phot", "z_quantiles"], "levels": [0.16, 0.5, 0.84]});
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        for (name, value) in change.as_object().unwrap() {
            config[name] = value.clone();
        }
        let config: TorchScriptConfig = serde_json::from_value(config).unwrap();
        let broken = config.validate().err();
        broken.map(|broken| broken.to_string()).unwrap_or_default()
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused_by_name() {
        assert_eq!(reason("{}"), "");
        for (change, field) in [
            (r#"{"inputs": []}"#, "`inputs`"),
            (r#"{"inputs": ["mags", "mags"]}"#, "`inputs`"),
            (r#"{"outputs": ["z_phot", "z_phot"]}"#, "`outputs`"),
            (r#"{"bands": []}"#, "`bands`"),
            (r#"{"bands": ["g", "g"]}"#, "`bands`"),
            (r#"{"cutout_px": null}"#, "`cutout_px`"),
            (r#"{"mags": []}"#, "`mags`"),
            (r#"{"inputs": ["embedding"]}"#, "`embedding_width`"),
            (r#"{"embedding_width": 5}"#, "`embedding_width`"),
            (r#"{"levels": null}"#, "`levels`"),
            (r#"{"levels": [0.5, 0.5]}"#, "`levels`"),
            (r#"{"levels": [0.5, 1.0]}"#, "`levels`"),
            (r#"{"outputs": ["z_phot"]}"#, "`levels`"),
        ] {
            assert!(
                reason(change).contains(field),
                "{change}: {}",
                reason(change)
            );
        }
    }
}
