//! The inputs that a model takes.

use crate::training_inputs::TrainingInputs;

/// The inputs that a model takes. The bands of the inputs are in the order of the names here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Needs {
    /// The cutouts that it uses; `None` if it uses no cutouts.
    pub cutouts: Option<CutoutNeeds>,
    /// The bands of the magnitudes that it knows. May be empty.
    pub mags: Vec<String>,
    /// Whether it predicts from the magnitudes. If not, they are read where the file has them, and not handed to it.
    pub mags_required: bool,
    /// The number of components of the embeddings that it predicts from; `None` if it uses no embeddings.
    pub embedding_width: Option<usize>,
    /// The extinction of each band of the cutouts, in magnitudes for an E(B-V) of 1, for which the model corrects its
    /// cutouts. Then it needs the E(B-V) of each galaxy. Empty if the model takes cutouts as they are.
    pub dereddening: Vec<f64>,
    /// What the inputs of the model's training were like, if its configuration says so. Rows unlike them get a flag.
    pub training_inputs: Option<TrainingInputs>,
}

/// The cutouts that a model uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutoutNeeds {
    /// The bands, in the order of the planes.
    pub bands: Vec<String>,
    /// The side in pixels. Larger cutouts are cropped around their centre.
    pub px: usize,
}

impl Needs {
    /// The inputs of a model that predicts from magnitudes alone.
    ///
    /// ```
    /// use hubbleflow_models::Needs;
    /// let needs = Needs::of_mags(["g", "r", "z"]);
    /// assert!(needs.cutouts.is_none() && needs.mags_required);
    /// ```
    pub fn of_mags<B: Into<String>>(bands: impl IntoIterator<Item = B>) -> Self {
        Self {
            mags: bands.into_iter().map(Into::into).collect(),
            mags_required: true,
            ..Self::default()
        }
    }

    /// The band whose magnitude stands for the brightness of a galaxy: `r` if the model knows it, else its first.
    ///
    /// ```
    /// use hubbleflow_models::Needs;
    /// assert_eq!(Needs::of_mags(["g", "r", "z"]).reference_band(), Some("r"));
    /// assert_eq!(Needs::of_mags(["Y", "J", "H"]).reference_band(), Some("Y"));
    /// assert_eq!(Needs::default().reference_band(), None);
    /// ```
    pub fn reference_band(&self) -> Option<&str> {
        self.mags.get(self.reference_place()).map(String::as_str)
    }

    /// The place of the reference band among the magnitudes.
    pub(crate) fn reference_place(&self) -> usize {
        let r = self.mags.iter().position(|band| band == "r");
        r.unwrap_or(0)
    }

    /// The factor of each band of a cutout that makes up for this E(B-V). Empty if the model takes cutouts as they are.
    ///
    /// ```
    /// let needs = hubbleflow_models::Needs { dereddening: vec![5.0, 0.0], ..Default::default() };
    /// assert_eq!(needs.dereddening_factors(0.5).collect::<Vec<_>>(), [10.0, 1.0]);
    /// ```
    pub fn dereddening_factors(&self, ebv: f32) -> impl Iterator<Item = f32> {
        let bands = self.dereddening.iter();
        bands.map(move |of_band| 10_f64.powf(0.4 * of_band * f64::from(ebv)) as f32)
    }
}
