//! The settings of a training. Every field has the default of the command line.
use std::path::PathBuf;

use models::{
    Branch, Config, InputName,
    checkpoint::Storage,
    config::{HeadKind, Shape},
    device::{DeviceChoice, PrecisionChoice},
    train::{Loss, Schedule},
};

use super::interval::Interval;
use crate::{RowSettings, SettingsError};

/// What every training has.
#[derive(Clone, Debug)]
pub struct TrainSettings {
    /// The catalog: a URL or a path.
    pub catalog: String,
    /// The model's directory: new, or of this very training.
    pub out: PathBuf,
    /// The drops to take; empty takes all.
    pub drops: Vec<String>,
    /// How rows are read and judged.
    pub rows: RowSettings,
    /// The network: one of [`models::config::PRESETS`].
    pub preset: String,
    /// Blocks of the encoder, if not the preset's.
    pub depth: Option<usize>,
    /// The bands of the model's cutouts and magnitudes and the side of its cutouts. Without bands, they are those that the
    /// catalog's cutouts are said to hold, else the preset's.
    pub shape: Shape,
    /// The extinction of each band of the model's cutouts in magnitudes for an E(B-V) of 1, for which the model corrects
    /// them. Empty if it takes them as they are.
    pub dereddening: Vec<f64>,
    /// A name for the model.
    pub name: Option<String>,
    /// Scale the inputs as the training rows suggest, instead of taking them as they are.
    pub learn_preprocess: bool,
    /// Rows of a step.
    pub batch: i64,
    /// Epochs over which the learning rate rises.
    pub warmup_epochs: f64,
    /// Decay of the weights.
    pub decay: f64,
    /// The norm that gradients are cut to.
    pub clip: f64,
    /// What a step leaves of the moving average of the weights; the average is kept. 0 keeps the last weights.
    pub average: f64,
    /// Flip and turn cutouts at random.
    pub turn: bool,
    /// End after this many epochs without a better score.
    pub patience_epochs: Option<u64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Write the state after this many steps, besides the end of each epoch.
    pub state_every_steps: u64,
    /// Where it runs.
    pub device: DeviceChoice,
    /// The arithmetic: fp32 (also for `Auto`) or bf16; weights and their steps are always fp32.
    pub precision: PrecisionChoice,
    /// Threads of the CPU; `None` takes all cores.
    pub threads: Option<usize>,
    /// Store matrices in half the bytes, 11 bits a number.
    pub half: bool,
}

/// Pretrains an encoder as a masked autoencoder, on cutouts alone.
#[derive(Clone, Debug)]
pub struct PretrainSettings {
    /// What every training has.
    pub train: TrainSettings,
    /// The objects to learn from.
    pub training: Interval,
    /// The objects to choose the best epoch by.
    pub validation: Interval,
    /// The fraction of the patches that is masked.
    pub masked: f64,
    /// Passes over the rows.
    pub epochs: u64,
    /// The learning rate at its highest.
    pub rate: f64,
}

/// Learns redshifts, on top of a pretrained encoder or from nothing.
#[derive(Clone, Debug)]
pub struct FinetuneSettings {
    /// What every training has.
    pub train: TrainSettings,
    /// A directory that pretraining made.
    pub pretrained: Option<PathBuf>,
    /// A model directory to go on from, with its architecture and its scales.
    pub from: Option<PathBuf>,
    /// The inputs of a head on embeddings: embedding, and perhaps mags. The network is then that head, and `preset`, `depth`,
    /// `branches` and what `shape` says of cutouts are not used. `None` trains a network on cutouts.
    pub inputs: Option<Vec<InputName>>,
    /// What becomes of the encoder; `None` freezes it after `pretrained`, tunes it after `from`, else starts from scratch.
    pub encoder: Option<EncoderStart>,
    /// What feeds the head.
    pub branches: Vec<Branch>,
    /// The objects to learn from.
    pub training: Interval,
    /// The objects to choose the best epoch by.
    pub validation: Interval,
    /// The objects to score the model on at the end.
    pub test: Interval,
    /// The form of the redshift; `None` keeps that of `from`, else gives quantiles.
    pub head: Option<HeadChoice>,
    /// How an error of a point head counts; `None` squares it. Quantiles have the pinball loss.
    pub loss: Option<LossChoice>,
    /// Where the Huber loss changes from squared to linear, in z.
    pub huber_delta: f64,
    /// Passes over the rows.
    pub epochs: u64,
    /// The learning rate at its highest.
    pub rate: f64,
}

/// What becomes of the encoder in fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncoderStart {
    /// It begins with random weights, and learns.
    Scratch,
    /// It stays as it was pretrained.
    Frozen,
    /// It begins as it was pretrained, and learns.
    Tuned,
}

/// The form of the redshift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadChoice {
    /// Quantiles at [`models::config::LEVELS`], or at those that the model to go on from has.
    Quantiles,
    /// One number.
    Point,
}

impl HeadChoice {
    /// The head of a model that has this one so far, if it has any.
    pub(super) fn kind(choice: Option<Self>, so_far: Option<&HeadKind>) -> HeadKind {
        match (choice, so_far) {
            (None | Some(Self::Quantiles), Some(known @ HeadKind::Quantiles { .. })) => {
                known.clone()
            }
            (None, Some(HeadKind::Point)) | (Some(Self::Point), _) => HeadKind::Point,
            (None | Some(Self::Quantiles), _) => HeadKind::quantiles(),
        }
    }
}

/// How the error of a redshift counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossChoice {
    /// Squared.
    Mse,
    /// Squared while small, in proportion beyond.
    Huber,
}

impl TrainSettings {
    /// The settings of a training from a catalog into a directory.
    pub fn new(catalog: &str, out: impl Into<PathBuf>) -> Self {
        Self {
            catalog: catalog.to_owned(),
            out: out.into(),
            drops: Vec::new(),
            rows: RowSettings::default(),
            preset: "astromae".to_owned(),
            depth: None,
            shape: Shape::default(),
            dereddening: Vec::new(),
            name: None,
            learn_preprocess: false,
            batch: 256,
            warmup_epochs: 1.0,
            decay: 0.05,
            clip: 1.0,
            average: 0.999,
            turn: true,
            patience_epochs: None,
            seed: 0,
            state_every_steps: 1000,
            device: DeviceChoice::Auto,
            precision: PrecisionChoice::Auto,
            threads: None,
            half: false,
        }
    }

    /// The network's configuration, with inputs as they come.
    pub(super) fn config(&self) -> Result<Config, SettingsError> {
        let preset = &self.preset;
        let unknown = || SettingsError::Preset {
            preset: preset.clone(),
        };
        let mut config = Config::preset(preset).ok_or_else(unknown)?;
        config.encoder.depth = self.depth.unwrap_or(config.encoder.depth);
        config = config.shaped(&self.shape());
        let cutout = config.preprocess.cutout;
        config.preprocess.cutout = cutout.with_dereddening(self.dereddening.clone());
        if let Some(name) = &self.name {
            config.name.clone_from(name);
        }
        Ok(config)
    }

    /// The shape of the model. Its bands are all that the catalog's cutouts are said to hold, unless the model has others.
    fn shape(&self) -> Shape {
        let of_catalog = Some(&self.rows.bands).filter(|bands| !bands.is_empty());
        Shape {
            bands: self.shape.bands.as_ref().or(of_catalog).cloned(),
            ..self.shape.clone()
        }
    }

    pub(super) fn schedule(&self, epochs: u64, rate: f64) -> Schedule {
        Schedule {
            epochs,
            batch: self.batch,
            rate,
            warmup: self.warmup_epochs,
            decay: self.decay,
            clip: self.clip,
            average: self.average,
            turn: self.turn,
            patience: self.patience_epochs,
            seed: self.seed,
        }
    }

    pub(super) fn storage(&self) -> Storage {
        if self.half {
            Storage::Fp16
        } else {
            Storage::Fp32
        }
    }
}

impl FinetuneSettings {
    /// The settings of a fine-tuning from a catalog into a directory.
    ///
    /// ```
    /// use hubbleflow::train::FinetuneSettings;
    ///
    /// let settings = FinetuneSettings { epochs: 3, ..FinetuneSettings::new("survey", "model") };
    /// assert_eq!(settings.train.batch, 256);
    /// ```
    pub fn new(catalog: &str, out: impl Into<PathBuf>) -> Self {
        Self {
            train: TrainSettings::new(catalog, out),
            pretrained: None,
            from: None,
            inputs: None,
            encoder: None,
            branches: vec![Branch::Encoder, Branch::Inception, Branch::Magnitude],
            training: Interval::new(0.9, 0.97),
            validation: Interval::new(0.97, 0.98),
            test: Interval::new(0.98, 1.0),
            head: None,
            loss: None,
            huber_delta: 0.02,
            epochs: 50,
            rate: 5e-4,
        }
    }

    pub(super) fn loss(&self) -> Loss {
        match self.loss {
            None | Some(LossChoice::Mse) => Loss::Mse,
            Some(LossChoice::Huber) => Loss::Huber {
                delta: self.huber_delta,
            },
        }
    }
}

impl PretrainSettings {
    /// The settings of a pretraining from a catalog into a directory.
    pub fn new(catalog: &str, out: impl Into<PathBuf>) -> Self {
        Self {
            train: TrainSettings::new(catalog, out),
            training: Interval::new(0.0, 0.8),
            validation: Interval::new(0.8, 0.9),
            masked: 0.75,
            epochs: 100,
            rate: 1e-3,
        }
    }
}
