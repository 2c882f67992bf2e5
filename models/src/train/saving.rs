//! What a training writes and reads: the model directory of its best network, and its state.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::trainable::Trainable;
use super::trainer::{Best, Trainer};
use crate::checkpoint::{Checkpoint, Storage};
use crate::directory::{CONFIG_FILE, WEIGHTS_FILE, config_json};
use crate::error::Error;
use crate::tensor_file;

/// The notes in the header of a state's file.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The identity of the training: its configuration, schedule and numbers of rows, as JSON.
    training: String,
    steps: u64,
    best_epoch: Option<u64>,
}

/// The name of the note in the header.
const NOTE: &str = "training";

impl<C: Trainable> Trainer<C> {
    /// Writes the best network so far as a model directory. Each file is replaced as a whole.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written, [`Error::Inputs`] if no epoch has ended yet.
    pub fn save_model(&self, dir: &Path, storage: Storage) -> Result<(), Error> {
        let best = self.best.as_ref();
        let best = best.ok_or_else(|| Error::Inputs("no epoch has ended yet".to_owned()))?;
        let json = config_json(&dir.join(CONFIG_FILE), self.config())?;
        make_dir(dir)?;
        replace(
            &dir.join(WEIGHTS_FILE),
            &tensor_file::to_bytes(&best.tensors, storage, None)?,
        )?;
        replace(&dir.join(CONFIG_FILE), &json)
    }

    /// Writes the state of the training to `file`: everything that the next step depends on.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written, [`Error::Torch`] if a tensor cannot be copied to the CPU.
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
            &tensor_file::to_bytes(&tensors, Storage::Fp32, Some(notes))?,
        )
    }

    /// Continues from a state that [`Trainer::save_state`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Corrupt`] if it is damaged, [`Error::State`] if it is the state of
    /// another training.
    pub fn load_state(&mut self, file: &Path) -> Result<(), Error> {
        let other = || Error::State {
            path: file.to_owned(),
        };
        let (mut tensors, notes) = tensor_file::from_file(file)?;
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

    /// Scores the best network again: scores that are written as text need not have all their bits.
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
        let training = (self.config(), self.schedule(), self.rows());
        Note {
            training: serde_json::to_string(&training).expect("invariant: settings are plain data"),
            steps: self.parameters.steps(),
            best_epoch: self.best.as_ref().map(|best| best.epoch),
        }
    }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|source| Error::Io {
        path: dir.to_owned(),
        what: "cannot make the directory",
        source,
    })
}

/// Writes or replaces a file, whole or not at all.
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
