//! Quantiles against those of the reference in PyTorch, `models/tests/reference/quantiles.py`.

use hubbleflow_models::config::HeadKind;
use hubbleflow_models::{
    AstroMae, Config, InstructionSet, Model, ModelOutput, Precision, init, load_with,
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

#[derive(Deserialize)]
struct Reference {
    astromae: Quantiles,
}

#[derive(Deserialize)]
struct Quantiles {
    z_quantiles: Vec<Vec<f64>>,
}

/// Asserts that quantiles and medians are those of the reference, to a fraction of their largest magnitude.
fn assert_near(found: &Tensor, medians: &Tensor, allowed: f64) {
    let reference = include_str!("../reference/quantiles.json");
    let Reference { astromae } = serde_json::from_str(reference).unwrap();
    let expected: Vec<f64> = astromae.z_quantiles.concat();
    let expected = Tensor::from_slice(&expected).view([4, 23]);
    let off = (found.to_kind(Kind::Double) - &expected).abs();
    let (off, scale) = (off.max(), expected.abs().max());
    let (off, scale) = (off.double_value(&[]), scale.double_value(&[]));
    assert!(off < allowed * scale, "{off:e} of {scale}");
    assert_eq!(*medians, found.select(1, 11));
}

#[test]
fn quantiles_are_those_of_the_reference() {
    let mut config = Config::preset("astromae-tiny").unwrap();
    config.head = HeadKind::quantiles();
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), &config, "").unwrap();
    let plain = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let inputs = init::inputs(4, plain.needs()).unwrap();
    let taps = plain.taps(&inputs).unwrap();
    assert_near(&taps.z_quantiles.unwrap(), &taps.z_phot, 1e-5);
    let sets = InstructionSet::ALL.into_iter();
    for set in sets.filter(|set| set.is_available()) {
        for (precision, allowed) in [(Precision::Fp32, 1e-5), (Precision::Bf16, 0.02)] {
            let model = load_with(dir.path(), Device::Cpu, precision, set).unwrap();
            let [
                ModelOutput::ZPhot,
                quantiles @ ModelOutput::ZQuantiles { .. },
                _embedding,
            ] = model.outputs()
            else {
                panic!("{:?}", model.outputs())
            };
            let wanted = [quantiles.clone(), ModelOutput::ZPhot];
            let predicted = model.forward(&inputs, &wanted).unwrap();
            assert_near(&predicted[0], &predicted[1], allowed);
        }
    }
}
