//! The arguments of the commands as people type them, and the settings that they become.
mod catalog;
mod cluster;
mod row;
mod run;
mod sample;
mod train;
mod values;

pub use catalog::{CatalogArgs, DropBy};
pub use row::BandArgs;
pub use run::{RunArgs, WatchArgs};
pub use sample::{SampleArgs, SampleCommand};
pub use train::{FinetuneArgs, HeadChoice, PretrainArgs};
pub(crate) use values::{LocalPath, local};
