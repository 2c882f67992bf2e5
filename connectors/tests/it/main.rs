//! Galaxies in and predictions out, over stores that fail.
#![allow(clippy::unwrap_used)]
mod codec;
mod compacted;
mod hostile;
mod kept;
mod ledger;
mod listing;
mod lying_store;
mod output;
mod part;
mod part_columns;
mod part_hash;
mod random_columns;
mod read;
