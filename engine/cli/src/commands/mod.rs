//! The commands: each turns arguments into settings, calls the library, and prints what came of it.
mod cluster_key;
mod model;
mod output;
mod run;
mod train;

pub(crate) use cluster_key::cluster_key;
pub(crate) use model::model;
pub(crate) use output::{export, plan, report, sample, status, verify};
pub(crate) use run::run;
pub(crate) use train::train;
