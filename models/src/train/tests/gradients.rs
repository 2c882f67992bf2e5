//! Losses and gradients against the reference in PyTorch, `models/tests/reference`, with weights that follow a rule.

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, HeadKind};
use crate::directory::Directory;
use crate::init::{self, Uniform};
use crate::network::Network;
use crate::train::mae::MaskedAutoencoder;
use crate::train::{Loss, Objective, Parameters, TrainingRows};

/// The results of the reference, in float64.
#[derive(Deserialize)]
struct Digest {
    loss: f64,
    /// For each tensor, the largest magnitude of its gradient, and the product of its gradient with the probe of its name.
    gradients: BTreeMap<String, [f64; 2]>,
}

fn digests() -> BTreeMap<String, Digest> {
    serde_json::from_str(include_str!("../../../tests/reference/gradients.json")).unwrap()
}

fn config(encoder: &str) -> Config {
    // Several threads round sums in another order, and a gradient of zero is what rounding leaves.
    crate::single_threaded();
    let (preset, depth) = match encoder {
        "pcm_k1" => ("astromae", 12),
        "pcm_k3" => ("astromae-pcm3", 2),
        _ => ("astromae-plain", 2),
    };
    let mut config = Config::preset(preset).unwrap();
    config.encoder.depth = depth;
    config
}

/// Weights by the rule of [`init`], all of which learn.
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
        // The gradient of a bias before a batch normalisation is zero, except for rounding.
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
        let inputs = init::inputs(4, &config.needs()).unwrap();
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
fn quantiles_follow_the_gradient_of_the_reference() {
    let mut config = config("pcm_k1");
    (config.encoder.depth, config.head) = (2, HeadKind::quantiles());
    let parameters = parameters(&config);
    let inputs = init::inputs(4, &config.needs()).unwrap();
    let rows = TrainingRows {
        cutouts: inputs.cutouts,
        mags: inputs.mags,
        z_spec: Some(Tensor::from_slice(&[0.05f32, 0.1, 0.15, 0.2])),
        ..TrainingRows::default()
    };
    let weights = parameters.checkpoint(Kind::Float).unwrap();
    // The head chooses the loss.
    let objective = Objective::Regress { loss: Loss::Mse };
    let loss = objective.loss(&weights, &config, Kind::Float, &rows);
    compare("finetune_quantiles", &parameters, &loss.unwrap());
}

#[test]
fn pretraining_follows_the_gradient_of_the_reference() {
    for encoder in ["pcm_k1", "pcm_k3", "plain"] {
        let config = config(encoder).pretraining();
        let parameters = parameters(&config);
        let inputs = init::inputs(4, &config.needs()).unwrap();
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
