//! Tests reading and committing on stores that fail.
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
