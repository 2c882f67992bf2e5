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
    /// The cutout does not have the expected number of square images of the same, sufficient size.
    #[error("cutout is {found}, not {expected}")]
    Shape {
        /// The shape in the row.
        found: String,
        /// The number of bands, and the smallest side that is accepted.
        expected: String,
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
        /// One of the model's bands.
        band: String,
        /// The names in the row.
        found: String,
    },
}
