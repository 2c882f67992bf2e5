//! A catalog that is presented again and again: each pass has its drops under new names, and their rows under new ids.
//! Nothing is copied, so a small catalog makes a run of any length.
//!
//! ```text
//! drop-0001/part.parquet   of the catalog, is
//! pass-000000-drop-0001/part.parquet   with the ids 0, 1, 2, …
//! pass-000001-drop-0001/part.parquet   with the ids 100000, 100001, … and without spec-z
//! ```
//! An object of a pass is the file itself, and a tail: pages of the columns that differ, and a footer that names them.
//! Spec-z are those of the first pass alone, since metrics keep some memory for each object with a spec-z.
mod catalog;
mod footer;
mod names;
mod new_column;
mod original;
mod store;
mod tail;
mod tails;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use connectors::Location;

use self::store::ReplayStore;
pub use self::{catalog::ReplayedCatalog, original::Choice};

/// The place of a replay, from which a job reads.
pub fn replay(catalog: ReplayedCatalog) -> Location {
    let place = &catalog.place;
    let url = match place.folder {
        Some(_) => format!("replay+file://{}", place.url),
        None => format!("replay+{}", place.url),
    };
    Location {
        prefix: place.prefix.clone(),
        url,
        folder: None,
        pages: None,
        store: Arc::new(ReplayStore(Arc::new(catalog))),
    }
}
