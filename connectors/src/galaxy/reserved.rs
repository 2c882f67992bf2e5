//! The names of columns that pieces of parts have only on their way. No kept column may have these names.

/// The columns of pieces that say where a row was found.
pub(crate) const OBJECT: &str = "__object";
pub(crate) const ROW_GROUP: &str = "__row_group";
pub(crate) const ROW: &str = "__row";
/// A row's place among all rows of a part's pieces, where its kept columns are.
pub(crate) const PLACE: &str = "__place";
/// The magnitude in the reference band. In the output it is named by the band.
pub(crate) const REFERENCE_MAG: &str = "__mag";
