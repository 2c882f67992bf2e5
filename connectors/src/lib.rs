//! Reads galaxies from object stores, and commits photometric redshifts.
//!
//! A *catalog* is a prefix in an object store; each child of it is a *drop*, a delivery of Parquet files. A drop is cut
//! into *splits*, which are read into [`galaxy::Galaxies`]. The results are staged, committed in the *ledger*, and
//! published. This crate knows neither the network nor the dataflow.
//!
//! ```text
//! folder    what it holds                                             uses
//! galaxy    the columns of a galaxy, in every form they are read from
//! store     from a URL to a place in an object store
//! listing   the objects below a place, and the drops they make        store
//! file      a Parquet file: its footer, its pages and its rows        galaxy, store
//! catalog   the drops of a catalog, planned and cut into splits       listing, file, galaxy, store
//! ledger    the numbered entries that say which drops are committed   catalog, galaxy, store
//! part      predicted rows as Parquet files                           read.rs, ledger, galaxy
//! output    files staged, committed and published                     part, ledger, file, store
//! checkpoint  results of splits, stored until their drop is committed output, part, catalog
//! ```
//! `read.rs` reads a split of a catalog as chunks, and `drop_writer.rs` writes drops.
pub mod budget;
pub mod catalog;
pub mod checkpoint;
pub mod drop_writer;
mod error;
mod file;
pub mod galaxy;
pub mod json_format;
pub mod ledger;
mod listing;
pub mod output;
pub mod part;
pub mod paths;
pub mod read;
pub mod sky;
mod store;
pub mod text;

pub use catalog::{
    Catalog,
    drop_plan::{DropPlan, Input},
    split::{self, Split},
};
pub use error::Error;
pub use file::{
    cut::{self, Cut, RowGroupShape},
    read_footer,
};
pub use ledger::{Ledger, seal};
pub use listing::{
    drop_listing::{DropBy, DropListing},
    listed_drop::{self, ListedDrop, ListedDrops},
};
pub use output::{Output, commitment::Unpublished, committed, committed_fault, missing::Missing};
pub use part::codec;
pub use read::Chunk;
pub use store::{etag, location::Location, object_ref::ObjectRef, options::StoreOptions, scheme};
