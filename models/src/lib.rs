//! The networks: from cutouts and magnitudes to photometric redshifts.
//!
//! | tensor | shape | numbers |
//! |---|---|---|
//! | cutouts | `[batch, band, y, x]` | float32, the bands of [`Needs`], nanomaggies |
//! | mags | `[batch, band]` | float32, the bands of [`Needs`], AB, extinction-corrected |
//! | z_phot | `[batch]` | float32 |
//! | z_quantiles | `[batch, level]` | float32, ascending in each row |
//!
//! A model is a directory of two files, `config.json` ([`Config`]) and `model.safetensors` ([`layout`]). [`load`](load())
//! turns it into a [`Model`]. Your own type can implement [`Model`] as well.
//!
//! **Architecture invariant.** This crate knows tensors and files. It does not know Arrow, the environment or the clock.

mod astroclip;
pub mod astromae;
mod bands;
mod check;
pub mod checkpoint;
pub mod config;
mod cpp;
mod cuda;
pub mod device;
mod directory;
mod encoder;
mod error;
mod fast;
mod head;
pub mod import;
mod inception;
pub mod init;
mod inputs;
mod inspect;
mod instruction_set;
mod lane;
mod layers;
pub mod layout;
mod load;
mod model;
mod needs;
mod network;
mod output;
mod precision;
pub mod preprocess;
mod quantiles;
pub mod statistics;
mod tensor_file;
mod threads;
mod torchscript;
pub mod train;
mod training_inputs;

pub use astroclip::{AstroClip, AstroClipTaps};
pub use astromae::AstroMae;
pub use check::{Check, check};
pub use checkpoint::Checkpoint;
pub use config::{Architecture, Branch, Config};
pub use directory::{CONFIG_FILE, MODULE_FILE, WEIGHTS_FILE, architecture_of};
pub use error::{Error, FoundShape};
pub use head::{Head, HeadConfig};
pub use inputs::{InputName, Inputs};
pub use inspect::{Inspection, Module, inspect};
pub use instruction_set::InstructionSet;
pub use load::{load, load_with, precision};
pub use model::{Model, host_tensor};
pub use needs::{CutoutNeeds, Needs};
pub use network::Taps;
pub use output::ModelOutput;
pub use precision::Precision;
pub use threads::single_threaded;
pub use torchscript::{ModuleOutput, TorchScript, TorchScriptConfig};
pub use training_inputs::{
    ApertureRange, CoreRange, MagRange, TRAINING_ROWS_MIN, TrainingInputs, Unlike,
};
