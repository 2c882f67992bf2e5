//! The settings of a training as a user writes them.
use std::{fmt, path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};
use models::{
    Branch, Config,
    checkpoint::Storage,
    config::PRESETS,
    device::{DeviceChoice, PrecisionChoice},
    train::{Loss, Schedule},
};

use crate::settings::{BATCH_MAX, LocalPath, THREADS_MAX, defaults};

/// A stretch of the line from 0 to 1 on which the hash of `object_id` puts every object, written `0.8:0.9`.
///
/// The same object lies at the same place in every drop and every training, so stretches that do not overlap hold
/// different objects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its first place.
    pub from: f64,
    /// The first place behind it.
    pub to: f64,
}

impl Interval {
    /// Whether an object of this hash lies in it.
    pub fn holds(self, hash: u64) -> bool {
        let place = hash as f64 / 2f64.powi(64);
        // A hash so large that it is rounded to 1 belongs to the last stretch.
        self.from <= place && (place < self.to || self.to == 1.0)
    }

    /// Whether an object can lie in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.from.max(other.from) < self.to.min(other.to)
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (from, to) = text.split_once(':')?;
            let interval = Self {
                from: from.trim().parse().ok()?,
                to: to.trim().parse().ok()?,
            };
            let in_order = 0.0 <= interval.from && interval.from <= interval.to;
            (in_order && interval.to <= 1.0).then_some(interval)
        };
        parse().ok_or_else(|| format!("{text:?} is no part of the line from 0 to 1; write 0.8:0.9"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.from, self.to)
    }
}

/// What every training has.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    pub catalog: String,
    /// Where the model goes: a directory, new or of this very training
    #[arg(long, value_name = "DIR", value_parser = LocalPath)]
    pub out: PathBuf,
    /// Take this drop alone (may be given several times)
    #[arg(long, value_name = "NAME")]
    pub drop: Vec<String>,
    /// Read a column under another name, as cutout=image (may be given several times)
    #[arg(long, value_name = "NAME=NAME")]
    pub column: Vec<String>,
    /// The network
    #[arg(long, default_value = "astromae", value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
    pub preset: String,
    /// Blocks of the encoder, where other than the preset's
    #[arg(long)]
    pub depth: Option<usize>,
    /// A name for the model
    #[arg(long)]
    pub name: Option<String>,
    /// Bring the inputs to scales that are learned from the training rows, instead of taking them as they come
    #[arg(long)]
    pub learn_preprocess: bool,
    /// Rows of a step
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(i64).range(8..=i64::from(BATCH_MAX)))]
    pub batch: i64,
    /// Epochs over which the learning rate rises
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Decay of the weights
    #[arg(long, default_value_t = 0.05)]
    pub decay: f64,
    /// The norm that gradients are cut to
    #[arg(long, default_value_t = 1.0)]
    pub clip: f64,
    /// What a step leaves of the moving average of the weights, which is what is kept; 0 keeps the last weights
    #[arg(long, default_value_t = 0.999, value_parser = average)]
    pub average: f64,
    /// Do not flip or turn cutouts
    #[arg(long)]
    pub no_turns: bool,
    /// End after so many epochs without a better score
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u64>,
    /// What is random follows from it
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the state every so many steps, besides the end of each epoch
    #[arg(long, value_name = "STEPS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub state_every: u64,
    /// Where it runs: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The arithmetic: fp32 (auto is) or bf16; weights and their steps are fp32 always
    #[arg(long, default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Threads of the CPU [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=THREADS_MAX as i64))]
    pub threads: Option<u32>,
    /// Store matrices in half the bytes, 11 bits a number
    #[arg(long)]
    pub half: bool,
    /// Magnitudes at or below this are no magnitudes
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub mag_min: f32,
    /// Magnitudes at or above this are no magnitudes
    #[arg(long, default_value_t = 40.0)]
    pub mag_max: f32,
    /// A z_spec below this is ignored; so is one of exactly 0
    #[arg(long, default_value_t = -0.01, allow_negative_numbers = true)]
    pub z_spec_min: f32,
    /// A z_spec above this is ignored: many tables write 99 or 9999 for a missing redshift
    #[arg(long, default_value_t = 10.0)]
    pub z_spec_max: f32,
}

/// Pretrain an encoder as a masked autoencoder, on cutouts alone
#[derive(Args, Clone, Debug)]
pub struct PretrainArgs {
    /// What every training has.
    #[command(flatten)]
    pub train: TrainArgs,
    /// The objects to learn from, by the hash of their id
    #[arg(long, default_value = "0:0.8", value_name = "FROM:TO")]
    pub training: Interval,
    /// The objects to choose the best epoch by
    #[arg(long, default_value = "0.8:0.9", value_name = "FROM:TO")]
    pub validation: Interval,
    /// The fraction of the patches that is masked
    #[arg(long, default_value_t = 0.75)]
    pub masked: f64,
    /// Passes over the rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// The learning rate at its highest
    #[arg(long, default_value_t = 1e-3)]
    pub rate: f64,
}

/// Learn redshifts, on top of a pretrained encoder or from nothing
#[derive(Args, Clone, Debug)]
pub struct FinetuneArgs {
    /// What every training has.
    #[command(flatten)]
    pub train: TrainArgs,
    /// A directory that pretraining made
    #[arg(long, value_name = "DIR", value_parser = LocalPath)]
    pub pretrained: Option<PathBuf>,
    /// A model to go on from, its architecture and its scales with it: a directory, or `bundled`
    #[arg(long, value_name = "MODEL", value_parser = LocalPath, conflicts_with_all = ["pretrained", "branches", "preset", "depth", "learn_preprocess"])]
    pub from: Option<PathBuf>,
    /// What becomes of the encoder [default: frozen with --pretrained, tuned with --from, scratch otherwise]
    #[arg(long, value_enum)]
    pub encoder: Option<EncoderStart>,
    /// What feeds the head
    #[arg(long, value_delimiter = ',', default_value = "encoder,inception,magnitude", value_parser = branch)]
    pub branches: Vec<Branch>,
    /// The objects to learn from, by the hash of their id
    #[arg(long, default_value = "0.9:0.97", value_name = "FROM:TO")]
    pub training: Interval,
    /// The objects to choose the best epoch by
    #[arg(long, default_value = "0.97:0.98", value_name = "FROM:TO")]
    pub validation: Interval,
    /// The objects to score the model on at the end
    #[arg(long, default_value = "0.98:1", value_name = "FROM:TO")]
    pub test: Interval,
    /// How an error counts
    #[arg(long, value_enum, default_value = "mse")]
    pub loss: LossChoice,
    /// Where the Huber loss goes over from squared to in proportion, in z
    #[arg(long, default_value_t = 0.02)]
    pub huber_delta: f64,
    /// Passes over the rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// The learning rate at its highest
    #[arg(long, default_value_t = 5e-4)]
    pub rate: f64,
}

/// What becomes of the encoder in fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncoderStart {
    /// It begins with random weights, and learns.
    Scratch,
    /// It stays as it was pretrained.
    Frozen,
    /// It begins as it was pretrained, and learns.
    Tuned,
}

/// How the error of a redshift counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LossChoice {
    /// Squared.
    Mse,
    /// Squared while small, in proportion beyond.
    Huber,
}

fn average(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "an average keeps a share from 0 to below 1".to_owned())
}

fn branch(text: &str) -> Result<Branch, String> {
    match text {
        "encoder" => Ok(Branch::Encoder),
        "inception" => Ok(Branch::Inception),
        "magnitude" => Ok(Branch::Magnitude),
        _ => Err("branches are encoder, inception and magnitude".to_owned()),
    }
}

impl TrainArgs {
    /// The network's configuration, with inputs as they come.
    pub(super) fn config(&self) -> Config {
        let mut config =
            Config::preset(&self.preset).expect("the command line admits presets alone");
        config.encoder.depth = self.depth.unwrap_or(config.encoder.depth);
        if let Some(name) = &self.name {
            config.name.clone_from(name);
        }
        config
    }

    pub(super) fn schedule(&self, epochs: u64, rate: f64) -> Schedule {
        Schedule {
            epochs,
            batch: self.batch,
            rate,
            warmup: self.warmup,
            decay: self.decay,
            clip: self.clip,
            average: self.average,
            turn: !self.no_turns,
            patience: self.patience,
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

impl FinetuneArgs {
    pub(super) fn loss(&self) -> Loss {
        match self.loss {
            LossChoice::Mse => Loss::Mse,
            LossChoice::Huber => Loss::Huber {
                delta: self.huber_delta,
            },
        }
    }

    /// The settings with the defaults of the command line; whatever is to be different is a field.
    pub fn new(catalog: &str, out: &str) -> Self {
        defaults(&[&format!("--out={out}"), "--", catalog])
    }
}

impl PretrainArgs {
    /// The settings with the defaults of the command line; whatever is to be different is a field.
    pub fn new(catalog: &str, out: &str) -> Self {
        defaults(&[&format!("--out={out}"), "--", catalog])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stretches_beside_each_other_share_no_object_and_lose_none() {
        let [a, b] = ["0:0.3", "0.3:1"].map(|text| text.parse::<Interval>().unwrap());
        for hash in [
            0,
            1,
            u64::MAX / 10 * 3,
            u64::MAX / 3,
            u64::MAX - 1,
            u64::MAX,
        ] {
            assert!(a.holds(hash) != b.holds(hash), "{hash}");
        }
        for wrong in ["0.3", "0.5:0.2", "-1:0", "0:1.5", "a:b"] {
            assert!(wrong.parse::<Interval>().is_err(), "{wrong}");
        }
    }
}
