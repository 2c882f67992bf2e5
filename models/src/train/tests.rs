//! Losses and gradients against the reference in PyTorch, `models/tests/reference`, on weights that follow a rule.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::mae::MaskedAutoencoder;
use super::*;
use crate::checkpoint::{Checkpoint, Storage};
use crate::config::EncoderKind;
use crate::device::Precision;
use crate::init::{self, Uniform};
use crate::network::Network;

/// What the reference computed, in float64.
#[derive(Deserialize)]
struct Digest {
    loss: f64,
    /// Of each tensor's gradient the largest magnitude, and the product with the probe of its name.
    gradients: BTreeMap<String, [f64; 2]>,
}

fn digests() -> BTreeMap<String, Digest> {
    serde_json::from_str(include_str!("../../tests/reference/gradients.json")).unwrap()
}

fn config(encoder: &str) -> Config {
    let (preset, depth) = match encoder {
        "pcm_k1" => ("astromae", 12),
        "pcm_k3" => ("astromae-pcm3", 2),
        _ => ("astromae-plain", 2),
    };
    let mut config = Config::preset(preset).unwrap();
    config.encoder.depth = depth;
    config
}

/// Weights by the rule, all of them learning.
fn parameters(config: &Config) -> Parameters {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    let directory = Directory::read(dir.path()).unwrap();
    let path = &directory.weights_path;
    let weights = Checkpoint::parse(path, &directory.weights, config).unwrap();
    Parameters::new(config, 0, Some(weights), |_| true, Device::Cpu).unwrap()
}

fn compare(name: &str, parameters: &Parameters, loss: &Tensor) {
    let expected = &digests()[name];
    let largest_of_all = expected
        .gradients
        .values()
        .map(|[scale, _]| *scale)
        .fold(0.0, f64::max);
    let found = loss.double_value(&[]);
    assert!(
        (found / expected.loss - 1.0).abs() < 1e-5,
        "{name}: loss {found}, not {}",
        expected.loss
    );
    let gradients = parameters.gradients_by_name(loss).unwrap();
    let names = |of: Vec<&String>| of.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(gradients.keys().collect()),
        names(expected.gradients.keys().collect())
    );
    for (tensor, [scale, product]) in &expected.gradients {
        let gradient = gradients[tensor].to_kind(Kind::Double).flatten(0, -1);
        let rule = Uniform::new(&format!("probe/{tensor}"));
        let probe: Vec<f64> = (0..gradient.numel()).map(|i| rule.s(i)).collect();
        // A bias before a batch normalisation has no gradient but the rounding of the others'.
        let allowed = 1e-4 * scale.max(1e-3 * largest_of_all);
        let largest = gradient.abs().max().double_value(&[]);
        assert!(
            (largest - scale).abs() < allowed,
            "{name}: {tensor}: {largest}, not {scale}"
        );
        let found = gradient.dot(&Tensor::from_slice(&probe)).double_value(&[]);
        let spread = allowed * (gradient.numel() as f64).sqrt();
        assert!(
            (found - product).abs() < spread,
            "{name}: {tensor}: {found}, not {product}"
        );
    }
}

#[test]
fn fine_tuning_follows_the_gradient_of_the_reference() {
    for encoder in ["pcm_k1", "pcm_k3", "plain"] {
        let config = config(encoder);
        let parameters = parameters(&config);
        let inputs = init::inputs(4, 32).unwrap();
        let network = parameters.checkpoint(Kind::Float).unwrap();
        let network = Network::new(&network, &config, Kind::Float).unwrap();
        let taps = network
            .forward(inputs.cutouts.as_ref(), inputs.mags.as_ref())
            .unwrap();
        let z_spec = Tensor::from_slice(&[0.05f32, 0.1, 0.15, 0.2]);
        let loss = taps.z_phot.mse_loss(&z_spec, tch::Reduction::Mean);
        compare(&format!("finetune_{encoder}"), &parameters, &loss);
    }
}

#[test]
fn pretraining_follows_the_gradient_of_the_reference() {
    for encoder in ["pcm_k1", "pcm_k3", "plain"] {
        let config = config(encoder).pretraining();
        let parameters = parameters(&config);
        let inputs = init::inputs(4, 32).unwrap();
        let rule = Uniform::new("order");
        let places: Vec<f64> = (0..4 * 16).map(|i| rule.u(i)).collect();
        let order = Tensor::from_slice(&places)
            .reshape([4, 16])
            .argsort(1, false);
        let weights = parameters.checkpoint(Kind::Float).unwrap();
        let decoder = config.decoder.as_ref().unwrap();
        let network = MaskedAutoencoder::new(&weights, &config, decoder, Kind::Float).unwrap();
        let loss = network.loss(&inputs.cutouts.unwrap(), &order, 4).unwrap();
        compare(&format!("pretrain_{encoder}"), &parameters, &loss);
    }
}

/// libtorch has one source of random numbers: a training that shares it is not the one its seed tells.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows whose redshift can be read off the magnitudes and the cutouts.
fn rows(count: usize, salt: &str) -> Rows {
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
    let bands = Tensor::from_slice(&[3.0f32, 2.0, 1.0, 0.5, 0.2]);
    let mags = z_spec.unsqueeze(1) * bands + 17.0 + of_rule("mags", &[n, 5]) * 0.03;
    let bright: Tensor = 1.0 - z_spec.reshape([-1, 1, 1, 1]) * 3.0;
    let galaxy = init::inputs(1, 32).unwrap().cutouts.unwrap();
    Rows {
        cutouts: Some(of_rule("noise", &[n, 5, 32, 32]) * 0.3 + galaxy * bright),
        mags: Some(mags),
        z_spec: Some(z_spec),
        latents: None,
    }
}

fn schedule(epochs: u64) -> Schedule {
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

fn trainer(config: Config, objective: Objective, schedule: Schedule) -> Trainer {
    let mut parameters = Parameters::new(&config, 5, None, |_| true, Device::Cpu).unwrap();
    if config.decoder.is_none() {
        parameters
            .start_at_mean(&config, &rows(64, "training"))
            .unwrap();
    }
    let device = (Device::Cpu, Precision::Fp32);
    let rows = [rows(64, "training"), rows(32, "validation")];
    Trainer::new(config, objective, schedule, parameters, rows, device).unwrap()
}

fn regress() -> Objective {
    Objective::Regress { loss: Loss::Mse }
}

fn follow(trainer: &mut Trainer, until: u64) {
    while !trainer.is_over() && trainer.steps() < until {
        trainer.step().unwrap();
        if trainer.at_epoch_end() {
            trainer.end_epoch().unwrap();
        }
    }
}

fn weights(trainer: &Trainer, dir: &Path) -> Vec<u8> {
    trainer.save_model(dir, Storage::Fp32).unwrap();
    std::fs::read(dir.join(crate::WEIGHTS_FILE)).unwrap()
}

#[test]
fn a_training_that_goes_on_ends_where_one_that_never_stopped_does() {
    let _alone = alone();
    tch::set_num_threads(1);
    for (config, objective) in [
        (small(), regress()),
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
    let _alone = alone();
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
    let _alone = alone();
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
fn masked_patches_are_drawn_better_than_by_their_mean() {
    let _alone = alone();
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

#[test]
fn a_frozen_encoder_stays_as_it_is_and_the_rest_learns() {
    let _alone = alone();
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
    let (after, _) = crate::checkpoint::from_file(&dir.path().join(crate::WEIGHTS_FILE)).unwrap();
    for (name, tensor) in before {
        let same = tensor == after[&name];
        assert_eq!(same, layout::is_trunk(&name), "{name}");
    }
}

#[test]
fn what_a_frozen_encoder_saw_once_it_would_see_again() {
    let _alone = alone();
    let config = small();
    let learns = |name: &str| !layout::is_trunk(name);
    let parameters = Parameters::new(&config, 5, None, learns, Device::Cpu).unwrap();
    let weights = parameters.checkpoint(Kind::Float).unwrap();
    let network = Network::new(&weights, &config, Kind::Float).unwrap();
    let seen = rows(32, "rows").seen_by(&network, 5, Device::Cpu).unwrap();
    assert_eq!(seen.latents.as_ref().unwrap().size(), [32, 192]);
    let loss = |rows: &Rows| {
        let loss = regress().loss(&weights, &config, Kind::Float, rows);
        loss.unwrap().double_value(&[])
    };
    let (again, once) = (loss(&rows(32, "rows")), loss(&seen));
    assert!((once / again - 1.0).abs() < 1e-5, "{once}, not {again}");
}

#[test]
fn a_stored_model_predicts_what_the_training_scored() {
    let _alone = alone();
    // Magnitudes near 17, not centred: the eleven bits of a weight show in the redshift.
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
        let model = crate::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        let inputs = crate::Inputs {
            cutouts: validation.cutouts,
            mags: validation.mags,
        };
        let error = model.forward(&inputs).unwrap() - validation.z_spec.unwrap();
        let mse = error.square().mean(Kind::Double).double_value(&[]);
        assert!(
            (mse / stored.mse.unwrap() - 1.0).abs() < 1e-4,
            "{mse}, not {stored}"
        );
    }
}

#[test]
fn a_pretrained_encoder_predicts_nothing_and_says_so() {
    let _alone = alone();
    let mut trainer = trainer(
        small().pretraining(),
        Objective::Reconstruct { masked: 0.75 },
        schedule(1),
    );
    follow(&mut trainer, u64::MAX);
    let dir = tempfile::tempdir().unwrap();
    trainer.save_model(dir.path(), Storage::Fp32).unwrap();
    let refused = crate::load(dir.path(), Device::Cpu, Precision::Fp32)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("train finetune"), "{refused}");
    let (config, trunk) = pretrained(dir.path()).unwrap();
    assert_eq!(config.encoder.kind, EncoderKind::Pcm);
    assert!(trunk.tensor("blocks.0.attn.qkv.weight").is_ok());
    assert!(trunk.tensor("decoder_pred.weight").is_err());
}
