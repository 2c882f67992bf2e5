//! What a training tells whoever started it.
use models::{config::HeadKind, train::EpochEnd};

/// Where a training is.
#[derive(Clone, Copy, Debug)]
pub struct StepDone {
    /// The number of the step, from 1.
    pub step: u64,
    /// Steps of the whole training.
    pub all_steps: u64,
    /// The loss on the step's rows.
    pub loss: f64,
    /// Rows learned from in a second.
    pub rows_per_second: f64,
}

/// Receives what happens in a training. Every method does nothing unless it is overridden; `()` observes nothing.
pub trait TrainObserver {
    /// Rows begin to be read into memory, or all are read.
    fn reading(&self, is_reading: bool) {
        let _ = is_reading;
    }

    /// Something that the user should know and that does not stop the training.
    fn warn(&self, line: &str) {
        let _ = line;
    }

    /// The training goes on after this many steps of an earlier process.
    fn resumed(&self, steps: u64) {
        let _ = steps;
    }

    /// The model to go on from has a head of another kind than the new one, so the last layer begins anew.
    fn head_begins_anew(&self, so_far: &HeadKind, new: &HeadKind) {
        let _ = (so_far, new);
    }

    /// A step is done.
    fn stepped(&self, step: &StepDone) {
        let _ = step;
    }

    /// An epoch is over.
    fn epoch_ended(&self, end: &EpochEnd, rows_per_second: f64) {
        let _ = (end, rows_per_second);
    }

    /// The last step is done.
    fn end(&self) {}
}

impl TrainObserver for () {}
