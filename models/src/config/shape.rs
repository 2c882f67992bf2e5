//! Bands and sizes that differ from those of a preset.

use super::Config;

/// The shapes of a network's inputs, as a user asks for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The bands of the cutouts; `None` leaves those of the configuration.
    pub bands: Option<Vec<String>>,
    /// The bands of the magnitudes; `None` means those of the cutouts.
    pub mags: Option<Vec<String>>,
    /// The side of the cutouts in pixels; `None` leaves that of the configuration.
    pub cutout_px: Option<usize>,
}

impl Config {
    /// The configuration with inputs of this shape. [`Config::validate`] says whether the network can have it.
    ///
    /// ```
    /// use hubbleflow_models::{Config, config::Shape};
    /// let grz = Shape {
    ///     bands: Some(["g", "r", "z"].map(String::from).to_vec()),
    ///     cutout_px: Some(48),
    ///     ..Shape::default()
    /// };
    /// let config = Config::preset("astromae").unwrap().shaped(&grz);
    /// assert_eq!((config.bands.len(), config.mags().len(), config.cutout_px), (3, 3, 48));
    /// assert!(config.validate().is_ok());
    /// ```
    pub fn shaped(mut self, shape: &Shape) -> Self {
        if let Some(bands) = &shape.bands {
            self.bands.clone_from(bands);
        }
        if let Some(mags) = &shape.mags {
            self.mags = (*mags != self.bands).then(|| mags.clone());
        }
        self.cutout_px = shape.cutout_px.unwrap_or(self.cutout_px);
        self
    }
}
