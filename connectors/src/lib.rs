//! Galaxy records in, photometric redshifts out.
//!
//! A *catalog* is a prefix in an object store; each child of it is a *drop*, a delivery of Parquet files. A drop is cut
//! into *splits*, which are read into [`galaxy::Galaxies`]. What becomes of them is staged, committed in the *ledger*,
//! and published. Nothing here knows a network or a dataflow.
//!
//! ```text
//! location ── catalog ── split ── file ── fetch        what comes in
//!                 ├─ read ── galaxy
//!                 └─ sighting                          and whether it is whole
//! part ── output ── ledger ── committed                what goes out, and what is there
//! import ── drop_writer                                what people have, as a drop
//! ```
mod answers;
mod arrival;
mod aws_profile;
pub mod budget;
pub mod catalog;
pub mod codec;
pub mod committed;
mod compacted;
mod contradiction;
pub mod drop_writer;
mod error;
pub mod etag;
mod fetch;
mod file;
mod footer;
pub mod galaxy;
mod hats;
pub mod import;
pub mod ledger;
mod ledger_index;
mod listing;
pub mod location;
pub mod output;
mod pages;
pub mod part;
pub mod read;
pub mod scheme;
pub mod seal;
pub mod sighting;
pub mod sky;
pub mod split;
mod store;
pub mod text;
mod thrift;
mod views;

pub use catalog::{Catalog, DropBy, DropListing, DropPlan, Input};
pub use error::Error;
pub use ledger::Ledger;
pub use location::Location;
pub use output::Output;
pub use read::Chunk;
pub use sighting::{Sighting, Sightings};
pub use split::Split;
