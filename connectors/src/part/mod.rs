//! Gathers the result rows of a drop by part, and encodes each part as Parquet files.
//!
//! | file | columns |
//! |---|---|
//! | `photoz/<drop>/part-…` | `object_id` `ra` `dec` (deg) `_healpix_29` `z_phot` `z_low68` `z_high68` `z_low95` `z_high95`, `z_quantiles` if the model gives them, `z_spec` `mag_<reference band>` (AB) `z_flags` `model_id` `drop`, and the kept columns |
//! | `embeddings/<drop>/part-…` | `object_id` `ra` `dec` (deg) `_healpix_29` `embedding` `mag_<band>`… (AB) `z_spec` `deleted` `model_id` `drop` |
//! | `specz/<drop>/part-…` | `object_id` `z_spec` `drop` |
//! | `rejects/<drop>/part-…` | `object_id` `reason` `object` `row_group` `row` |
//!
//! A part holds the rows whose `object_id` hashes to it, so all rows of an object are in one part. If an id comes twice, the
//! first row in the order (object, row group, row) stays. Rows are sorted and files are named by their contents. So a file
//! depends only on the drop, the model and the settings.
pub mod codec;
mod columns;
mod door;
mod duplicates;
mod embeddings;
mod encoded;
mod files;
mod finish;
mod flags;
mod hash;
mod interval;
mod long_columns;
mod model_column;
mod photoz;
mod pieces;
mod predicted;
mod reject_reason;

pub use door::{Door, Folder};
pub use encoded::{EncodedFile, PartLabel};
pub use finish::{FinishedPart, finish};
pub use flags::{
    BELOW_ZERO, BLANK_BAND, DELETED, FLAGS, FLUX_MISMATCH, OUTSIDE_TRAINING, Z_SPEC_IGNORED,
    count_flags,
};
pub use hash::{id_hash, part_of};
pub use interval::{INTERVAL_BOUNDS, quantile_at};
pub use model_column::{ModelColumn, QUANTILE_LEVELS};
pub use pieces::{Outcomes, Piece, pieces};
pub use reject_reason::RejectReason;

pub use crate::galaxy::reserved::Z_QUANTILES;
