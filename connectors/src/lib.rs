//! Galaxy records in, photometric redshifts out.
//!
//! A *catalog* is a prefix in an object store; each child of it is a *drop*, a delivery of Parquet files. A drop is cut
//! into *splits*, which are read into [`galaxy::Galaxies`]. What becomes of them is staged, committed in the *ledger*,
//! and published. Nothing here knows a network or a dataflow.
//!
//! ```text
//! location ── listing ── listed_drop ── catalog ── split ── file ── fetch     input, from a store to rows
//!                                         └─ read ── galaxy
//! part ── output ── publication, commitment ── ledger ── committed            output, from rows to committed files
//! paths                                                                       where the files of an output lie
//! drop_writer                                                                 writes drops
//! ```
mod agreement;
mod answers;
mod arrival;
mod aws_profile;
pub mod budget;
pub mod catalog;
pub mod codec;
mod commitment;
pub mod committed;
pub mod committed_fault;
mod compacted;
mod contradiction;
mod drop_listing;
mod drop_plan;
pub mod drop_writer;
mod entry;
mod entry_object;
mod error;
pub mod etag;
mod fetch;
mod file;
mod footer;
mod footer_cache;
pub mod galaxy;
mod hats;
pub mod json_format;
pub mod ledger;
mod ledger_index;
mod listed;
pub mod listed_drop;
mod listing;
pub mod location;
mod names;
pub mod output;
mod pages;
pub mod part;
pub mod paths;
mod publication;
pub mod read;
pub mod scheme;
pub mod seal;
pub mod sky;
pub mod split;
mod store;
mod store_options;
pub mod text;
mod thrift;
mod views;
mod walk;

pub use catalog::{Catalog, DropBy, DropListing, DropPlan, Input};
pub use commitment::Unpublished;
pub use error::Error;
pub use ledger::Ledger;
pub use listed_drop::{ListedDrop, ListedDrops};
pub use location::Location;
pub use output::Output;
pub use read::Chunk;
pub use split::Split;
