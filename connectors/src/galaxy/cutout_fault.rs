//! Why a row has no cutout that could be predicted from.

/// Why a row has no cutout that could be predicted from; displayed, it is the row's reject reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutoutFault {
    /// The cutout is null.
    #[error("cutout is null")]
    Null,
    /// A pixel, or a whole list of them, is null.
    #[error("cutout has a null pixel")]
    NullPixel,
    /// Not five square images of one size that suffices.
    #[error("cutout is {found}, not 5 bands of {side_px_min}x{side_px_min} pixels or more")]
    Shape {
        /// What the row has.
        found: String,
        /// The least that would do.
        side_px_min: usize,
    },
    /// Bands are missing.
    #[error("cutout lacks bands {missing}; it has {found}")]
    Bands {
        /// Of u, g, r, i, z.
        missing: String,
        /// The names the row has.
        found: String,
    },
    /// A band comes twice, so the right one is unknown.
    #[error("cutout has band {band} more than once: {found}")]
    BandTwice {
        /// Of u, g, r, i, z.
        band: &'static str,
        /// The names the row has.
        found: String,
    },
}
