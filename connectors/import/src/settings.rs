//! How image files are read.

use std::path::PathBuf;

/// A column that a drop may lack if the user says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// No positions: `ra` and `dec` of every row are 0.
    Positions,
    /// No magnitudes, for models that use cutouts alone.
    Mags,
}

/// How image files are read.
#[derive(Debug, Clone)]
pub struct ImportSettings {
    /// Columns of the drop and the fields to read them from. An empty field name leaves the column out.
    pub columns: Vec<(String, String)>,
    /// The bands of cutouts and magnitudes, in the order in which the files hold them.
    pub bands: Vec<String>,
    /// The id of the first row, if rows are to be numbered.
    pub first_id: Option<i64>,
    /// A CSV file with a position for each row: `ra` and `dec` in degrees, and `object_id` if there is one.
    pub positions: Option<PathBuf>,
    /// The columns that the drop may lack.
    pub without: Vec<Without>,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            bands: ["u", "g", "r", "i", "z"].map(str::to_owned).to_vec(),
            first_id: None,
            positions: None,
            without: Vec::new(),
        }
    }
}
