//! The names that no kept column may have: those of the output's columns, and those of the columns that pieces of parts
//! have only on their way.

/// Columns of the output that come from the catalog.
pub(super) const CARRIED: [&str; 4] = ["object_id", "ra", "dec", "z_spec"];
/// Columns of the output that this program adds.
pub(super) const OWN: [&str; 10] = [
    "_healpix_29",
    "z_phot",
    Z_LOW68,
    Z_HIGH68,
    Z_LOW95,
    Z_HIGH95,
    Z_QUANTILES,
    "z_flags",
    "model_id",
    "drop",
];
/// Columns that rows have only on their way to the output.
pub(super) const ON_THE_WAY: [&str; 5] = [OBJECT, ROW_GROUP, ROW, PLACE, REFERENCE_MAG];

/// The bounds of the intervals of 68% and 95%.
pub(crate) const Z_LOW68: &str = "z_low68";
pub(crate) const Z_HIGH68: &str = "z_high68";
pub(crate) const Z_LOW95: &str = "z_low95";
pub(crate) const Z_HIGH95: &str = "z_high95";
/// The quantiles of the redshift.
pub const Z_QUANTILES: &str = "z_quantiles";

/// The columns of pieces that say where a row was found.
pub(crate) const OBJECT: &str = "__object";
pub(crate) const ROW_GROUP: &str = "__row_group";
pub(crate) const ROW: &str = "__row";
/// A row's place among all rows of a part's pieces, where its kept columns are.
pub(crate) const PLACE: &str = "__place";
/// The magnitude in the reference band. In the output it is named by the band.
pub(crate) const REFERENCE_MAG: &str = "__mag";
/// The beginning of the names of columns of `embeddings/` that are not columns of `photoz/`.
pub(crate) const OF_EMBEDDINGS: &str = "__embeddings_";
