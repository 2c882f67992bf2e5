//! What goes out: rows by the door they leave through, gathered by part, and each part as Parquet.
//!
//! | file | columns |
//! |---|---|
//! | `photoz/<drop>/part-…` | `object_id` `ra` `dec` (deg) `_healpix_29` `z_phot` `z_spec` `mag_r` (AB) `z_flags` `model_id` `drop`, and what is kept |
//! | `specz/<drop>/part-…` | `object_id` `z_spec` `drop` |
//! | `rejects/<drop>/part-…` | `object_id` `reason` `object` `row_group` `row` |
//!
//! A part holds the rows whose `object_id` hashes to it, so it sees every row of an object: where an id comes twice, the
//! first in the order (object, row group, row) stays. Rows are sorted and files are named by their contents, so a file is
//! a function of the drop, the model and the settings, whoever writes it.
pub mod codec;
mod columns;
mod door;
mod duplicates;
mod encoded;
mod files;
mod finish;
mod flags;
mod hash;
mod kept;
mod photoz;
mod pieces;
mod reject_reason;

pub use door::{Door, Folder};
pub use encoded::{EncodedFile, PartLabel};
pub use finish::finish;
pub use flags::{BLANK_BAND, DELETED, FLAGS, Z_SPEC_IGNORED};
pub use hash::{id_hash, part_of};
pub use pieces::{Outcomes, Piece, pieces};
pub use reject_reason::RejectReason;
