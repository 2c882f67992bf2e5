//! The reasons why rows are rejected, with their texts in the column `reason` of `rejects/`.
//!
//! | found by | when | reasons |
//! |---|---|---|
//! | `validate` | before the model runs | all others |
//! | `infer` | when the model has answered | [`RejectReason::PredictionNotFinite`], [`RejectReason::ValueNotStored`], [`RejectReason::QuantilesNotAscending`] |
//! | [`finish`](super::finish) | when all rows of a part are together | [`RejectReason::Duplicate`] |
use super::Door;
use crate::galaxy::{CutoutFault, EBV_MAX, EmbeddingFault, FLUX_MAX_NMGY};

/// The reason why a row is rejected. Displayed, it is the text in `rejects/`.
/// ```
/// use hubbleflow_connectors::part::{Door, RejectReason};
///
/// let reason = RejectReason::MagNull { band: "r".to_owned() };
/// assert_eq!(Door::from(reason), Door::Rejected("mag_r is null".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// The row has no id.
    #[error("object_id is null")]
    IdNull,
    /// The row of a `specz` file has no spec-z.
    #[error("z_spec is null: the row teaches nothing")]
    ZSpecNull,
    /// The spec-z is outside the accepted range, or exactly 0.
    #[error("z_spec is {z_spec}, which is no redshift")]
    ZSpecNotRedshift {
        /// The value in the file.
        z_spec: f32,
    },
    /// A coordinate is missing.
    #[error("{column} is null")]
    PositionNull {
        /// `ra` or `dec`.
        column: &'static str,
    },
    /// The coordinates are not a position on the sky.
    #[error("ra {ra_deg}, dec {dec_deg} is no position on the sky, in degrees")]
    PositionOffSky {
        /// Right ascension, degrees.
        ra_deg: f64,
        /// Declination, degrees.
        dec_deg: f64,
    },
    /// The model needs magnitudes, and the file has none.
    #[error("the file has no magnitudes")]
    NoMags,
    /// The row's list of magnitudes, or one of its fluxes, cannot be used.
    #[error("{fault}")]
    MagsFaulty {
        /// The fault of the list or the flux.
        fault: String,
    },
    /// A magnitude is missing.
    #[error("mag_{band} is null")]
    MagNull {
        /// One of the model's bands.
        band: String,
    },
    /// A magnitude is not between the limits.
    #[error("mag_{band} is {mag}, not between {mag_min} and {mag_max}")]
    MagOutOfRange {
        /// One of the model's bands.
        band: String,
        /// The magnitude in the file (AB).
        mag: f32,
        /// Magnitudes lie above this limit.
        mag_min: f32,
        /// Magnitudes lie below this limit.
        mag_max: f32,
    },
    /// The model needs cutouts, and the file has none.
    #[error("the file has no cutouts")]
    NoCutouts,
    /// The cutout cannot be decoded.
    #[error("{0}")]
    CutoutFaulty(CutoutFault),
    /// The cutout is smaller than the model's input.
    #[error("cutout is {side_px}x{side_px} pixels, and the model looks at {model_px}x{model_px}")]
    CutoutSmall {
        /// Side of the cutout, pixels.
        side_px: usize,
        /// Side of the model's input, pixels.
        model_px: usize,
    },
    /// The model corrects cutouts for dust, and how much there is is not known.
    #[error("ebv is null, and the model corrects cutouts for dust")]
    EbvNull,
    /// E(B-V) is impossible.
    #[error("ebv is {ebv}, which is no E(B-V): from 0 to {max}", max = EBV_MAX)]
    EbvOutOfRange {
        /// The value in the file, magnitudes.
        ebv: f32,
    },
    /// A pixel is NaN or infinite.
    #[error("cutout has a pixel that is not finite")]
    PixelNotFinite,
    /// A pixel is brighter than any flux.
    #[error("cutout has a pixel of {flux_nmgy:e} nanomaggies, which is no flux: more than {max:e}", max = FLUX_MAX_NMGY)]
    PixelNotFlux {
        /// The largest absolute value in the cutout, nanomaggies.
        flux_nmgy: f32,
    },
    /// No band of the cutout has two different values.
    #[error("cutout is blank: each of its bands has one value in all pixels")]
    CutoutBlank,
    /// The model's answer for the row is NaN or infinite.
    #[error("the model predicts {z_phot}")]
    PredictionNotFinite {
        /// The model's answer.
        z_phot: f32,
    },
    /// The file has no embeddings, and the model needs them.
    #[error("the file has no embeddings")]
    NoEmbeddings,
    /// The row has no embedding that the model can take.
    #[error("{0}")]
    EmbeddingFaulty(EmbeddingFault),
    /// A value of another column that the model gives cannot be stored.
    #[error("the model gives a value of {value} in {column}, which cannot be stored")]
    ValueNotStored {
        /// The column.
        column: &'static str,
        /// The value.
        value: f32,
    },
    /// The model gives quantiles that do not ascend with their levels.
    #[error(
        "the model gives quantiles that do not ascend: {} at level {} and {} at level {}",
        quantiles[0], levels[0], quantiles[1], levels[1]
    )]
    QuantilesNotAscending {
        /// A quantile, and the next, which is smaller.
        quantiles: [f32; 2],
        /// Their levels.
        levels: [f64; 2],
    },
    /// An earlier row of the drop has the same id.
    #[error(
        "object_id comes twice in this drop: the first stays, in {object}, row group {row_group}, row {row}"
    )]
    Duplicate {
        /// The object with the first row of this id, below the catalog.
        object: String,
        /// The row group of the first row.
        row_group: u32,
        /// The place of the first row in its row group.
        row: u64,
    },
}

impl From<RejectReason> for Door {
    fn from(reason: RejectReason) -> Self {
        Self::Rejected(reason.to_string())
    }
}
