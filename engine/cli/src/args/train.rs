//! The arguments of a training.
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hubbleflow::{
    settings::{BATCH_MAX, THREADS_MAX},
    train::{FinetuneSettings, Interval, PretrainSettings, TrainSettings},
};
use models::{
    Branch, InputName,
    config::{PRESETS, Shape},
    device::{DeviceChoice, PrecisionChoice},
};

use super::{row::RowArgs, values::LocalPath};
use crate::{Error, bundled};

/// What every training has.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs {
    /// The catalog: s3://bucket/prefix, gs://…, az://…, file:///… or a path
    pub catalog: String,
    /// The model's directory: new, or of this very training
    #[arg(long, value_name = "DIR", value_parser = LocalPath)]
    pub out: PathBuf,
    /// Take only this drop (may be given several times)
    #[arg(long, value_name = "NAME")]
    pub drop: Vec<String>,
    #[command(flatten)]
    rows: RowArgs,
    /// The network
    #[arg(long, default_value = "astromae", value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
    pub preset: String,
    /// Blocks of the encoder, if not the preset's
    #[arg(long)]
    pub depth: Option<usize>,
    /// The bands that the model takes, if not all that the catalog's cutouts hold
    #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
    pub model_bands: Option<Vec<String>>,
    /// The bands of the magnitudes that the model takes [default: those of the cutouts; of a head on embeddings, all that
    /// the catalog has]
    #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
    pub mags: Option<Vec<String>>,
    /// The side of the cutouts that the model takes, in pixels, a multiple of its patches' [default: the preset's]
    #[arg(long)]
    pub px: Option<usize>,
    /// The extinction of each band of the model's cutouts, in magnitudes for an E(B-V) of 1: the model corrects its cutouts by
    /// the catalog's column ebv. For ugriz 4.239,3.303,2.285,1.698,1.263 (Schlafly & Finkbeiner 2011)
    #[arg(long, value_name = "A,A", value_delimiter = ',')]
    pub dereddening: Vec<f64>,
    /// A name for the model
    #[arg(long)]
    pub name: Option<String>,
    /// Scale the inputs as the training rows suggest, instead of taking them as they are, and learn which rows to flag as
    /// unlike them
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
    /// What a step leaves of the moving average of the weights; the average is kept. 0 keeps the last weights
    #[arg(long, default_value_t = 0.999, value_parser = average)]
    pub average: f64,
    /// Do not flip or turn cutouts
    #[arg(long)]
    pub no_turns: bool,
    /// End after this many epochs without a better score
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<u64>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the state after this many steps, besides the end of each epoch
    #[arg(long, value_name = "STEPS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub state_every: u64,
    /// Where it runs: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The arithmetic: fp32 (also for auto) or bf16; weights and their steps are always fp32
    #[arg(long, default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Threads of the CPU [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=THREADS_MAX as i64))]
    pub threads: Option<u32>,
    /// Store matrices in half the bytes, 11 bits a number
    #[arg(long)]
    pub half: bool,
}

/// Pretrain an encoder as a masked autoencoder, on cutouts alone
#[derive(Args, Clone, Debug)]
pub struct PretrainArgs {
    #[command(flatten)]
    train: TrainArgs,
    /// The objects to learn from, by the hash of their id
    #[arg(long, default_value = "0:0.8", value_name = "FROM:TO")]
    training: Interval,
    /// The objects to choose the best epoch by
    #[arg(long, default_value = "0.8:0.9", value_name = "FROM:TO")]
    validation: Interval,
    /// The fraction of the patches that is masked
    #[arg(long, default_value_t = 0.75)]
    masked: f64,
    /// Passes over the rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// The learning rate at its highest
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
}

/// Learn redshifts, on top of a pretrained encoder or from nothing
#[derive(Args, Clone, Debug)]
pub struct FinetuneArgs {
    #[command(flatten)]
    train: TrainArgs,
    /// A directory that pretraining made
    #[arg(long, value_name = "DIR", value_parser = LocalPath)]
    pretrained: Option<PathBuf>,
    /// A model to go on from, with its architecture and its scales: a directory, or `bundled`
    #[arg(long, value_name = "MODEL", value_parser = LocalPath, conflicts_with_all = ["pretrained", "branches", "preset", "depth", "model_bands", "mags", "px", "dereddening", "learn_preprocess"])]
    from: Option<PathBuf>,
    /// Train a head on the embeddings of the catalog, such as OUT/embeddings of `run --embeddings`: `embedding`, or
    /// `embedding,mags`
    #[arg(long, value_name = "INPUT,INPUT", value_delimiter = ',', value_parser = input, conflicts_with_all = ["pretrained", "from", "encoder", "branches", "preset", "depth", "model_bands", "px", "dereddening", "no_turns"])]
    inputs: Option<Vec<InputName>>,
    /// What becomes of the encoder [default: frozen with --pretrained, tuned with --from, scratch otherwise]
    #[arg(long, value_enum)]
    encoder: Option<EncoderStart>,
    /// What feeds the head
    #[arg(long, value_delimiter = ',', default_value = "encoder,inception,magnitude", value_parser = branch)]
    branches: Vec<Branch>,
    /// The objects to learn from, by the hash of their id
    #[arg(long, default_value = "0.9:0.97", value_name = "FROM:TO")]
    training: Interval,
    /// The objects to choose the best epoch by
    #[arg(long, default_value = "0.97:0.98", value_name = "FROM:TO")]
    validation: Interval,
    /// The objects to score the model on at the end
    #[arg(long, default_value = "0.98:1", value_name = "FROM:TO")]
    test: Interval,
    /// The form of the redshift: quantiles, or a point, one number [default: that of --from, else quantiles]
    #[arg(long, value_enum)]
    head: Option<HeadChoice>,
    /// How an error counts, with --head point [default: mse]; quantiles have the pinball loss of their levels
    #[arg(long, value_enum)]
    loss: Option<LossChoice>,
    /// Where the Huber loss changes from squared to linear, in z
    #[arg(long, default_value_t = 0.02)]
    huber_delta: f64,
    /// Passes over the rows
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// The learning rate at its highest
    #[arg(long, default_value_t = 5e-4)]
    rate: f64,
}

/// What becomes of the encoder in fine-tuning.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncoderStart {
    /// It begins with random weights, and learns.
    Scratch,
    /// It stays as it was pretrained.
    Frozen,
    /// It begins as it was pretrained, and learns.
    Tuned,
}

/// The form of the redshift.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum HeadChoice {
    /// Quantiles at 23 levels, or at those that the model has.
    Quantiles,
    /// One number.
    Point,
}

/// How the error of a redshift counts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LossChoice {
    /// Squared.
    Mse,
    /// Squared while small, linear beyond.
    Huber,
}

fn average(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
    share.ok_or_else(|| "an average keeps a share from 0 to below 1".to_owned())
}

fn input(text: &str) -> Result<InputName, String> {
    let mut known = InputName::ALL.into_iter();
    let found = known.find(|input| input.to_string() == text);
    found.ok_or_else(|| "a head takes embedding, or embedding,mags".to_owned())
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
    fn settings(&self) -> TrainSettings {
        TrainSettings {
            catalog: self.catalog.clone(),
            out: self.out.clone(),
            drops: self.drop.clone(),
            rows: self.rows.settings(),
            preset: self.preset.clone(),
            depth: self.depth,
            shape: Shape {
                bands: self.model_bands.clone(),
                mags: self.mags.clone(),
                cutout_px: self.px,
            },
            dereddening: self.dereddening.clone(),
            name: self.name.clone(),
            learn_preprocess: self.learn_preprocess,
            batch: self.batch,
            warmup_epochs: self.warmup,
            decay: self.decay,
            clip: self.clip,
            average: self.average,
            turn: !self.no_turns,
            patience_epochs: self.patience,
            seed: self.seed,
            state_every_steps: self.state_every,
            device: self.device,
            precision: self.precision,
            threads: self.threads.map(|threads| threads as usize),
            half: self.half,
        }
    }
}

impl PretrainArgs {
    pub(crate) fn settings(&self) -> PretrainSettings {
        PretrainSettings {
            train: self.train.settings(),
            training: self.training,
            validation: self.validation,
            masked: self.masked,
            epochs: self.epochs,
            rate: self.rate,
        }
    }
}

impl FinetuneArgs {
    pub(crate) fn settings(&self) -> Result<FinetuneSettings, Error> {
        use hubbleflow::train;
        let encoder = self.encoder.map(|encoder| match encoder {
            EncoderStart::Scratch => train::EncoderStart::Scratch,
            EncoderStart::Frozen => train::EncoderStart::Frozen,
            EncoderStart::Tuned => train::EncoderStart::Tuned,
        });
        Ok(FinetuneSettings {
            train: self.train.settings(),
            pretrained: self.pretrained.clone(),
            from: self.from.clone().map(bundled::resolve).transpose()?,
            inputs: self.inputs.clone(),
            encoder,
            branches: self.branches.clone(),
            training: self.training,
            validation: self.validation,
            test: self.test,
            head: self.head.map(|head| match head {
                HeadChoice::Quantiles => train::HeadChoice::Quantiles,
                HeadChoice::Point => train::HeadChoice::Point,
            }),
            loss: self.loss.map(|loss| match loss {
                LossChoice::Mse => train::LossChoice::Mse,
                LossChoice::Huber => train::LossChoice::Huber,
            }),
            huber_delta: self.huber_delta,
            epochs: self.epochs,
            rate: self.rate,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use hubbleflow::train::{FinetuneSettings, PretrainSettings};

    use super::{FinetuneArgs, PretrainArgs};

    #[derive(Parser)]
    enum CommandLine {
        Pretrain(PretrainArgs),
        Finetune(FinetuneArgs),
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        for name in ["pretrain", "finetune"] {
            let words = ["train", name, "survey", "--out", "model"];
            let [typed, library] = match CommandLine::parse_from(words) {
                CommandLine::Pretrain(args) => [
                    format!("{:?}", args.settings()),
                    format!("{:?}", PretrainSettings::new("survey", "model")),
                ],
                CommandLine::Finetune(args) => [
                    format!("{:?}", args.settings().unwrap()),
                    format!("{:?}", FinetuneSettings::new("survey", "model")),
                ],
            };
            assert_eq!(typed, library);
        }
    }
}
