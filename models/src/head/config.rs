//! `config.json` of a dense network on embeddings.
//!
//! ```json
//! {"architecture": "head", "name": "…", "inputs": ["embedding", "mags"], "embedding_width": 192,
//!  "mags": ["u", "g", "r", "i", "z"], "hidden": [512, 512], "head": {"kind": "point"},
//!  "preprocess": {"embedding": {"kind": "identity"}, "mag": {"kind": "identity"}}}
//! ```

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use crate::bands;
use crate::config::{Architecture, BrokenRule, HeadKind, WIDTH_MAX};
use crate::inputs::{InputName, Inputs};
use crate::layout::TensorEntry;
use crate::needs::Needs;
use crate::preprocess::HeadPreprocessing;
use crate::training_inputs::TrainingInputs;

/// Upper bound on the number of hidden layers.
const LAYERS_MAX: usize = 1024;
/// The hidden layers of a new head.
const HIDDEN: [usize; 2] = [512, 512];

/// The whole content of `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// Always [`Architecture::Head`].
    pub architecture: Architecture,
    /// A name for people.
    pub name: String,
    /// The inputs, in the order in which the first layer takes them.
    pub inputs: Vec<InputName>,
    /// The number of components of an embedding.
    pub embedding_width: usize,
    /// The bands of the magnitudes, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mags: Vec<String>,
    /// The widths of the hidden layers, which have a ReLU after them.
    pub hidden: Vec<usize>,
    /// The form of the redshift.
    #[serde(default)]
    pub head: HeadKind,
    /// The preprocessing of the inputs.
    #[serde(default)]
    pub preprocess: HeadPreprocessing,
    /// What the magnitudes of its training were like; `None` if nobody learned it. It changes no prediction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_inputs: Option<TrainingInputs>,
}

impl HeadConfig {
    /// The configuration of a new head on embeddings of this width, with the usual hidden layers and its inputs as they
    /// come. It predicts from `mags` too, unless there are none.
    ///
    /// # Errors
    /// The first rule that is broken.
    ///
    /// ```
    /// let head = hubbleflow_models::HeadConfig::new("my head", 192, &["g".to_owned(), "r".to_owned()])?;
    /// assert_eq!((head.inputs.len(), head.hidden), (2, vec![512, 512]));
    /// # Ok::<(), hubbleflow_models::config::BrokenRule>(())
    /// ```
    pub fn new(name: &str, embedding_width: usize, mags: &[String]) -> Result<Self, BrokenRule> {
        let mut inputs = vec![InputName::Embedding];
        inputs.extend((!mags.is_empty()).then_some(InputName::Mags));
        let config = Self {
            architecture: Architecture::Head,
            name: name.to_owned(),
            inputs,
            embedding_width,
            mags: mags.to_vec(),
            hidden: HIDDEN.to_vec(),
            head: HeadKind::Point,
            preprocess: HeadPreprocessing::default(),
            training_inputs: None,
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks that the fields fit each other, and names the first rule that is broken.
    pub(crate) fn validate(&self) -> Result<(), BrokenRule> {
        bands::check("mags", &self.mags)?;
        self.head.validate()?;
        let takes_mags = self.inputs.contains(&InputName::Mags);
        let is_accepted = matches!(
            self.inputs[..],
            [InputName::Embedding]
                | [InputName::Embedding, InputName::Mags]
                | [InputName::Mags, InputName::Embedding]
        );
        let is_width = |width: &usize| (1..=WIDTH_MAX).contains(width);
        let rules = [
            (
                is_accepted,
                "`inputs` must be [\"embedding\"], or hold embedding and mags, each once"
                    .to_owned(),
            ),
            (
                !takes_mags || !self.mags.is_empty(),
                "`inputs` has mags, so `mags` must name their bands".to_owned(),
            ),
            (
                is_width(&self.embedding_width),
                format!("`embedding_width` must be from 1 to {WIDTH_MAX}"),
            ),
            (
                self.hidden.iter().all(is_width) && self.hidden.len() <= LAYERS_MAX,
                format!("`hidden` must name at most {LAYERS_MAX} widths from 1 to {WIDTH_MAX}"),
            ),
        ];
        if let Some((_, broken)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(broken.into());
        }
        self.preprocess
            .validate(self.embedding_width, self.mags.len())?;
        let mags = if takes_mags { self.mags.len() } else { 0 };
        let training_inputs = self.training_inputs.as_ref();
        let valid = training_inputs.map(|inputs| inputs.validate(mags, None));
        Ok(valid.transpose().map(|_| ())?)
    }

    /// The inputs that the network takes.
    pub(crate) fn needs(&self) -> Needs {
        Needs {
            mags: self.mags.clone(),
            mags_required: self.inputs.contains(&InputName::Mags),
            embedding_width: Some(self.embedding_width),
            training_inputs: self.training_inputs.clone(),
            ..Needs::default()
        }
    }

    /// The input of the first layer: the inputs, scaled and side by side, `[batch, width]` float32.
    pub(crate) fn first_layer(&self, inputs: &Inputs) -> Result<Tensor, TchError> {
        let HeadPreprocessing { embedding, mag } = &self.preprocess;
        let embeddings = inputs.embeddings.as_ref().map(|x| embedding.apply(x));
        let scaled = Inputs {
            mags: inputs.mags.as_ref().map(|x| mag.apply(x)).transpose()?,
            embeddings: embeddings.transpose()?,
            ..Inputs::default()
        };
        Tensor::f_cat(&scaled.named(&self.inputs), 1)
    }

    /// Lists every tensor: `layers.N.weight`, `layers.N.bias`.
    pub(crate) fn layout(&self) -> Vec<TensorEntry> {
        let width = |input: &InputName| match input {
            InputName::Embedding => self.embedding_width,
            InputName::Mags => self.mags.len(),
            InputName::Cutouts => 0,
        };
        let mut inputs = self.inputs.iter().map(width).sum();
        let mut entries = Vec::new();
        for (n, &outputs) in self.hidden.iter().chain(&[self.head.width()]).enumerate() {
            for (part, shape) in [("weight", vec![outputs, inputs]), ("bias", vec![outputs])] {
                entries.push(TensorEntry {
                    name: format!("layers.{n}.{part}"),
                    shape,
                    required: true,
                });
            }
            inputs = outputs;
        }
        entries
    }
}
