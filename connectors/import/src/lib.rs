//! Imports files of PyTorch and numpy: image files become a drop of a catalog, a pickled network becomes tensors.
//!
//! ```text
//! zip ─┬─ pickle ── torch ─┐                           .pt
//!      └─ npy ─────────────┴─ named_arrays ─ finder ─ image_file ─ plan ─ import_images ─► a drop
//!                                             columns   positions          drop_writer
//! ```
//! Nothing in a file is executed. Rows keep the order of the files. Memory holds a few row groups, whatever the size of
//! the files.
//!
//! ```
//! use std::path::PathBuf;
//!
//! use connectors::Location;
//! use hubbleflow_import::{ImportSettings, import_images};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let catalog = tempfile::tempdir()?;
//! let drop = Location::open(&catalog.path().join("drop-0001").display().to_string(), &[])?;
//! let files = [PathBuf::from("tests/data/numpy-2.4-records.npz")];
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! let imported = runtime.block_on(import_images(&drop, &files, &ImportSettings::default(), |_, _| {}))?;
//! assert_eq!(imported.rows, 3);
//! # Ok(())
//! # }
//! ```

mod array;
mod columns;
mod drop_writer;
mod dtype;
mod error;
mod finder;
mod image_file;
mod import_images;
mod named_arrays;
mod npy;
mod pickle;
mod plan;
mod positions;
mod row_layout;
mod settings;
mod summary;
mod torch;
mod zip;

pub use error::ImportError;
pub use import_images::import_images;
pub use settings::{ImportSettings, Without};
pub use summary::Imported;
pub use torch::{Weights, weights};
