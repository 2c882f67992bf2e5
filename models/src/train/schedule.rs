//! The settings of a training.

use serde::{Deserialize, Serialize};

/// The settings of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The number of passes over the rows.
    pub epochs: u64,
    /// The number of rows of a step.
    pub batch: i64,
    /// The highest learning rate.
    pub rate: f64,
    /// The number of epochs over which the rate rises. It then falls along a cosine, to zero at the end.
    pub warmup: f64,
    /// The weight decay of the matrices.
    pub decay: f64,
    /// Upper bound on the norm of a gradient. Longer gradients are clipped.
    pub clip: f64,
    /// The factor of the old average when a step updates the moving average of the weights, which is kept. With 0 the last
    /// weights are kept.
    pub average: f64,
    /// Whether cutouts are turned and flipped.
    pub turn: bool,
    /// The training ends after this number of epochs without a better score.
    pub patience: Option<u64>,
    /// All randomness follows from this number.
    pub seed: u64,
}

impl Schedule {
    /// The learning rate of the step after `taken` steps.
    pub(super) fn rate_at(&self, taken: u64, steps_per_epoch: u64) -> f64 {
        let warmup = self.warmup * steps_per_epoch as f64;
        let all = (self.epochs * steps_per_epoch) as f64;
        let step = taken as f64 + 1.0;
        if step < warmup {
            return self.rate * step / warmup;
        }
        let progress = ((step - warmup) / (all - warmup).max(1.0)).min(1.0);
        self.rate * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
    }
}
