//! `hubbleflow train`: makes a model from a catalog.
//!
//! ```text
//! catalog ── rows ──► CatalogRows ──► intervals of the hash ──► models::train::Trainer ──► OUT
//! ```
//! Rows are read and judged as a run reads and judges them. `OUT` becomes a model directory, with `log.jsonl` beside
//! the model; during the training it also holds `state.safetensors`, from which the same command goes on if it was
//! stopped.
mod beginning;
mod drops;
mod interval;
mod observer;
mod rows;
mod settings;
mod training_run;

pub use interval::Interval;
pub use observer::{StepDone, TrainObserver};
pub use settings::{
    EncoderStart, FinetuneSettings, HeadChoice, LossChoice, PretrainSettings, TrainSettings,
};
pub use training_run::{Report, finetune, pretrain};
