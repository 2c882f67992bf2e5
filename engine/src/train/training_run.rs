//! A training: read the rows, begin or go on, take steps, end epochs, write the model.
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use models::{
    Needs, Precision, TRAINING_ROWS_MIN, WEIGHTS_FILE,
    layout::is_trunk,
    train::{Objective, Parameters, Trainable, Trainer, TrainingRows, ValidationScores},
};
use serde::Serialize;
use serde_json::json;

use super::{
    beginning::{Beginning, check_network},
    interval::Interval,
    observer::{StepDone, TrainObserver},
    rows::CatalogRows,
    settings::{EncoderStart, FinetuneSettings, PretrainSettings, TrainSettings},
};
use crate::{Error, SettingsError, StoreOptions, clock::clock, settings::cores};

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
    pub validation: ValidationScores,
    /// Its scores on the test rows, if there are test rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<ValidationScores>,
    /// Rows it learned from.
    pub rows: i64,
    /// Cutouts a second, forward and backward, over the steps of this process but its first.
    pub rows_per_second: f64,
    /// From the start of the training in this process.
    pub seconds: f64,
}

/// Pretrains an encoder.
///
/// # Errors
/// The store's, the model's; [`Error::Settings`] if settings contradict each other.
pub async fn pretrain(
    settings: &PretrainSettings,
    options: &StoreOptions,
    observer: &dyn TrainObserver,
) -> Result<Report, Error> {
    let train = &settings.train;
    if !(settings.masked > 0.0 && settings.masked < 1.0) {
        let masked = settings.masked;
        return Err(SettingsError::Masked { masked }.into());
    }
    let mut config = train.config()?.pretraining();
    check_network(&config)?;
    let run = TrainingRun::prepare(train, observer)?;
    let parts = [settings.training, settings.validation];
    let rows = read(&run, &config, parts, options, false).await?;
    if train.learn_preprocess {
        config.learn_preprocess(&rows[0])?;
    }
    let device = (
        train.device.resolve(0)?,
        train.precision.or(Precision::Fp32),
    );
    let parameters = Parameters::new(&config, train.seed, None, |_| true, device.0)?;
    let objective = Objective::Reconstruct {
        masked: settings.masked,
    };
    let schedule = train.schedule(settings.epochs, settings.rate);
    let trainer = Trainer::new(config, objective, schedule, parameters, rows, device)?;
    run.follow(trainer, None)
}

/// Fine-tunes a network, or trains it from nothing.
///
/// # Errors
/// The store's, the model's; [`Error::Settings`] if settings contradict each other.
pub async fn finetune(
    settings: &FinetuneSettings,
    options: &StoreOptions,
    observer: &dyn TrainObserver,
) -> Result<Report, Error> {
    check(settings)?;
    warn_of_overlaps(settings, observer);
    let run = TrainingRun::prepare(&settings.train, observer)?;
    match Beginning::of_head(settings, options, observer).await? {
        Some(beginning) => run.finetune(settings, beginning, options).await,
        None => {
            let beginning = Beginning::of(settings, observer)?;
            run.finetune(settings, beginning, options).await
        }
    }
}

/// The rows of each part of the objects.
async fn read<const N: usize>(
    run: &TrainingRun<'_>,
    config: &impl Trainable,
    parts: [Interval; N],
    options: &StoreOptions,
    with_z_spec: bool,
) -> Result<[TrainingRows; N], Error> {
    run.observer.reading(true);
    let table = CatalogRows::read(run.settings, config, &parts, options).await?;
    let rows = table.into_rows(parts, with_z_spec);
    run.observer.reading(false);
    rows
}

/// Refuses what contradicts itself.
fn check(settings: &FinetuneSettings) -> Result<(), SettingsError> {
    let begins = settings.pretrained.is_some() || settings.from.is_some();
    match settings.encoder {
        Some(EncoderStart::Tuned) if !begins => Err(SettingsError::NoEncoder),
        Some(EncoderStart::Scratch) if begins => Err(SettingsError::EncoderGiven),
        _ => Ok(()),
    }
}

/// Warns if the model is scored on objects that it learns from.
fn warn_of_overlaps(settings: &FinetuneSettings, observer: &dyn TrainObserver) {
    let parts = [
        ("--training", settings.training),
        ("--validation", settings.validation),
        ("--test", settings.test),
    ];
    for (at, (one, here)) in parts.iter().enumerate() {
        for (other, there) in &parts[at + 1..] {
            if here.overlaps(*there) {
                observer.warn(&format!(
                    "{one} {here} and {other} {there} hold the same objects: scores on the one say less than they seem to"
                ));
            }
        }
    }
}

/// Where a training leaves what it makes.
struct TrainingRun<'a> {
    settings: &'a TrainSettings,
    observer: &'a dyn TrainObserver,
    began: Duration,
    state: PathBuf,
    log: PathBuf,
}

impl<'a> TrainingRun<'a> {
    /// Makes sure that the directory is free, or holds this training's state.
    fn prepare(
        settings: &'a TrainSettings,
        observer: &'a dyn TrainObserver,
    ) -> Result<Self, Error> {
        let run = Self {
            settings,
            observer,
            began: clock(),
            state: settings.out.join("state.safetensors"),
            log: settings.out.join("log.jsonl"),
        };
        if settings.out.join(WEIGHTS_FILE).exists() && !run.state.exists() {
            let out = settings.out.clone();
            return Err(SettingsError::TrainingOver { out }.into());
        }
        models::train::threads(settings.threads.unwrap_or_else(cores));
        Ok(run)
    }

    /// Fine-tunes a network from its beginning.
    async fn finetune<C: Trainable>(
        &self,
        settings: &FinetuneSettings,
        beginning: Beginning<C>,
        options: &StoreOptions,
    ) -> Result<Report, Error> {
        let train = self.settings;
        let Beginning {
            mut config,
            weights,
            encoder,
            has_last_layer,
        } = beginning;
        let parts = [settings.training, settings.validation, settings.test];
        let [training, validation, test] = read(self, &config, parts, options, true).await?;
        let rows = [training, validation];
        if train.learn_preprocess && settings.from.is_none() {
            config.learn_preprocess(&rows[0])?;
            self.warn_of_few_rows(&config.needs(), rows[0].len());
        }
        let device = (
            train.device.resolve(0)?,
            train.precision.or(Precision::Fp32),
        );
        let learns = |name: &str| encoder != EncoderStart::Frozen || !is_trunk(name);
        let mut parameters = Parameters::new(&config, train.seed, weights, learns, device.0)?;
        if !has_last_layer {
            parameters.start_at_z_spec(&config, &rows[0])?;
        }
        let objective = Objective::Regress {
            loss: settings.loss(),
        };
        let schedule = train.schedule(settings.epochs, settings.rate);
        let trainer = Trainer::new(config, objective, schedule, parameters, rows, device)?;
        self.follow(trainer, (!test.is_empty()).then_some(test))
    }

    /// Says what is not learned from too few rows.
    fn warn_of_few_rows(&self, needs: &Needs, rows: i64) {
        let is_learned = needs.mags_required || needs.cutouts.is_some();
        if is_learned && rows < TRAINING_ROWS_MIN {
            self.observer.warn(&format!(
                "{rows} training rows are fewer than {TRAINING_ROWS_MIN}: the model will not say what they are like, so its \
                 predictions get no flag OUTSIDE_TRAINING or FLUX_MISMATCH"
            ));
        }
    }

    /// Goes through the epochs that are left.
    fn follow<C: Trainable>(
        &self,
        mut trainer: Trainer<C>,
        test: Option<TrainingRows>,
    ) -> Result<Report, Error> {
        if self.state.exists() {
            trainer.load_state(&self.state)?;
            self.observer.resumed(trainer.steps());
        }
        std::fs::create_dir_all(&self.settings.out)
            .map_err(|source| Error::io(self.settings.out.display().to_string(), source))?;
        let mut log = Log::open(&self.log)?;
        let [rows, validation_rows] = trainer.rows();
        log.line(&json!({"rows": rows, "validation_rows": validation_rows, "test_rows": test.as_ref().map_or(0, TrainingRows::len), "learning": trainer.learning(),
            "step": trainer.steps(), "steps": trainer.all_steps(), "schedule": trainer.schedule(),
            "config": trainer.config()}))?;
        let pace = self.steps(&mut trainer, &mut log)?;
        trainer.save_model(&self.settings.out, self.settings.storage())?;
        let (epoch, validation) = trainer.best().expect("invariant: an epoch has ended");
        let score = |test: TrainingRows| trainer.score_model(&self.settings.out, &test);
        let test = test.map(score).transpose()?;
        let report = Report {
            model: self.settings.out.clone(),
            epoch,
            validation,
            test,
            rows,
            rows_per_second: pace,
            seconds: (clock() - self.began).as_secs_f64(),
        };
        log.line(&json!({"report": report}))?;
        std::fs::remove_file(&self.state)
            .map_err(|source| Error::io(self.state.display().to_string(), source))?;
        Ok(report)
    }

    /// Takes the steps that are left; returns the rows that were learned from in a second, without the first step, in
    /// which libtorch sets itself up.
    fn steps<C: Trainable>(&self, trainer: &mut Trainer<C>, log: &mut Log) -> Result<f64, Error> {
        let (mut told, mut busy, first) = (clock(), Duration::ZERO, trainer.steps() + 1);
        while !trainer.is_over() {
            let began = clock();
            let step = trainer.step()?;
            if step.step > first {
                busy += clock() - began;
            }
            let pace = self.pace(step.step - first, busy);
            self.observer.stepped(&StepDone {
                step: step.step,
                all_steps: trainer.all_steps(),
                loss: step.loss,
                rows_per_second: pace,
            });
            let epoch_ends = trainer.at_epoch_end();
            if epoch_ends || clock() - told > TELL_EVERY {
                told = clock();
                log.line(&json!({"step": step.step, "loss": step.loss, "rate": step.rate,
                    "gradient": step.gradient, "rows_per_second": pace, "seconds": told.as_secs_f64()}))?;
            }
            if epoch_ends {
                let end = trainer.end_epoch()?;
                log.line(&serde_json::to_value(end).expect("scores are plain data"))?;
                self.observer.epoch_ended(&end, pace);
            }
            if epoch_ends || step.step.is_multiple_of(self.settings.state_every_steps) {
                trainer.save_state(&self.state)?;
            }
        }
        self.observer.end();
        Ok(self.pace(trainer.steps().saturating_sub(first), busy))
    }

    fn pace(&self, steps: u64, busy: Duration) -> f64 {
        (steps as i64 * self.settings.batch) as f64 / busy.as_secs_f64().max(1e-9)
    }
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
