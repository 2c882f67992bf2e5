//! Galaxies in and predictions out, over stores that fail.
#[path = "../common/mod.rs"]
mod common;
mod codec;
mod ledger;
mod output;
mod part;
mod read;
