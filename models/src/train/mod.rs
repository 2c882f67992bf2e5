//! Training: an encoder is pretrained as a masked autoencoder, and a network is fine-tuned on spectroscopic redshifts. A
//! network is whatever implements [`Trainable`]: an AstroMAE, a masked autoencoder or a head on embeddings.
//!
//! ```text
//! TrainingRows ──► Trainer ──► batch ──► Objective ──► loss ──► Parameters (AdamW)
//!                     │
//!                     └──► saving: the state, and the best network as a model directory
//! ```
//!
//! A training is a function of its rows, settings and seed. All randomness in a step follows from the seed and the number of
//! the step. So a training that was stopped and goes on from its last state ends at the same weights, to the bit, as one
//! that was not stopped, if both use the same number of threads.

mod adamw;
mod mae;
mod objective;
mod parameters;
mod pinball;
mod random_init;
mod rows;
mod saving;
mod schedule;
#[cfg(test)]
mod tests;
mod trainable;
mod trainer;

pub use objective::{Loss, Objective, ValidationScores};
pub use parameters::Parameters;
pub use rows::TrainingRows;
pub use schedule::Schedule;
pub use trainable::Trainable;
pub use trainer::{EpochEnd, Step, Trainer};

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::config::{Architecture, Config, HeadKind};
use crate::directory::Directory;
use crate::error::Error;
use crate::head::{HeadConfig, stored_head};
use crate::layout;

/// Reads the pretrained encoder in `dir`: its configuration, and only the weights of the transformer.
///
/// # Errors
/// Those of [`load`](crate::load()), and [`Error::Config`] if `dir` does not hold a pretrained encoder.
///
/// ```
/// use hubbleflow_models::{Config, init, train::pretrained};
/// let (dir, config) = (tempfile::tempdir().unwrap(), Config::preset("astromae-tiny").unwrap());
/// init::init(dir.path(), &config.pretraining(), "")?;
/// let (_, trunk) = pretrained(dir.path())?;
/// assert!(trunk.tensor("cls_token").is_ok() && trunk.tensor("mask_token").is_err());
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn pretrained(dir: &Path) -> Result<(Config, Checkpoint), Error> {
    let reason = "`architecture` is not mae: this is no pretrained encoder";
    let (config, weights) = stored(dir, Architecture::Mae, reason)?;
    let trunk = weights.into_tensors().into_iter();
    let trunk = trunk.filter(|(name, _)| layout::is_trunk(name)).collect();
    Ok((config, Checkpoint::of(trunk)))
}

/// Reads the model in `dir`, from which a training can start: its configuration and all of its weights.
///
/// # Errors
/// Those of [`load`](crate::load()), and [`Error::Config`] if `dir` holds a pretrained encoder.
///
/// ```
/// use hubbleflow_models::{Config, init, train::trained};
/// let (dir, config) = (tempfile::tempdir().unwrap(), Config::preset("astromae-tiny").unwrap());
/// init::init(dir.path(), &config, "")?;
/// assert!(trained(dir.path())?.1.tensor("vit_block.0.weight").is_ok());
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn trained(dir: &Path) -> Result<(Config, Checkpoint), Error> {
    let reason = "`architecture` is mae: an encoder is begun with as --pretrained, not as --from";
    stored(dir, Architecture::AstroMae, reason)
}

/// Reads the head in `dir`, from which a training can start: its configuration and all of its weights.
///
/// # Errors
/// Those of [`load`](crate::load()).
pub fn trained_head(dir: &Path) -> Result<(HeadConfig, Checkpoint), Error> {
    stored_head(&Directory::read(dir)?)
}

/// The model `(config, weights)` with a head of another kind. The weights lose their last layer if the kind differs from the
/// model's, so a training begins it anew; the third value tells.
///
/// ```
/// use hubbleflow_models::{Config, config::HeadKind, init, train::{trained, with_head}};
/// let (dir, config) = (tempfile::tempdir().unwrap(), Config::preset("astromae-tiny").unwrap());
/// init::init(dir.path(), &config, "")?;
/// let (config, weights, is_new) = with_head(trained(dir.path())?, HeadKind::quantiles());
/// assert!(is_new && config.head == HeadKind::quantiles());
/// assert!(weights.tensor("concat_block.2.weight").is_err() && weights.tensor("concat_block.0.weight").is_ok());
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn with_head<C: Trainable>(
    (mut config, weights): (C, Checkpoint),
    head: HeadKind,
) -> (C, Checkpoint, bool) {
    if *config.head() == head {
        return (config, weights, false);
    }
    config.set_head(head);
    let last = format!("{}.", config.output_layer());
    let kept = weights.into_tensors().into_iter();
    let kept = kept.filter(|(name, _)| !name.starts_with(&last));
    (config, Checkpoint::of(kept.collect()), true)
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

/// Sets the number of threads that libtorch computes with.
pub fn threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}
