//! Trainings of heads on embeddings.

use tch::{Device, Kind, Tensor};

use super::training::{exclusive, follow, regress, schedule, weights};
use crate::checkpoint::Storage;
use crate::head::HeadConfig;
use crate::init::Uniform;
use crate::inputs::Inputs;
use crate::load::load;
use crate::precision::Precision;
use crate::train::{Parameters, Trainable, Trainer, TrainingRows, trained_head};

const WIDTH: usize = 6;

/// Embeddings, far from zero and of different scales, that tell the redshift, and magnitudes that tell it too.
fn rows(count: i64, salt: &str) -> TrainingRows {
    let random = |name: &str, shape: &[i64]| {
        let rule = Uniform::new(&format!("{salt}/{name}"));
        let n: i64 = shape.iter().product();
        let values: Vec<f32> = (0..n as usize).map(|i| rule.u(i) as f32).collect();
        Tensor::from_slice(&values).reshape(shape)
    };
    let z_spec = random("z_spec", &[count]) * 0.3;
    let slopes = Tensor::from_slice(&[30f32, -0.2, 1.0, 0.0, 4.0, -9.0]);
    let noise = random("embedding", &[count, WIDTH as i64]) * 0.02;
    let embeddings = z_spec.unsqueeze(1) * slopes + 5.0 + noise;
    let mags = z_spec.unsqueeze(1) * Tensor::from_slice(&[3f32, 1.0]) + 17.0;
    TrainingRows {
        mags: Some(mags + random("mags", &[count, 2]) * 0.03),
        z_spec: Some(z_spec),
        latents: Some(embeddings),
        ..TrainingRows::default()
    }
}

fn head(mags: &[&str]) -> HeadConfig {
    let mags: Vec<String> = mags.iter().map(|band| (*band).to_owned()).collect();
    let mut config = HeadConfig::new("a head", WIDTH, &mags).unwrap();
    config.hidden = vec![32, 16];
    config.learn_preprocess(&rows(64, "training")).unwrap();
    config
}

fn trainer(config: HeadConfig) -> Trainer<HeadConfig> {
    let rows = [rows(64, "training"), rows(32, "validation")];
    let mut parameters = Parameters::new(&config, 5, None, |_| true, Device::Cpu).unwrap();
    parameters.start_at_z_spec(&config, &rows[0]).unwrap();
    let on = (Device::Cpu, Precision::Fp32);
    Trainer::new(config, regress(), schedule(80), parameters, rows, on).unwrap()
}

#[test]
fn a_head_learns_and_predicts_what_the_training_scored() {
    let _exclusive = exclusive();
    tch::set_num_threads(1);
    for (mags, allowed) in [(&["g", "r"][..], 0.1), (&[], 0.1)] {
        let mut trainer = trainer(head(mags));
        follow(&mut trainer, u64::MAX);
        let dir = tempfile::tempdir().unwrap();
        trainer.save_model(dir.path(), Storage::Fp32).unwrap();
        let unseen = rows(200, "unseen");
        let scored = trainer.score_model(dir.path(), &unseen).unwrap();
        let model = load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        let inputs = Inputs {
            embeddings: unseen.latents,
            mags: unseen.mags,
            ..Inputs::default()
        };
        let z_spec = unseen.z_spec.unwrap();
        let error = model.z_phot(&inputs).unwrap() - &z_spec;
        let mse = error.square().mean(Kind::Double).double_value(&[]);
        let ratio = mse / scored.mse.unwrap();
        assert!((ratio - 1.0).abs() < 1e-3, "{mse}, not {scored}");
        let variance = z_spec.var(true).double_value(&[]);
        assert!(mse < allowed * variance, "{mse} of variance {variance}");
        let (config, _) = trained_head(dir.path()).unwrap();
        assert_eq!(config.inputs, trainer.config().inputs);
    }
}

#[test]
fn the_training_of_a_head_that_was_stopped_ends_at_the_same_weights() {
    let _exclusive = exclusive();
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.safetensors");
    let mut whole = trainer(head(&["g", "r"]));
    follow(&mut whole, u64::MAX);
    let mut first = trainer(head(&["g", "r"]));
    // In the middle of the second epoch.
    follow(&mut first, 6);
    first.save_state(&state).unwrap();
    drop(first);
    let mut second = trainer(head(&["g", "r"]));
    second.load_state(&state).unwrap();
    assert_eq!(second.steps(), 6);
    follow(&mut second, u64::MAX);
    let [a, b] =
        [("a", &whole), ("b", &second)].map(|(name, t)| weights(t, &dir.path().join(name)));
    assert!(a == b);
    // The state of a head with other inputs is refused.
    assert!(trainer(head(&[])).load_state(&state).is_err());
}
