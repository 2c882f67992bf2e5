//! Training: pretraining an encoder as a masked autoencoder, and fine-tuning a network on spectroscopic redshifts.
//!
//! ```text
//! Rows ──► Trainer ──► batch ──► Objective ──► loss ──► Parameters (AdamW)
//!             │                                             │
//!             └── State, kept on disk        a model directory: the best so far
//! ```
//!
//! A training is a function of its rows, settings and seed: what is random in a step follows from the seed and the
//! step's number, so one that was stopped and goes on from its last state ends at the same weights as one that was
//! not, to the bit, on the same number of threads.

mod mae;
mod objective;
mod parameters;
mod random_init;
mod rows;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod trainer;

pub use objective::{Loss, Objective, Scores};
pub use parameters::Parameters;
pub use rows::Rows;
pub use trainer::{EpochEnd, Schedule, Step, Trainer};

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::config::{Architecture, Config};
use crate::{Directory, Error, layout};

/// The encoder that pretraining left in `dir`: its configuration, and the transformer's weights alone.
///
/// # Errors
/// As [`load`](crate::load); [`Error::Config`] where `dir` holds no pretrained encoder.
pub fn pretrained(dir: &Path) -> Result<(Config, Checkpoint), Error> {
    let reason = "`architecture` is not mae: this is no pretrained encoder";
    let (config, weights) = stored(dir, Architecture::Mae, reason)?;
    let trunk = weights.into_tensors().into_iter();
    let trunk = trunk.filter(|(name, _)| layout::is_trunk(name)).collect();
    Ok((config, Checkpoint::of(trunk)))
}

/// The model in `dir`, to go on from: its configuration and all of its weights.
///
/// # Errors
/// As [`load`](crate::load); [`Error::Config`] where `dir` holds a pretrained encoder alone.
pub fn trained(dir: &Path) -> Result<(Config, Checkpoint), Error> {
    let reason = "`architecture` is mae: an encoder is begun with as --pretrained, not as --from";
    stored(dir, Architecture::AstroMae, reason)
}

fn stored(dir: &Path, of: Architecture, reason: &str) -> Result<(Config, Checkpoint), Error> {
    let directory = Directory::read(dir)?;
    let config = directory.config()?;
    if config.architecture != of {
        return Err(Error::Config {
            path: directory.config_path,
            reason: reason.to_owned(),
        });
    }
    let weights = Checkpoint::parse(&directory.weights_path, &directory.weights, &config)?;
    Ok((config, weights))
}

/// Lets libtorch compute with so many threads.
pub fn threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}
