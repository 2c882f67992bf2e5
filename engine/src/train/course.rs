//! The course of a training: read, begin or go on, steps and epochs, and the model that comes of it.
use std::{
    fs::{File, OpenOptions},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use models::{
    Branch, Checkpoint, Config, Needs, Precision, WEIGHTS_FILE,
    layout::is_trunk,
    preprocess::{CutoutPreprocess, MagPreprocess},
    train::{EpochEnd, Objective, Parameters, Rows, Scores, Trainer},
};
use serde::Serialize;
use serde_json::json;

use super::{
    rows::Table,
    settings::{EncoderStart, FinetuneArgs, Interval, PretrainArgs, TrainArgs},
};
use crate::{Error, bundled, clock::clock, console::tell, job::StoreOptions, job::cores, memory};

/// How often a log is told of steps.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What a training came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where the model is.
    pub model: PathBuf,
    /// The epoch it is of.
    pub epoch: u64,
    /// Its scores on the validation rows.
    pub validation: Scores,
    /// Its scores on the test rows, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Scores>,
    /// Rows it learned from.
    pub rows: i64,
    /// Cutouts a second, forward and backward, over the steps of this process but its first.
    pub rows_per_second: f64,
    /// From the start of the process.
    pub seconds: f64,
}

/// Pretrains an encoder.
///
/// # Errors
/// The store's, the model's; [`Error::Usage`] where settings contradict each other.
pub async fn pretrain(args: &PretrainArgs, options: &StoreOptions) -> Result<Report, Error> {
    let train = &args.train;
    if !(args.masked > 0.0 && args.masked < 1.0) {
        return Err(Error::Usage(format!(
            "--masked {} is not between 0 and 1",
            args.masked
        )));
    }
    let mut config = train.config().pretraining();
    let needs = Needs {
        cutouts: true,
        mags: false,
    };
    let course = Course::prepare(train)?;
    let parts = [args.training, args.validation];
    let rows = read(train, needs, config.cutout_px, parts, options, false).await?;
    learn_preprocess(&mut config, train, &rows[0])?;
    let device = (
        train.device.resolve(0)?,
        train.precision.or(Precision::Fp32),
    );
    let parameters = Parameters::new(&config, train.seed, None, |_| true, device.0)?;
    let objective = Objective::Reconstruct {
        masked: args.masked,
    };
    let schedule = train.schedule(args.epochs, args.rate);
    let trainer = Trainer::new(config, objective, schedule, parameters, rows, device)?;
    course.follow(trainer, None)
}

/// Fine-tunes a network, or trains it from nothing.
///
/// # Errors
/// The store's, the model's; [`Error::Usage`] where settings contradict each other.
pub async fn finetune(args: &FinetuneArgs, options: &StoreOptions) -> Result<Report, Error> {
    check(args)?;
    warn_of_overlaps(args);
    let train = &args.train;
    let Beginning {
        mut config,
        weights,
        encoder,
    } = Beginning::of(args)?;
    let needs = Needs {
        cutouts: config.has(Branch::Encoder) || config.has(Branch::Inception),
        mags: config.has(Branch::Magnitude),
    };
    let course = Course::prepare(train)?;
    let parts = [args.training, args.validation, args.test];
    let [training, validation, test] =
        read(train, needs, config.cutout_px, parts, options, true).await?;
    let rows = [training, validation];
    learn_preprocess(&mut config, train, &rows[0])?;
    let device = (
        train.device.resolve(0)?,
        train.precision.or(Precision::Fp32),
    );
    let learns = |name: &str| encoder != EncoderStart::Frozen || !is_trunk(name);
    let mut parameters = Parameters::new(&config, train.seed, weights, learns, device.0)?;
    if args.from.is_none() {
        parameters.start_at_mean(&config, &rows[0])?;
    }
    let objective = Objective::Regress { loss: args.loss() };
    let schedule = train.schedule(args.epochs, args.rate);
    let trainer = Trainer::new(config, objective, schedule, parameters, rows, device)?;
    course.follow(trainer, (!test.is_empty()).then_some(test))
}

/// The rows of each part of the objects.
async fn read<const N: usize>(
    args: &TrainArgs,
    needs: Needs,
    cutout_px: usize,
    parts: [Interval; N],
    options: &StoreOptions,
    with_z_spec: bool,
) -> Result<[Rows; N], Error> {
    memory::give_back_while_reading(true);
    let table = Table::read(args, needs, cutout_px, &parts, options).await?;
    let rows = table.into_rows(parts, with_z_spec);
    memory::give_back_while_reading(false);
    rows
}

/// What a fine-tuning begins with.
struct Beginning {
    config: Config,
    /// Those that are not random.
    weights: Option<Checkpoint>,
    encoder: EncoderStart,
}

impl Beginning {
    fn of(args: &FinetuneArgs) -> Result<Self, Error> {
        if let Some(dir) = &args.from {
            let (mut config, weights) = models::train::trained(&bundled::resolve(dir.clone())?)?;
            if let Some(name) = &args.train.name {
                config.name.clone_from(name);
            }
            return Ok(Self {
                config,
                weights: Some(weights),
                encoder: args.encoder.unwrap_or(EncoderStart::Tuned),
            });
        }
        let mut config = args.train.config();
        config.branches.clone_from(&args.branches);
        let Some(dir) = &args.pretrained else {
            // Frozen without a pretrained one too: random and frozen is what pretraining is compared with.
            return Ok(Self {
                config,
                weights: None,
                encoder: args.encoder.unwrap_or(EncoderStart::Scratch),
            });
        };
        let (of, trunk) = models::train::pretrained(dir)?;
        config.encoder = of.encoder;
        config.cutout_px = of.cutout_px;
        config.preprocess.cutout = of.preprocess.cutout;
        Ok(Self {
            config,
            weights: Some(trunk),
            encoder: args.encoder.unwrap_or(EncoderStart::Frozen),
        })
    }
}

/// Refuses what contradicts itself.
fn check(args: &FinetuneArgs) -> Result<(), Error> {
    let begins = args.pretrained.is_some() || args.from.is_some();
    match args.encoder {
        Some(EncoderStart::Tuned) if !begins => Err(Error::Usage(
            "--encoder tuned needs --pretrained DIR, the encoder to begin with, or --from MODEL"
                .to_owned(),
        )),
        Some(EncoderStart::Scratch) if begins => Err(Error::Usage(
            "--encoder scratch begins with random weights: leave --pretrained and --from out"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Warns where objects that are learned from are scored on too.
fn warn_of_overlaps(args: &FinetuneArgs) {
    let parts = [
        ("--training", args.training),
        ("--validation", args.validation),
        ("--test", args.test),
    ];
    for (at, (one, here)) in parts.iter().enumerate() {
        for (other, there) in &parts[at + 1..] {
            if here.overlaps(*there) {
                tell(format_args!(
                    "warning: {one} {here} and {other} {there} hold the same objects: scores on the one say less than they seem to"
                ));
            }
        }
    }
}

/// Learns the scales of inputs from the training rows, where that is asked for and not settled by a pretrained encoder.
fn learn_preprocess(config: &mut Config, args: &TrainArgs, rows: &Rows) -> Result<(), Error> {
    if !args.learn_preprocess {
        return Ok(());
    }
    let settled = config.preprocess.cutout != (CutoutPreprocess::Identity {});
    if let Some(cutouts) = rows.cutouts.as_ref().filter(|_| !settled) {
        config.preprocess.cutout =
            CutoutPreprocess::asinh_of(cutouts).map_err(models::Error::from)?;
    }
    if let Some(mags) = &rows.mags {
        config.preprocess.mag = MagPreprocess::whiten_of(mags).map_err(models::Error::from)?;
    }
    Ok(())
}

/// Where a training leaves what it makes.
struct Course<'a> {
    args: &'a TrainArgs,
    state: PathBuf,
    log: PathBuf,
}

impl<'a> Course<'a> {
    /// Makes sure that the directory is free, or holds this training's state.
    fn prepare(args: &'a TrainArgs) -> Result<Self, Error> {
        let course = Self {
            args,
            state: args.out.join("state.safetensors"),
            log: args.out.join("log.jsonl"),
        };
        if args.out.join(WEIGHTS_FILE).exists() && !course.state.exists() {
            return Err(Error::Usage(format!(
                "{}: holds a model whose training is over; choose another --out",
                args.out.display()
            )));
        }
        models::train::threads(args.threads.map_or_else(cores, |threads| threads as usize));
        Ok(course)
    }

    /// Goes through the epochs that are left.
    fn follow(&self, mut trainer: Trainer, test: Option<Rows>) -> Result<Report, Error> {
        if self.state.exists() {
            trainer.load_state(&self.state)?;
            tell(format_args!("going on after step {}", trainer.steps()));
        }
        std::fs::create_dir_all(&self.args.out)
            .map_err(|source| Error::io(self.args.out.display().to_string(), source))?;
        let mut log = Log::open(&self.log)?;
        let [rows, validation_rows] = trainer.rows();
        log.line(&json!({"rows": rows, "validation_rows": validation_rows, "test_rows": test.as_ref().map_or(0, Rows::len), "learning": trainer.learning(),
            "step": trainer.steps(), "steps": trainer.all_steps(), "schedule": trainer.schedule(),
            "config": trainer.config()}))?;
        let pace = self.steps(&mut trainer, &mut log)?;
        trainer.save_model(&self.args.out, self.args.storage())?;
        let (epoch, validation) = trainer.best().expect("invariant: an epoch has ended");
        let score = |test: Rows| trainer.score_model(&self.args.out, &test);
        let test = test.map(score).transpose()?;
        let report = Report {
            model: self.args.out.clone(),
            epoch,
            validation,
            test,
            rows,
            rows_per_second: pace,
            seconds: clock().as_secs_f64(),
        };
        log.line(&json!({"report": report}))?;
        std::fs::remove_file(&self.state)
            .map_err(|source| Error::io(self.state.display().to_string(), source))?;
        Ok(report)
    }

    /// Takes the steps that are left; returns the rows that were learned from in a second, without the first step, in
    /// which libtorch sets itself up.
    fn steps(&self, trainer: &mut Trainer, log: &mut Log) -> Result<f64, Error> {
        let bar = bar(trainer);
        let (mut told, mut busy, first) = (clock(), Duration::ZERO, trainer.steps() + 1);
        while !trainer.is_over() {
            let began = clock();
            let step = trainer.step()?;
            if step.step > first {
                busy += clock() - began;
            }
            let pace = self.pace(step.step - first, busy);
            bar.set_position(step.step);
            bar.set_message(format!("loss {:.3e}, {pace:.0} rows/s", step.loss));
            let epoch_ends = trainer.at_epoch_end();
            if epoch_ends || clock() - told > TELL_EVERY {
                told = clock();
                log.line(&json!({"step": step.step, "loss": step.loss, "rate": step.rate,
                    "gradient": step.gradient, "rows_per_second": pace, "seconds": told.as_secs_f64()}))?;
            }
            if epoch_ends {
                let end = trainer.end_epoch()?;
                log.line(&serde_json::to_value(end).expect("scores are plain data"))?;
                bar.suspend(|| tell(describe(&end, pace)));
            }
            if epoch_ends || step.step.is_multiple_of(self.args.state_every) {
                trainer.save_state(&self.state)?;
            }
        }
        bar.finish_and_clear();
        Ok(self.pace(trainer.steps().saturating_sub(first), busy))
    }

    fn pace(&self, steps: u64, busy: Duration) -> f64 {
        (steps as i64 * self.args.batch) as f64 / busy.as_secs_f64().max(1e-9)
    }
}

fn bar(trainer: &Trainer) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(trainer.all_steps()), target);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {msg}, {eta} left");
    bar.set_style(style.expect("the template of the bar is well formed"));
    bar
}

fn describe(end: &EpochEnd, pace: f64) -> String {
    let EpochEnd {
        epoch,
        validation,
        best,
        ..
    } = end;
    let mark = if *best { ", the best so far" } else { "" };
    format!("epoch {epoch}: {validation}, {pace:.0} rows/s{mark}")
}

/// A file of JSON lines.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| Error::io(path.display().to_string(), source))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    fn line(&mut self, value: &serde_json::Value) -> Result<(), Error> {
        writeln!(self.file, "{value}")
            .map_err(|source| Error::io(self.path.display().to_string(), source))
    }
}
