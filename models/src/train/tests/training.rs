//! Trainings of small networks: what they learn, stop, continue and write.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Storage;
use crate::config::{Config, EncoderKind, HeadKind, Shape};
use crate::directory::WEIGHTS_FILE;
use crate::error::Error;
use crate::init::{self, Uniform};
use crate::inputs::Inputs;
use crate::layout;
use crate::load::load;
use crate::network::Network;
use crate::precision::Precision;
use crate::preprocess::{CutoutPreprocess, MagPreprocess};
use crate::tensor_file::from_file;
use crate::train::{
    Loss, Objective, Parameters, Schedule, Trainable, Trainer, TrainingRows, pretrained,
};

/// Held by a test that trains: libtorch has one generator of random numbers, which two trainings must not share.
pub(super) fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rows(count: usize, salt: &str) -> TrainingRows {
    rows_for(&small(), count, salt)
}

/// Rows for a network whose magnitudes and cutouts tell the redshift.
fn rows_for(config: &Config, count: usize, salt: &str) -> TrainingRows {
    let of_rule = |name: &str, shape: &[i64]| {
        let (rule, n) = (
            Uniform::new(&format!("{salt}/{name}")),
            shape.iter().product::<i64>(),
        );
        let values: Vec<f32> = (0..n as usize).map(|i| rule.u(i) as f32).collect();
        Tensor::from_slice(&values).reshape(shape)
    };
    let n = count as i64;
    let z_spec = of_rule("z_spec", &[n]) * 0.3;
    let slopes = [3.0f32, 2.0, 1.0, 0.5, 0.2].into_iter().cycle();
    let slopes: Vec<f32> = slopes.take(config.mags().len()).collect();
    let bands = Tensor::from_slice(&slopes);
    let noise = of_rule("mags", &[n, slopes.len() as i64]) * 0.03;
    let mags = z_spec.unsqueeze(1) * bands + 17.0 + noise;
    let bright: Tensor = 1.0 - z_spec.reshape([-1, 1, 1, 1]) * 3.0;
    let galaxy = init::inputs(1, &config.needs()).unwrap().cutouts.unwrap();
    let mut shape = galaxy.size();
    shape[0] = n;
    TrainingRows {
        cutouts: Some(of_rule("noise", &shape) * 0.3 + galaxy * bright),
        mags: Some(mags),
        z_spec: Some(z_spec),
        latents: None,
    }
}

pub(super) fn schedule(epochs: u64) -> Schedule {
    Schedule {
        epochs,
        batch: 16,
        rate: 1e-3,
        warmup: 0.5,
        decay: 0.05,
        clip: 1.0,
        average: 0.9,
        turn: true,
        patience: None,
        seed: 3,
    }
}

fn small() -> Config {
    let mut config = Config::preset("astromae-tiny").unwrap();
    config.encoder.depth = 1;
    config
}

fn trainer(config: Config, objective: Objective, schedule: Schedule) -> Trainer<Config> {
    let mut parameters = Parameters::new(&config, 5, None, |_| true, Device::Cpu).unwrap();
    if config.decoder.is_none() {
        parameters
            .start_at_z_spec(&config, &rows_for(&config, 64, "training"))
            .unwrap();
    }
    let device = (Device::Cpu, Precision::Fp32);
    let rows = [(64, "training"), (32, "validation")];
    let rows = rows.map(|(count, salt)| rows_for(&config, count, salt));
    Trainer::new(config, objective, schedule, parameters, rows, device).unwrap()
}

pub(super) fn regress() -> Objective {
    Objective::Regress { loss: Loss::Mse }
}

pub(super) fn follow(trainer: &mut Trainer<impl Trainable>, until: u64) {
    while !trainer.is_over() && trainer.steps() < until {
        trainer.step().unwrap();
        if trainer.at_epoch_end() {
            trainer.end_epoch().unwrap();
        }
    }
}

pub(super) fn weights(trainer: &Trainer<impl Trainable>, dir: &Path) -> Vec<u8> {
    trainer.save_model(dir, Storage::Fp32).unwrap();
    std::fs::read(dir.join(WEIGHTS_FILE)).unwrap()
}

#[test]
fn a_training_that_was_stopped_ends_at_the_same_weights() {
    let _exclusive = exclusive();
    tch::set_num_threads(1);
    let mut quantiles = small();
    quantiles.head = HeadKind::quantiles();
    for (config, objective) in [
        (small(), regress()),
        (quantiles, regress()),
        (
            small().pretraining(),
            Objective::Reconstruct { masked: 0.75 },
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state.safetensors");
        let mut whole = trainer(config.clone(), objective, schedule(3));
        follow(&mut whole, u64::MAX);
        let mut first = trainer(config.clone(), objective, schedule(3));
        // In the middle of the second epoch.
        follow(&mut first, 6);
        first.save_state(&state).unwrap();
        drop(first);
        let mut second = trainer(config.clone(), objective, schedule(3));
        second.load_state(&state).unwrap();
        assert_eq!(second.steps(), 6);
        follow(&mut second, u64::MAX);
        let [a, b] =
            [("a", &whole), ("b", &second)].map(|(name, t)| weights(t, &dir.path().join(name)));
        assert!(a == b, "{objective:?}");
    }
}

#[test]
fn the_state_of_another_training_is_refused() {
    let _exclusive = exclusive();
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.safetensors");
    let mut one = trainer(small(), regress(), schedule(2));
    one.step().unwrap();
    one.save_state(&state).unwrap();
    let refused = trainer(small(), regress(), schedule(3)).load_state(&state);
    assert!(matches!(refused, Err(Error::State { .. })), "{refused:?}");
}

#[test]
fn redshifts_are_learned() {
    let _exclusive = exclusive();
    let mut trainer = trainer(small(), regress(), schedule(12));
    trainer.step().unwrap();
    let before = rows(32, "validation");
    follow(&mut trainer, u64::MAX);
    let (_, scores) = trainer.best().unwrap();
    let z_spec = before.z_spec.unwrap();
    let variance = z_spec.var(true).double_value(&[]);
    assert!(
        scores.mse.unwrap() < 0.3 * variance,
        "{scores} of variance {variance}"
    );
}

#[test]
fn masked_patches_are_drawn_better_than_their_mean() {
    let _exclusive = exclusive();
    let objective = Objective::Reconstruct { masked: 0.75 };
    let mut config = small().pretraining();
    if let Some(decoder) = &mut config.decoder {
        decoder.depth = 1;
    }
    let mut trainer = trainer(
        config,
        objective,
        Schedule {
            rate: 3e-3,
            ..schedule(40)
        },
    );
    follow(&mut trainer, u64::MAX);
    let cutouts = rows(32, "validation").cutouts.unwrap();
    let variance = cutouts.var(true).double_value(&[]);
    let (_, scores) = trainer.best().unwrap();
    assert!(
        scores.loss < 0.8 * variance,
        "{scores} of variance {variance}"
    );
}

/// Regression: every training was of five bands and 32 pixels.
#[test]
fn networks_of_any_bands_and_sides_are_pretrained_and_fine_tuned() {
    let _exclusive = exclusive();
    let named = |letters: &str| Some(letters.chars().map(String::from).collect());
    let config = small().shaped(&Shape {
        bands: named("griz"),
        mags: named("ri"),
        cutout_px: Some(48),
    });
    let dir = tempfile::tempdir().unwrap();
    let [encoder, model] = ["encoder", "model"].map(|name| dir.path().join(name));
    let objective = Objective::Reconstruct { masked: 0.75 };
    let mut pretraining = trainer(config.pretraining(), objective, schedule(2));
    follow(&mut pretraining, u64::MAX);
    pretraining.save_model(&encoder, Storage::Fp32).unwrap();
    let (of, trunk) = pretrained(&encoder).unwrap();
    assert_eq!((of.bands.len(), of.cutout_px), (4, 48));
    let scale = |rows: &TrainingRows| {
        let cutouts = CutoutPreprocess::asinh_of(rows.cutouts.as_ref().unwrap());
        let mag = MagPreprocess::whiten_of(rows.mags.as_ref().unwrap());
        (cutouts.unwrap(), mag.unwrap())
    };
    let rows = [(64, "training"), (32, "validation")];
    let rows = rows.map(|(count, salt)| rows_for(&config, count, salt));
    let mut config = config;
    (config.preprocess.cutout, config.preprocess.mag) = scale(&rows[0]);
    let mut parameters = Parameters::new(&config, 5, Some(trunk), |_| true, Device::Cpu).unwrap();
    parameters.start_at_z_spec(&config, &rows[0]).unwrap();
    let device = (Device::Cpu, Precision::Fp32);
    let validation = rows_for(&config, 32, "validation");
    let mut training =
        Trainer::new(config, regress(), schedule(12), parameters, rows, device).unwrap();
    follow(&mut training, u64::MAX);
    training.save_model(&model, Storage::Fp32).unwrap();
    let stored = load(&model, Device::Cpu, Precision::Fp32).unwrap();
    let inputs = Inputs {
        cutouts: validation.cutouts,
        mags: validation.mags,
        ..Inputs::default()
    };
    let z_spec = validation.z_spec.unwrap();
    let error = stored.z_phot(&inputs).unwrap() - &z_spec;
    let mse = error.square().mean(Kind::Double).double_value(&[]);
    let variance = z_spec.var(true).double_value(&[]);
    assert!(mse < 0.3 * variance, "{mse} of variance {variance}");
}

#[test]
fn a_frozen_encoder_does_not_change_and_the_rest_learns() {
    let _exclusive = exclusive();
    let config = small();
    let learns = |name: &str| !layout::is_trunk(name);
    let parameters = Parameters::new(&config, 5, None, learns, Device::Cpu).unwrap();
    let before = parameters.tensors().unwrap();
    let rows = [rows(64, "training"), rows(32, "validation")];
    let device = (Device::Cpu, Precision::Fp32);
    let mut trainer =
        Trainer::new(config, regress(), schedule(1), parameters, rows, device).unwrap();
    follow(&mut trainer, u64::MAX);
    let dir = tempfile::tempdir().unwrap();
    trainer.save_model(dir.path(), Storage::Fp32).unwrap();
    let (after, _) = from_file(&dir.path().join(WEIGHTS_FILE)).unwrap();
    for (name, tensor) in before {
        let same = tensor == after[&name];
        assert_eq!(same, layout::is_trunk(&name), "{name}");
    }
}

#[test]
fn the_stored_output_of_a_frozen_encoder_gives_the_same_loss() {
    let _exclusive = exclusive();
    let config = small();
    let learns = |name: &str| !layout::is_trunk(name);
    let parameters = Parameters::new(&config, 5, None, learns, Device::Cpu).unwrap();
    let weights = parameters.checkpoint(Kind::Float).unwrap();
    let network = Network::new(&weights, &config, Kind::Float).unwrap();
    let seen = rows(32, "rows")
        .encoded_by(&network, 5, Device::Cpu)
        .unwrap();
    assert_eq!(seen.latents.as_ref().unwrap().size(), [32, 192]);
    let loss = |rows: &TrainingRows| {
        let loss = regress().loss(&weights, &config, Kind::Float, rows);
        loss.unwrap().double_value(&[])
    };
    let (again, once) = (loss(&rows(32, "rows")), loss(&seen));
    assert!((once / again - 1.0).abs() < 1e-5, "{once}, not {again}");
}

#[test]
fn a_stored_model_predicts_as_well_as_the_training_scored() {
    let _exclusive = exclusive();
    // Magnitudes near 17 are not centred, so the eleven bits of a weight show in the redshift.
    for (storage, allowed) in [(Storage::Fp32, 1e-6), (Storage::Fp16, 0.03)] {
        let mut trainer = trainer(small(), regress(), schedule(2));
        follow(&mut trainer, u64::MAX);
        let dir = tempfile::tempdir().unwrap();
        trainer.save_model(dir.path(), storage).unwrap();
        let validation = rows(32, "validation");
        let stored = trainer.score_model(dir.path(), &validation).unwrap();
        let (_, scored) = trainer.best().unwrap();
        let difference = stored.bias.unwrap() - scored.bias.unwrap();
        assert!(
            difference.abs() < allowed,
            "{storage:?}: {stored}, not {scored}"
        );
        let model = load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        let inputs = Inputs {
            cutouts: validation.cutouts,
            mags: validation.mags,
            ..Inputs::default()
        };
        let error = model.z_phot(&inputs).unwrap() - validation.z_spec.unwrap();
        let mse = error.square().mean(Kind::Double).double_value(&[]);
        assert!(
            (mse / stored.mse.unwrap() - 1.0).abs() < 1e-4,
            "{mse}, not {stored}"
        );
    }
}

#[test]
fn a_pretrained_encoder_predicts_nothing_and_says_so() {
    let _exclusive = exclusive();
    let mut trainer = trainer(
        small().pretraining(),
        Objective::Reconstruct { masked: 0.75 },
        schedule(1),
    );
    follow(&mut trainer, u64::MAX);
    let dir = tempfile::tempdir().unwrap();
    trainer.save_model(dir.path(), Storage::Fp32).unwrap();
    let refused = load(dir.path(), Device::Cpu, Precision::Fp32)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("train finetune"), "{refused}");
    let (config, trunk) = pretrained(dir.path()).unwrap();
    assert_eq!(config.encoder.kind, EncoderKind::Pcm);
    assert!(trunk.tensor("blocks.0.attn.qkv.weight").is_ok());
    assert!(trunk.tensor("decoder_pred.weight").is_err());
}
