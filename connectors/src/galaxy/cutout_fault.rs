//! The reasons why the cutout of a row cannot be used.

/// The reason why the cutout of a row cannot be used. Displayed, it is the reject reason of the row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutoutFault {
    /// The cutout is null.
    #[error("cutout is null")]
    Null,
    /// A pixel or a list of pixels is null.
    #[error("cutout has a null pixel")]
    NullPixel,
    /// The cutout is not five square images of the same, sufficient size.
    #[error("cutout is {found}, not 5 bands of {side_px_min}x{side_px_min} pixels or more")]
    Shape {
        /// The shape in the row.
        found: String,
        /// The smallest side that is accepted.
        side_px_min: usize,
    },
    /// Bands are missing.
    #[error("cutout lacks bands {missing}; it has {found}")]
    Bands {
        /// The missing bands.
        missing: String,
        /// The names in the row.
        found: String,
    },
    /// A band comes twice, so it is not clear which one to use.
    #[error("cutout has band {band} more than once: {found}")]
    BandTwice {
        /// One of u, g, r, i, z.
        band: &'static str,
        /// The names in the row.
        found: String,
    },
}
