//! `hubbleflow train`: a model out of a catalog.
//!
//! ```text
//! catalog ── rows ──► Labelled ──► intervals of the hash ──► models::train::Trainer ──► OUT
//! ```
//! Rows are read and judged as a run reads and judges them. `OUT` becomes a model directory, with `log.jsonl` beside
//! the model; while the training goes on it also holds `state.safetensors`, from which the same command goes on after
//! it was stopped.
mod course;
mod rows;
mod settings;

pub use course::{Report, finetune, pretrain};
pub use settings::{EncoderStart, FinetuneArgs, Interval, LossChoice, PretrainArgs, TrainArgs};
