//! The loop: batches in a new order each epoch, a rate that rises and falls, the best network kept.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::objective::{Objective, Scores};
use super::parameters::Parameters;
use super::rows::{Rows, shuffled};
use crate::checkpoint::{self, Checkpoint, Storage};
use crate::config::{Branch, Config};
use crate::device::Precision;
use crate::network::Network;
use crate::{CONFIG_FILE, Directory, Error, WEIGHTS_FILE};

/// How a training goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Passes over the rows.
    pub epochs: u64,
    /// Rows of a step.
    pub batch: i64,
    /// The learning rate at its highest.
    pub rate: f64,
    /// Epochs over which the rate rises; it then falls along a cosine, to nothing at the end.
    pub warmup: f64,
    /// Decay of the matrices.
    pub decay: f64,
    /// The norm that a gradient is cut to.
    pub clip: f64,
    /// What a step leaves of the average of the weights, which is what is kept; 0 where the last weights are.
    pub average: f64,
    /// Whether cutouts are flipped and turned.
    pub turn: bool,
    /// Ends the training after so many epochs without a better score.
    pub patience: Option<u64>,
    /// What is random follows from it.
    pub seed: u64,
}

/// A training under way.
pub struct Trainer {
    config: Config,
    objective: Objective,
    schedule: Schedule,
    parameters: Parameters,
    training: Rows,
    validation: Rows,
    device: Device,
    kind: Kind,
    order: Option<(u64, Tensor)>,
    best: Option<Best>,
}

/// The best network so far.
struct Best {
    epoch: u64,
    scores: Scores,
    tensors: BTreeMap<String, Tensor>,
}

/// A step that was taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// From 1.
    pub step: u64,
    /// The loss of its batch, before it.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The norm of the gradient, before it was cut.
    pub gradient: f64,
}

/// An epoch that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochEnd {
    /// From 1.
    pub epoch: u64,
    /// On the validation rows.
    pub validation: Scores,
    /// Whether no epoch before was better.
    pub best: bool,
    /// Whether the training ends here.
    pub last: bool,
}

/// What stands beside the tensors in a state's file.
#[derive(Serialize, Deserialize)]
struct Note {
    /// Tells this training from every other: its configuration, schedule and rows, as JSON.
    training: String,
    steps: u64,
    best_epoch: Option<u64>,
}

const NOTE: &str = "training";

impl Trainer {
    /// A training of `parameters`, the weights of `config`.
    ///
    /// An encoder that learns nothing looks at each cutout once, here, as it lies; the steps take what it saw.
    ///
    /// # Errors
    /// [`Error::Inputs`] where there are fewer training rows than a batch has, or none to validate with.
    pub fn new(
        config: Config,
        objective: Objective,
        schedule: Schedule,
        parameters: Parameters,
        [training, validation]: [Rows; 2],
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
        let [training, validation] = if config.has(Branch::Encoder) && parameters.is_encoder_fixed()
        {
            let network = Network::new(&parameters.at_rest(kind)?, &config, kind)?;
            let seen = |rows: Rows| rows.seen_by(&network, schedule.batch, device);
            [seen(training)?, seen(validation)?]
        } else {
            [training, validation]
        };
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

    /// What is trained.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How it goes on.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Rows that are learned from, and rows that choose the best epoch.
    pub fn rows(&self) -> [i64; 2] {
        [self.training.len(), self.validation.len()]
    }

    /// Numbers that learn.
    pub fn learning(&self) -> i64 {
        self.parameters.learning()
    }

    /// Steps of all epochs.
    pub fn all_steps(&self) -> u64 {
        self.schedule.epochs * self.steps_per_epoch()
    }

    /// Steps of an epoch; rows that do not fill a batch wait for another epoch's order.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.training.len() / self.schedule.batch) as u64
    }

    /// Steps taken so far, also before it was stopped and went on.
    pub fn steps(&self) -> u64 {
        self.parameters.steps()
    }

    /// The best scores so far, and their epoch.
    pub fn best(&self) -> Option<(u64, Scores)> {
        self.best.as_ref().map(|best| (best.epoch, best.scores))
    }

    /// Takes a step; the last of an epoch is followed by [`Trainer::end_epoch`].
    ///
    /// # Errors
    /// [`Error::Diverged`] where the loss is no number any more, [`Error::Torch`].
    pub fn step(&mut self) -> Result<Step, Error> {
        let taken = self.parameters.steps();
        let batch = self.batch(taken)?;
        // What is random in a step follows from its number.
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

    fn batch(&mut self, taken: u64) -> Result<Rows, Error> {
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

    /// Whether the step that was taken last was the last of an epoch.
    pub fn at_epoch_end(&self) -> bool {
        let taken = self.parameters.steps();
        taken > 0 && taken.is_multiple_of(self.steps_per_epoch())
    }

    /// Whether there is nothing left to do.
    pub fn is_over(&self) -> bool {
        let epoch = self.parameters.steps() / self.steps_per_epoch();
        let best = self.best.as_ref().map_or(0, |best| best.epoch);
        let tired = |patience| epoch >= best + patience;
        epoch >= self.schedule.epochs || self.schedule.patience.is_some_and(tired)
    }

    /// Scores the network on the validation rows, and keeps it if it is the best so far.
    ///
    /// # Errors
    /// [`Error::Torch`].
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

    fn score(&self, rows: &Rows) -> Result<Scores, Error> {
        self.score_weights(&self.parameters.at_rest(self.kind)?, rows)
    }

    /// Scores the model in `dir`, one that [`Trainer::save_model`] wrote, as it is stored there.
    ///
    /// # Errors
    /// As [`load`](crate::load); [`Error::Inputs`] where `rows` lack a column.
    pub fn score_model(&self, dir: &Path, rows: &Rows) -> Result<Scores, Error> {
        let Directory {
            weights_path,
            weights,
            ..
        } = Directory::read(dir)?;
        let stored = Checkpoint::parse(&weights_path, &weights, &self.config)?;
        self.score_weights(&stored.to(self.device, self.kind)?, rows)
    }

    fn score_weights(&self, weights: &Checkpoint, rows: &Rows) -> Result<Scores, Error> {
        let batch = self.schedule.batch;
        self.objective
            .score(weights, &self.config, self.kind, rows, batch, self.device)
    }

    /// Writes the best network so far as a model directory, each file at once.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Inputs`] where no epoch has ended yet.
    pub fn save_model(&self, dir: &Path, storage: Storage) -> Result<(), Error> {
        let best = self.best.as_ref();
        let best = best.ok_or_else(|| Error::Inputs("no epoch has ended yet".to_owned()))?;
        let mut json = serde_json::to_vec_pretty(&self.config).map_err(|error| Error::Config {
            path: dir.join(CONFIG_FILE),
            reason: error.to_string(),
        })?;
        json.push(b'\n');
        make_dir(dir)?;
        replace(
            &dir.join(WEIGHTS_FILE),
            &checkpoint::to_bytes(&best.tensors, storage, None)?,
        )?;
        replace(&dir.join(CONFIG_FILE), &json)
    }

    /// Writes everything that the next step depends on to `file`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Torch`].
    pub fn save_state(&self, file: &Path) -> Result<(), Error> {
        let mut tensors = self.parameters.state();
        for (name, tensor) in self.best.iter().flat_map(|best| &best.tensors) {
            tensors.insert(format!("best.{name}"), tensor.shallow_clone());
        }
        let note = serde_json::to_string(&self.note()).expect("invariant: a note is plain data");
        let notes = HashMap::from([(NOTE.to_owned(), note)]);
        if let Some(dir) = file.parent() {
            make_dir(dir)?;
        }
        replace(
            file,
            &checkpoint::to_bytes(&tensors, Storage::Fp32, Some(notes))?,
        )
    }

    /// Goes on from a state that [`Trainer::save_state`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`]; [`Error::State`] where it is the state of another training.
    pub fn load_state(&mut self, file: &Path) -> Result<(), Error> {
        let other = || Error::State {
            path: file.to_owned(),
        };
        let (mut tensors, notes) = checkpoint::from_file(file)?;
        let note = notes
            .get(NOTE)
            .and_then(|note| serde_json::from_str(note).ok());
        let note: Note = note.ok_or_else(other)?;
        let names: Vec<String> = tensors.keys().cloned().collect();
        let mut best_tensors = BTreeMap::new();
        for (name, of) in names
            .iter()
            .filter_map(|name| Some((name, name.strip_prefix("best.")?)))
        {
            best_tensors.extend(tensors.remove(name).map(|tensor| (of.to_owned(), tensor)));
        }
        if note.training != self.note().training
            || !self.parameters.restore(&tensors, note.steps)?
        {
            return Err(other());
        }
        self.best = note
            .best_epoch
            .map(|epoch| self.scored(epoch, best_tensors))
            .transpose()?;
        Ok(())
    }

    /// The best network, scored again: the same to the last bit, which numbers written down need not be.
    fn scored(&self, epoch: u64, tensors: BTreeMap<String, Tensor>) -> Result<Best, Error> {
        let copies = tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let weights = Checkpoint::of(copies.collect()).to(self.device, self.kind)?;
        let scores = self.score_weights(&weights, &self.validation)?;
        Ok(Best {
            epoch,
            scores,
            tensors,
        })
    }

    fn note(&self) -> Note {
        let training = (&self.config, &self.schedule, self.rows());
        Note {
            training: serde_json::to_string(&training).expect("invariant: settings are plain data"),
            steps: self.parameters.steps(),
            best_epoch: self.best.as_ref().map(|best| best.epoch),
        }
    }
}

impl Schedule {
    /// The learning rate of the step after `taken`.
    fn rate_at(&self, taken: u64, steps_per_epoch: u64) -> f64 {
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

/// A seed for libtorch out of two numbers.
fn mixed(seed: u64, number: u64) -> i64 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93)) as i64
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|source| Error::Io {
        path: dir.to_owned(),
        what: "cannot make the directory",
        source,
    })
}

/// Writes a file in the place of another, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("partial");
    fs::write(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| Error::Io {
            path: path.to_owned(),
            what: "cannot write it",
            source,
        })
}
