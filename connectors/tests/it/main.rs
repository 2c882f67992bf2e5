//! Galaxies in and predictions out, over stores that fail.
#![allow(clippy::unwrap_used)]
mod codec;
#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod import;
mod kept;
mod ledger;
mod listing;
mod output;
mod part;
mod read;
