//! The columns that a job reads from files.

use std::sync::Arc;

use super::bands::{BandError, check_bands};
use super::columns::ColumnNames;

/// The columns that a job reads from files.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The names of columns in the files (`--column`).
    pub names: ColumnNames,
    /// Columns that are copied to the output (`--keep`), by their names in the files.
    pub keep: Vec<String>,
    /// The cutouts that the model uses, or `None` if it uses none. Then they are not read.
    pub cutouts: Option<CutoutRequest>,
    /// The magnitudes that the model knows.
    pub mags: MagRequest,
    /// The number of values of the embeddings that the model uses, or `None` if it uses none. Then they are not read.
    pub embedding_width: Option<usize>,
    /// Whether the model needs E(B-V). If not, it is not read.
    pub ebv: bool,
}

/// The cutouts that a model uses, and how they lie in the catalog's cutouts.
#[derive(Clone, Debug)]
pub struct CutoutRequest {
    /// The side of the model's input in pixels. Cutouts must be at least this large.
    pub px: usize,
    bands: Arc<[String]>,
    catalog_bands: Arc<[String]>,
    /// The place of each of the model's bands among the catalog's bands.
    planes: Arc<[usize]>,
}

impl CutoutRequest {
    /// The cutouts of a model, from a catalog whose cutouts hold the same bands in the same order.
    ///
    /// # Errors
    /// [`BandError`] if a name is impossible or comes twice, or if there is none.
    pub fn new(bands: &[String], px: usize) -> Result<Self, BandError> {
        Self::in_catalog(bands, px, bands)
    }

    /// The cutouts of a model, from a catalog whose cutouts hold `catalog_bands` (`--bands`).
    ///
    /// # Errors
    /// [`BandError`] if a name is impossible or comes twice, if there is none, or if the catalog lacks a band.
    /// ```
    /// use hubbleflow_connectors::galaxy::CutoutRequest;
    /// let bands = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
    /// assert!(CutoutRequest::in_catalog(&bands("z,r,g"), 64, &bands("u,g,r,i,z")).is_ok());
    /// let error = CutoutRequest::in_catalog(&bands("g,r,y"), 64, &bands("g,r,z")).unwrap_err();
    /// assert_eq!(error.to_string(), "the model needs band y, and the catalog's cutouts have g, r, z");
    /// ```
    pub fn in_catalog(
        bands: &[String],
        px: usize,
        catalog_bands: &[String],
    ) -> Result<Self, BandError> {
        if bands.is_empty() || catalog_bands.is_empty() {
            return Err(BandError::Empty);
        }
        check_bands(bands)?;
        check_bands(catalog_bands)?;
        let place = |band: &String| catalog_bands.iter().position(|there| there == band);
        let is_missing = |band: &&String| place(band).is_none();
        let missing: Vec<String> = bands.iter().filter(is_missing).cloned().collect();
        if !missing.is_empty() {
            let found = catalog_bands.to_vec();
            return Err(BandError::Missing { missing, found });
        }
        Ok(Self {
            px,
            bands: bands.into(),
            catalog_bands: catalog_bands.into(),
            planes: bands.iter().filter_map(place).collect(),
        })
    }

    /// The bands that the model uses, in its order.
    pub fn bands(&self) -> &[String] {
        &self.bands
    }

    /// The bands of the catalog's cutouts, in their order.
    pub fn catalog_bands(&self) -> &[String] {
        &self.catalog_bands
    }

    /// The place of each of the model's bands among the catalog's bands.
    pub(super) fn planes(&self) -> &[usize] {
        &self.planes
    }

    /// The smallest cutout of the catalog that the model can use, as "5 bands of 32x32 pixels or more".
    pub(super) fn size(&self) -> String {
        let (bands, px) = (bands_of(self.catalog_bands.len()), self.px);
        format!("{bands} of {px}x{px} pixels or more")
    }
}

/// "1 band", or "5 bands".
pub(super) fn bands_of(count: usize) -> String {
    match count {
        1 => "1 band".to_owned(),
        count => format!("{count} bands"),
    }
}

/// The magnitudes that a model knows.
#[derive(Clone, Debug, Default)]
pub struct MagRequest {
    /// Their bands, in the model's order. May be empty; then no magnitudes are read.
    pub bands: Vec<String>,
    /// Whether the model predicts from them. If not, they are read if the file has them.
    pub required: bool,
    /// The one of the bands whose magnitude goes to the output.
    pub reference_band: Option<String>,
    /// The magnitude of a flux of 1 (`--flux-zero-point`). With it, magnitudes that a file lacks are made of its fluxes.
    pub flux_zero_point: Option<f64>,
}

impl MagRequest {
    /// The magnitudes of a model that predicts from them.
    pub fn required<B: Into<String>>(
        bands: impl IntoIterator<Item = B>,
        reference_band: &str,
    ) -> Self {
        Self {
            bands: bands.into_iter().map(Into::into).collect(),
            required: true,
            reference_band: Some(reference_band.to_owned()),
            flux_zero_point: None,
        }
    }

    /// The place of the reference band among the bands.
    pub(super) fn reference(&self) -> Option<usize> {
        let reference = self.reference_band.as_ref()?;
        self.bands.iter().position(|band| band == reference)
    }
}
