//! The training loop: batches in a new order each epoch, a learning rate that rises and falls, and the best network so far.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::objective::{Objective, ValidationScores};
use super::parameters::Parameters;
use super::rows::{TrainingRows, shuffled};
use super::schedule::Schedule;
use super::trainable::Trainable;
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::error::Error;
use crate::precision::Precision;

/// A training under way.
pub struct Trainer<C> {
    config: C,
    objective: Objective,
    schedule: Schedule,
    pub(super) parameters: Parameters,
    training: TrainingRows,
    pub(super) validation: TrainingRows,
    pub(super) device: Device,
    pub(super) kind: Kind,
    /// An epoch and the order of its rows.
    order: Option<(u64, Tensor)>,
    pub(super) best: Option<Best>,
}

/// The best network so far.
pub(super) struct Best {
    pub(super) epoch: u64,
    pub(super) scores: ValidationScores,
    pub(super) tensors: BTreeMap<String, Tensor>,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The number of the step, from 1.
    pub step: u64,
    /// The loss of its batch, before the step.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The norm of the gradient before clipping.
    pub gradient: f64,
}

/// The result of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochEnd {
    /// The number of the epoch, from 1.
    pub epoch: u64,
    /// The scores on the validation rows.
    pub validation: ValidationScores,
    /// Whether it is the best epoch so far.
    pub best: bool,
    /// Whether it is the last epoch.
    pub last: bool,
}

impl<C: Trainable> Trainer<C> {
    /// Makes a training of `parameters`, the weights of `config`, on training and validation rows.
    ///
    /// An encoder that does not learn encodes each cutout once, here and without turning it. The steps use its output.
    ///
    /// # Errors
    /// [`Error::Inputs`] if there are fewer training rows than a batch has, or no validation rows.
    ///
    /// ```
    /// use hubbleflow_models::train::{Loss, Objective, Parameters, Schedule, Trainer, TrainingRows};
    /// use hubbleflow_models::{Branch, Config, Precision, init};
    /// use tch::{Device, Tensor};
    ///
    /// let mut config = Config::preset("astromae-tiny").unwrap();
    /// config.branches = vec![Branch::Magnitude];
    /// let needs = config.needs();
    /// let rows = || TrainingRows {
    ///     mags: init::inputs(4, &needs).unwrap().mags,
    ///     z_spec: Some(Tensor::from_slice(&[0.1f32, 0.2, 0.1, 0.2])),
    ///     ..TrainingRows::default()
    /// };
    /// let schedule = Schedule {
    ///     epochs: 1,
    ///     batch: 2,
    ///     rate: 1e-4,
    ///     warmup: 0.0,
    ///     decay: 0.05,
    ///     clip: 1.0,
    ///     average: 0.0,
    ///     turn: false,
    ///     patience: None,
    ///     seed: 1,
    /// };
    /// let parameters = Parameters::new(&config, 1, None, |_name| true, Device::Cpu)?;
    /// let objective = Objective::Regress { loss: Loss::Mse };
    /// let on = (Device::Cpu, Precision::Fp32);
    /// let mut trainer = Trainer::new(config, objective, schedule, parameters, [rows(), rows()], on)?;
    /// while !trainer.is_over() {
    ///     trainer.step()?;
    ///     if trainer.at_epoch_end() {
    ///         println!("{}", trainer.end_epoch()?.validation);
    ///     }
    /// }
    /// assert_eq!((trainer.steps(), trainer.best().unwrap().0), (2, 1));
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn new(
        config: C,
        objective: Objective,
        schedule: Schedule,
        parameters: Parameters,
        [training, validation]: [TrainingRows; 2],
        (device, precision): (Device, Precision),
    ) -> Result<Self, Error> {
        if training.len() < schedule.batch || validation.is_empty() {
            let (rows, held) = (training.len(), validation.len());
            return Err(Error::Inputs(format!(
                "{rows} training rows and {held} validation rows: a training needs at least a batch, \
                 {}, of the first, and one of the second",
                schedule.batch
            )));
        }
        let kind = precision.kind();
        let encoding = match parameters.is_encoder_fixed() {
            true => config.encoding(&parameters.at_rest(kind)?, kind)?,
            false => None,
        };
        let encoded = |rows: TrainingRows| match &encoding {
            Some(network) => rows.encoded_by(network, schedule.batch, device),
            None => Ok(rows),
        };
        let [training, validation] = [encoded(training)?, encoded(validation)?];
        Ok(Self {
            config,
            objective,
            schedule,
            parameters,
            training,
            validation,
            device,
            kind,
            order: None,
            best: None,
        })
    }

    /// The configuration of the network.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The settings of the training.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The numbers of training rows and validation rows.
    pub fn rows(&self) -> [i64; 2] {
        [self.training.len(), self.validation.len()]
    }

    /// The number of weights that learn.
    pub fn learning(&self) -> i64 {
        self.parameters.learning()
    }

    /// The number of steps of all epochs.
    pub fn all_steps(&self) -> u64 {
        self.schedule.epochs * self.steps_per_epoch()
    }

    /// The number of steps of an epoch. Rows that do not fill a batch are left out of the epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.training.len() / self.schedule.batch) as u64
    }

    /// The number of steps so far, including those before the training was stopped and continued.
    pub fn steps(&self) -> u64 {
        self.parameters.steps()
    }

    /// The best epoch so far, and its scores.
    pub fn best(&self) -> Option<(u64, ValidationScores)> {
        self.best.as_ref().map(|best| (best.epoch, best.scores))
    }

    /// Takes a step. After the last step of an epoch, call [`Trainer::end_epoch`].
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss is not finite, [`Error::Torch`] if libtorch cannot compute.
    pub fn step(&mut self) -> Result<Step, Error> {
        let taken = self.parameters.steps();
        let batch = self.batch(taken)?;
        // All randomness of a step follows from its number.
        tch::manual_seed(mixed(self.schedule.seed, 2 * taken + 1));
        let weights = self.parameters.checkpoint(self.kind)?;
        let loss = self
            .objective
            .loss(&weights, &self.config, self.kind, &batch)?;
        let value = loss.f_double_value(&[])?;
        if !value.is_finite() {
            return Err(Error::Diverged { step: taken + 1 });
        }
        let rate = self.schedule.rate_at(taken, self.steps_per_epoch());
        let gradient = self.parameters.step(&loss, rate, &self.schedule)?;
        Ok(Step {
            step: taken + 1,
            loss: value,
            rate,
            gradient,
        })
    }

    /// The rows of the step after `taken` steps.
    fn batch(&mut self, taken: u64) -> Result<TrainingRows, Error> {
        let (epoch, place) = (
            taken / self.steps_per_epoch(),
            taken % self.steps_per_epoch(),
        );
        let order = match &self.order {
            Some((of, order)) if *of == epoch => order,
            _ => {
                let order = shuffled(self.training.len(), mixed(self.schedule.seed, 2 * epoch))?;
                &self.order.insert((epoch, order)).1
            }
        };
        let size = self.schedule.batch;
        let numbers = order.f_narrow(0, place as i64 * size, size)?;
        let batch = self.training.select(&numbers, self.device)?;
        if self.schedule.turn {
            batch.turned()
        } else {
            Ok(batch)
        }
    }

    /// Whether the last step ended an epoch.
    pub fn at_epoch_end(&self) -> bool {
        let taken = self.parameters.steps();
        taken > 0 && taken.is_multiple_of(self.steps_per_epoch())
    }

    /// Whether all epochs are done, or the patience has run out.
    pub fn is_over(&self) -> bool {
        let epoch = self.parameters.steps() / self.steps_per_epoch();
        let best = self.best.as_ref().map_or(0, |best| best.epoch);
        let impatient = |patience| epoch >= best + patience;
        epoch >= self.schedule.epochs || self.schedule.patience.is_some_and(impatient)
    }

    /// Scores the network on the validation rows, and keeps it if it is the best so far.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot compute.
    pub fn end_epoch(&mut self) -> Result<EpochEnd, Error> {
        let epoch = self.parameters.steps() / self.steps_per_epoch();
        let validation = self.score(&self.validation)?;
        let best = self.best.as_ref();
        let best = best.is_none_or(|best| validation.loss < best.scores.loss);
        if best {
            self.best = Some(Best {
                epoch,
                scores: validation,
                tensors: self.parameters.tensors()?,
            });
        }
        Ok(EpochEnd {
            epoch,
            validation,
            best,
            last: self.is_over(),
        })
    }

    fn score(&self, rows: &TrainingRows) -> Result<ValidationScores, Error> {
        self.score_weights(&self.parameters.at_rest(self.kind)?, rows)
    }

    /// Scores a model that [`Trainer::save_model`] wrote to `dir`, as it is stored there.
    ///
    /// # Errors
    /// Those of [`load`](crate::load()), and [`Error::Inputs`] if `rows` lack a column.
    pub fn score_model(&self, dir: &Path, rows: &TrainingRows) -> Result<ValidationScores, Error> {
        let Directory {
            weights_path,
            weights,
            ..
        } = Directory::read(dir)?;
        let layout = self.config.layout();
        let stored = Checkpoint::of_layout(&weights_path, &weights, layout, |_| false)?;
        self.score_weights(&stored.to(self.device, self.kind)?, rows)
    }

    pub(super) fn score_weights(
        &self,
        weights: &Checkpoint,
        rows: &TrainingRows,
    ) -> Result<ValidationScores, Error> {
        let batch = self.schedule.batch;
        self.objective
            .score(weights, &self.config, self.kind, rows, batch, self.device)
    }
}

/// Mixes two numbers into a seed for libtorch.
fn mixed(seed: u64, number: u64) -> i64 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93)) as i64
}
