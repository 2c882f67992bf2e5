//! The galaxy record: the columns a catalog's files have, in every form they are accepted in.
//!
//! | column | Arrow type in the file | unit | here |
//! |---|---|---|---|
//! | `object_id` | Int64, UInt64, Utf8 (LargeUtf8, Utf8View) | | Int64Array, UInt64Array or StringArray |
//! | `ra`, `dec` | Float64 (Float32) | degrees | Float64Array |
//! | `cutout` | see [`Cutouts`] | nanomaggies, `[band, y, x]`, bands ugriz | [`Cutouts`] |
//! | `mag_u` … `mag_z` | Float32 (Float64) | AB, extinction-corrected | five Float32Arrays |
//! | `mag`, in place of the five | list of five Float32 (Float64) | as above | as above |
//! | `z_spec` | Float32 (Float64) | | Float32Array |
//! | `deleted` | Boolean | | BooleanArray without nulls |
//!
//! A file's schema is judged once, by [`Layout::resolve`]; then [`Layout::decode`] turns each of
//! its batches into [`Galaxies`]. What a *row* lacks is not judged here: nulls and NaN pass
//! through, and a cutout that cannot be read says so when it is asked for.

mod band_names;
mod columns;
mod convert;
mod cutout;
mod cutout_fault;
mod error;
pub(crate) mod kept;
mod layout;
mod lists;
mod pixels;
mod places;
pub(crate) mod reserved;
mod tensor;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

pub use columns::{ColumnNameError, ColumnNames};
pub use cutout::{Cutouts, FLUX_MAX_NMGY};
pub use cutout_fault::CutoutFault;
pub use error::SchemaError;
pub use kept::KeptTypes;
pub use layout::{Layout, check_kept};
pub use pixels::Cutout;

/// The bands of a cutout and of the magnitudes, in the order the models take them.
pub const BANDS: [&str; 5] = ["u", "g", "r", "i", "z"];

/// What a job wants of the files it reads.
#[derive(Clone, Debug)]
pub struct Request {
    /// How the files call the columns (`--column`).
    pub names: ColumnNames,
    /// Columns carried to the output as they are (`--keep`), by their names in the files.
    pub keep: Vec<String>,
    /// Whether a branch of the model looks at cutouts; if not, they are not read.
    pub needs_cutouts: bool,
    /// Whether a branch of the model looks at magnitudes; if not, they are read where there are any.
    pub needs_mags: bool,
    /// Side of the cutouts that the model takes, in pixels: the smallest that will do.
    pub cutout_px: usize,
}

/// The type of a catalog's object ids: one a catalog, and the output's too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdKind {
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 64 bits.
    UInt64,
    /// UTF-8.
    String,
}

impl IdKind {
    /// The type of [`Galaxies::object_id`].
    pub fn arrow_type(self) -> DataType {
        match self {
            IdKind::Int64 => DataType::Int64,
            IdKind::UInt64 => DataType::UInt64,
            IdKind::String => DataType::Utf8,
        }
    }
}

impl fmt::Display for IdKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            IdKind::Int64 => "int64",
            IdKind::UInt64 => "uint64",
            IdKind::String => "string",
        })
    }
}

/// What a file's rows are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Galaxies to predict, or to withdraw.
    #[default]
    Galaxies,
    /// Spectroscopic redshifts alone: the rows teach the metrics and are not predicted.
    SpecZ,
}

/// The rows of one batch, column by column; each column has `rows` entries.
///
/// A column that the file lacks, or that its kind of file is not read for, is all null.
#[derive(Clone, Debug)]
pub struct Galaxies {
    /// Number of rows.
    pub rows: usize,
    /// Int64Array, UInt64Array or StringArray, by [`Layout::id_kind`]; may hold nulls.
    pub object_id: ArrayRef,
    /// Right ascension, degrees.
    pub ra: Float64Array,
    /// Declination, degrees.
    pub dec: Float64Array,
    /// AB magnitudes in the order of [`BANDS`]; `None` where the file has none.
    pub mags: Option<[Float32Array; 5]>,
    /// What is wrong with a row's list of magnitudes, by row; the row's magnitudes are then null.
    pub mag_faults: BTreeMap<usize, String>,
    /// The images; `None` where the file has none, or none are wanted.
    pub cutouts: Option<Cutouts>,
    /// Spectroscopic redshift.
    pub z_spec: Float32Array,
    /// Whether the row withdraws its object; never null.
    pub deleted: BooleanArray,
    /// The columns of [`Layout::keep_fields`], in that order.
    pub keep: Vec<ArrayRef>,
}

impl Galaxies {
    /// The bytes of the longest object id, where ids are text.
    pub(crate) fn longest_id(&self) -> usize {
        use arrow::array::AsArray;
        let ids = self.object_id.as_string_opt::<i32>();
        let lengths = ids.map(|ids| ids.offsets().lengths().max().unwrap_or(0));
        lengths.unwrap_or(0)
    }
}
