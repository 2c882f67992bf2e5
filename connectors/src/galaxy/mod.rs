//! The columns of a galaxy in the files of a catalog, in all accepted forms.
//!
//! | column | Arrow type in the file | unit | here |
//! |---|---|---|---|
//! | `object_id` | Int64, UInt64, Utf8 (LargeUtf8, Utf8View) | | Int64Array, UInt64Array or StringArray |
//! | `ra`, `dec` | Float64 (Float32) | degrees | Float64Array |
//! | `cutout` | see [`Cutouts`] | nanomaggies, `[band, y, x]` | [`Cutouts`] |
//! | `mag_<band>` for each of the model's magnitudes | Float32 (Float64) | AB, extinction-corrected | a Float32Array each |
//! | `mag`, instead of these | list of Float32 (Float64), in the model's order | as above | as above |
//! | `flux_<band>` and `mw_transmission_<band>`, instead of these | Float32 (Float64) | by `--flux-zero-point`; a fraction | as above |
//! | `z_spec` | Float32 (Float64) | | Float32Array |
//! | `deleted` | Boolean | | BooleanArray without nulls |
//!
//! [`Layout::resolve`] checks the schema of a file once. Then [`Layout::decode`] turns each batch into [`Galaxies`]. *Rows*
//! are not checked here: nulls and NaN are kept, and a cutout that cannot be read gives an error when it is asked for.

mod band_names;
mod bands;
mod columns;
mod convert;
mod cutout;
mod cutout_fault;
mod embedding_columns;
mod embeddings;
mod error;
mod fluxes;
pub(crate) mod kept;
mod layout;
mod lists;
mod mags;
mod pixels;
mod places;
mod request;
pub(crate) mod reserved;
mod tensor;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

pub use bands::{BandError, check_bands};
pub use columns::{ColumnNameError, ColumnNames, mag as mag_column};
pub use cutout::{Cutouts, FLUX_MAX_NMGY};
pub use cutout_fault::CutoutFault;
pub use embedding_columns::EmbeddingColumns;
pub use embeddings::{EmbeddingFault, Embeddings};
pub use error::SchemaError;
pub(crate) use error::quoted;
pub use kept::KeptTypes;
pub use layout::{Doubt, Layout, check_kept};
pub use pixels::Cutout;
pub use request::{CutoutRequest, MagRequest, Request};

/// The type of object ids. A catalog and its output have one type.
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

/// The kind of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// Galaxies to predict, or to withdraw.
    #[default]
    Galaxies,
    /// Only spectroscopic redshifts. The rows are used for the metrics and are not predicted.
    SpecZ,
}

/// The largest E(B-V) that is accepted, in magnitudes: the sky beyond is no place for galaxies.
pub const EBV_MAX: f32 = 10.0;

/// The rows of one batch, column by column. Each column has `rows` entries.
///
/// A column that is missing in the file, or is not read from this kind of file, is all null.
#[derive(Clone, Debug)]
pub struct Galaxies {
    /// Number of rows.
    pub rows: usize,
    /// Int64Array, UInt64Array or StringArray, by [`Layout::id_kind`]. May hold nulls.
    pub object_id: ArrayRef,
    /// Right ascension, degrees.
    pub ra: Float64Array,
    /// Declination, degrees.
    pub dec: Float64Array,
    /// AB magnitudes in the order of [`MagRequest::bands`], or `None` if the file has no magnitudes.
    pub mags: Option<Vec<Float32Array>>,
    /// Faults of lists of magnitudes and of fluxes, by row. The magnitudes that are not known are null.
    pub mag_faults: BTreeMap<usize, String>,
    /// The one of the magnitudes that goes to the output, if the model has one and the file has magnitudes.
    pub reference_mag: Option<Float32Array>,
    /// The cutouts, or `None` if the file has no cutouts or they are not read.
    pub cutouts: Option<Cutouts>,
    /// The embeddings, or `None` if the file has none or they are not read.
    pub embeddings: Option<Embeddings>,
    /// E(B-V) of Schlegel, Finkbeiner & Davis 1998, magnitudes.
    pub ebv: Float32Array,
    /// Spectroscopic redshift.
    pub z_spec: Float32Array,
    /// Whether the row withdraws its object. Never null.
    pub deleted: BooleanArray,
    /// The columns of [`Layout::keep_fields`], in that order.
    pub keep: Vec<ArrayRef>,
}

impl Galaxies {
    /// The size of the longest object id, or 0 if ids are not text.
    pub(crate) fn longest_id(&self) -> usize {
        use arrow::array::AsArray;
        let ids = self.object_id.as_string_opt::<i32>();
        let lengths = ids.map(|ids| ids.offsets().lengths().max().unwrap_or(0));
        lengths.unwrap_or(0)
    }
}
