//! Quantile heads: their loss and scores against the reference, and what they learn.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::training::{exclusive, follow, schedule};
use crate::checkpoint::Storage;
use crate::config::{Branch, Config, HeadKind, LEVELS};
use crate::init::Uniform;
use crate::inputs::Inputs;
use crate::load::load;
use crate::precision::Precision;
use crate::quantiles::{outputs_of, quantiles};
use crate::train::pinball::{coverage, crps, pinball};
use crate::train::{Loss, Objective, Parameters, Schedule, Trainer, TrainingRows};

/// The numbers of `models/tests/reference/quantiles.py`.
#[derive(Deserialize)]
struct Reference {
    astromae: Scored,
}

#[derive(Deserialize)]
struct Scored {
    z_quantiles: Vec<Vec<f64>>,
    z_spec: Vec<f64>,
    pinball: f64,
    crps: f64,
    coverage_68: f64,
}

#[test]
fn scores_are_those_of_the_reference() {
    let reference = include_str!("../../../tests/reference/quantiles.json");
    let Reference { astromae: expected } = serde_json::from_str(reference).unwrap();
    let quantiles = Tensor::from_slice(&expected.z_quantiles.concat()).view([4, 23]);
    let z_spec = Tensor::from_slice(&expected.z_spec);
    let loss = pinball(&quantiles, &z_spec, &LEVELS).unwrap();
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-12;
    assert!(near(loss.double_value(&[]), expected.pinball));
    assert!(near(
        crps(&quantiles, &z_spec, &LEVELS).unwrap(),
        expected.crps
    ));
    let covered = |bounds| coverage(&quantiles, &z_spec, &LEVELS, bounds).unwrap();
    assert_eq!(covered([0.16, 0.84]), Some(expected.coverage_68));
    assert_eq!(covered([0.001, 0.84]), None);
    assert_eq!(covered([0.16, 0.999]), None);
}

/// Between two levels the quantile is on the line between theirs.
#[test]
fn a_level_that_a_head_lacks_is_interpolated() {
    let quantiles = Tensor::from_slice(&[0.0f64, 1.0, 2.0]).view([1, 3]);
    let covered = |z_spec: f64, bounds| {
        let z_spec = Tensor::from_slice(&[z_spec]);
        coverage(&quantiles, &z_spec, &[0.1, 0.5, 0.9], bounds).unwrap()
    };
    for (z_spec, part) in [(0.49, 0.0), (0.51, 1.0), (1.49, 1.0), (1.51, 0.0)] {
        assert_eq!(covered(z_spec, [0.3, 0.7]), Some(part), "{z_spec}");
    }
}

#[test]
fn outputs_are_found_for_any_quantiles() {
    let wanted = [-0.1f32, 0.1, 0.15, 0.15001, 0.3, 0.3, 40.0];
    let out = Tensor::from_slice(&outputs_of(&wanted)).view([1, 7]);
    let found = Vec::<f32>::try_from(quantiles(&out).unwrap().flatten(0, -1)).unwrap();
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 5e-4, "{found}, not {wanted}");
    }
}

/// Magnitudes alone, which say the redshift up to an error that grows with it.
fn rows(count: i64, salt: &str) -> TrainingRows {
    let uniform = |name: &str, part: f64| {
        let rule = Uniform::new(&format!("{salt}/{name}"));
        let values: Vec<f32> = (0..count as usize).map(|i| rule.u(i) as f32).collect();
        Tensor::from_slice(&values) - part
    };
    let centre = uniform("z", 0.0);
    // The sum of twelve is nearly normal, of variance one.
    let error = (0..12).map(|n| uniform(&format!("error {n}"), 0.5));
    let error: Tensor = error.reduce(|a, b| a + b).unwrap();
    let spread = &centre * 0.04 + 0.01;
    let slopes = Tensor::from_slice(&[1.0f32, -0.5, 0.7, -0.3, 0.2]);
    TrainingRows {
        mags: Some(centre.unsqueeze(1) * slopes * 2.0 - 0.5),
        z_spec: Some(centre * 0.3 + error * spread),
        ..TrainingRows::default()
    }
}

fn of_magnitudes() -> Config {
    let mut config = Config::preset("astromae-tiny").unwrap();
    config.branches = vec![Branch::Magnitude];
    config.head = HeadKind::quantiles();
    config
}

#[test]
fn coverage_comes_near_its_level_and_the_stored_model_keeps_it() {
    let _exclusive = exclusive();
    tch::set_num_threads(1);
    let (config, device) = (of_magnitudes(), Device::Cpu);
    let mut parameters = Parameters::new(&config, 5, None, |_| true, device).unwrap();
    let [training, validation] = [rows(2048, "training"), rows(2000, "validation")];
    parameters.start_at_z_spec(&config, &training).unwrap();
    let schedule = Schedule {
        batch: 64,
        turn: false,
        average: 0.98,
        ..schedule(10)
    };
    let objective = Objective::Regress { loss: Loss::Mse };
    let on = (device, Precision::Fp32);
    let both = [training, rows(2000, "validation")];
    let mut trainer =
        Trainer::new(config.clone(), objective, schedule, parameters, both, on).unwrap();
    // The first quantiles are those of the training rows.
    let before = trainer.end_epoch().unwrap().validation;
    assert!(
        (before.coverage_68.unwrap() - 0.68).abs() < 0.05,
        "{before}"
    );
    follow(&mut trainer, u64::MAX);
    let (_, scores) = trainer.best().unwrap();
    assert!(
        (scores.coverage_68.unwrap() - 0.68).abs() < 0.05,
        "{scores}"
    );
    // The error of a galaxy is a tenth to a half of the spread of all.
    assert!(
        scores.crps.unwrap() < 0.4 * before.crps.unwrap(),
        "{scores}, not {before}"
    );
    let dir = tempfile::tempdir().unwrap();
    trainer.save_model(dir.path(), Storage::Fp32).unwrap();
    let model = load(dir.path(), device, Precision::Fp32).unwrap();
    let inputs = Inputs {
        mags: validation.mags,
        ..Inputs::default()
    };
    let quantiles = &model.forward(&inputs, &config.head.outputs()).unwrap()[1];
    let z_spec = validation.z_spec.unwrap();
    let stored = coverage(quantiles, &z_spec, &LEVELS, [0.16, 0.84]).unwrap();
    assert!((stored.unwrap() - scores.coverage_68.unwrap()).abs() < 2e-3);
    let stored = pinball(quantiles, &z_spec, &LEVELS).unwrap();
    let stored = stored.mean(Kind::Double).double_value(&[]);
    assert!(
        (stored / scores.loss - 1.0).abs() < 1e-4,
        "{stored}, not {scores}"
    );
    // An object of larger error has a wider interval.
    let width: Tensor = quantiles.select(1, 18) - quantiles.select(1, 4);
    let faint = z_spec.gt(0.2).to_kind(Kind::Float);
    let mean = |of: &Tensor| (&width * of).sum(Kind::Double) / of.sum(Kind::Double);
    let ratio = mean(&faint) / mean(&(1.0 - &faint));
    assert!(ratio.double_value(&[]) > 1.5, "{ratio:?}");
}
