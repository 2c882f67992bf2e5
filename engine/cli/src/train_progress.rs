//! What a user sees of a training: a bar on a terminal, and a line for each epoch.
use std::io::IsTerminal;

use hubbleflow::train::{StepDone, TrainObserver};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use models::{config::HeadKind, train::EpochEnd};

use crate::{allocator, console::tell};

/// Shows a training on standard error.
pub(crate) struct TrainConsole {
    bar: ProgressBar,
}

impl Default for TrainConsole {
    fn default() -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {msg}, {eta} left");
        let style = style.expect("invariant: the template of the bar is well formed");
        Self {
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
        }
    }
}

impl TrainObserver for TrainConsole {
    fn reading(&self, is_reading: bool) {
        allocator::give_back_while_reading(is_reading);
    }

    fn warn(&self, line: &str) {
        tell(format_args!("warning: {line}"));
    }

    fn resumed(&self, steps: u64) {
        tell(format_args!("going on after step {steps}"));
    }

    fn head_begins_anew(&self, so_far: &HeadKind, new: &HeadKind) {
        tell(format_args!(
            "the head of the model is {so_far}, the new one {new}: its last layer begins anew"
        ));
    }

    fn stepped(&self, step: &StepDone) {
        self.bar.set_length(step.all_steps);
        self.bar.set_position(step.step);
        let StepDone {
            loss,
            rows_per_second,
            ..
        } = step;
        self.bar
            .set_message(format!("loss {loss:.3e}, {rows_per_second:.0} rows/s"));
    }

    fn epoch_ended(&self, end: &EpochEnd, rows_per_second: f64) {
        let EpochEnd {
            epoch,
            validation,
            best,
            ..
        } = end;
        let mark = if *best { ", the best so far" } else { "" };
        self.bar.suspend(|| {
            tell(format_args!(
                "epoch {epoch}: {validation}, {rows_per_second:.0} rows/s{mark}"
            ));
        });
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
