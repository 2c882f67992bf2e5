//! AstroMAE against the reference implementation: every activation, with weights that follow a rule.
//!
//! The expected numbers are float64 outputs of the public Python network, with the weights of [`hubbleflow_models::init`]
//! (salt "") on the batch of [`hubbleflow_models::init::inputs`]. For each activation they are the sum of its magnitudes, and
//! elements spread over it. The network here computes in float32. It may differ by 1e-5 of the activation's largest
//! element. The folded network, which predicts, has no activations but the redshift and the embedding; they are held to the
//! same on every instruction set.

#![allow(clippy::unwrap_used)]

mod astroclip;
mod bands;
mod quantiles;
mod ugriz;

use std::path::Path;

use hubbleflow_models::config::Shape;
use hubbleflow_models::{
    AstroMae, Config, InstructionSet, Model, ModelOutput, Precision, Taps, init, load_with,
};
use tch::{Device, Kind, Tensor};

/// The numbers of the reference for one activation.
struct Golden {
    tap: &'static str,
    shape: &'static [i64],
    /// Its largest magnitude.
    scale: f64,
    /// Sum of its magnitudes.
    sum: f64,
    /// Some of its elements, by their row-major index.
    elements: &'static [(i64, f64)],
}

fn assert_golden(found: &Tensor, golden: &Golden) {
    let Golden {
        tap,
        shape,
        scale,
        sum,
        elements,
    } = golden;
    assert_eq!(found.size(), *shape, "{tap}");
    let flat = found.to_kind(Kind::Double).flatten(0, -1);
    let tolerance = 1e-5 * scale;
    for &(index, expected) in *elements {
        let value = flat.double_value(&[index]);
        assert!(
            (value - expected).abs() < tolerance,
            "{tap}[{index}]: {value}, not {expected}"
        );
    }
    let total = flat.abs().sum(Kind::Double).double_value(&[]);
    let allowed = tolerance * flat.numel() as f64;
    assert!(
        (total - sum).abs() < allowed,
        "sum of |{tap}|: {total}, not {sum}"
    );
}

fn tap<'a>(taps: &'a Taps, name: &str) -> &'a Tensor {
    match name {
        "encoder" => taps.encoder.as_ref().unwrap(),
        "vit_block" => taps.vit_block.as_ref().unwrap(),
        "inception" => taps.inception.as_ref().unwrap(),
        "magnitude" => taps.magnitude.as_ref().unwrap(),
        _ => &taps.z_phot,
    }
}

/// Every activation of the plain network, and the redshifts of the folded one.
fn assert_reproduces<'a>(config: &Config, goldens: impl IntoIterator<Item = &'a Golden>) {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let inputs = init::inputs(4, model.needs()).unwrap();
    let taps = model.taps(&inputs).unwrap();
    for golden in goldens {
        match golden.tap {
            "cutouts" => assert_golden(inputs.cutouts.as_ref().unwrap(), golden),
            "mags" => assert_golden(inputs.mags.as_ref().unwrap(), golden),
            name => assert_golden(tap(&taps, name), golden),
        }
        if ["encoder", "z_phot"].contains(&golden.tap) {
            assert_folded_reproduces(dir.path(), golden);
        }
    }
}

fn assert_folded_reproduces(dir: &Path, golden: &Golden) {
    let sets = InstructionSet::ALL.into_iter();
    for set in sets.filter(|set| set.is_available()) {
        let predicted = |precision| {
            let model = load_with(dir, Device::Cpu, precision, set).unwrap();
            let inputs = init::inputs(4, model.needs()).unwrap();
            let wanted = match golden.tap {
                "encoder" => model.outputs().last().unwrap().clone(),
                _ => ModelOutput::ZPhot,
            };
            model.forward(&inputs, &[wanted]).unwrap().remove(0)
        };
        assert_golden(&predicted(Precision::Fp32), golden);
        let half = predicted(Precision::Bf16).flatten(0, -1);
        for &(galaxy, z) in golden.elements {
            let off = half.double_value(&[galaxy]) - z;
            // Weights that are not trained magnify what bfloat16 rounds off.
            let allowed = match golden.tap {
                "encoder" => 0.1 * golden.scale,
                _ => 0.02 * z.abs(),
            };
            assert!(off.abs() < allowed, "galaxy {galaxy}, {set:?}: {off}");
        }
    }
}

fn preset(name: &str) -> Config {
    Config::preset(name).unwrap()
}

/// A preset of two blocks with other inputs. The bands' names are letters; they decide nothing here.
fn shaped(name: &str, bands: &str, mags: &str, cutout_px: usize) -> Config {
    let named = |letters: &str| Some(letters.chars().map(String::from).collect());
    let mut config = preset(name).shaped(&Shape {
        bands: named(bands),
        mags: named(mags),
        cutout_px: Some(cutout_px),
    });
    config.encoder.depth = 2;
    config
}

#[test]
fn pcm_with_kernel_1() {
    let goldens = ugriz::INPUTS.iter().chain(&ugriz::PCM_1X1);
    assert_reproduces(&preset("astromae"), goldens.chain(&ugriz::BESIDE));
}

#[test]
fn pcm_with_kernel_3() {
    let goldens = ugriz::PCM_3X3.iter().chain(&ugriz::BESIDE);
    assert_reproduces(&preset("astromae-pcm3"), goldens);
}

#[test]
fn plain_blocks() {
    let goldens = ugriz::PLAIN.iter().chain(&ugriz::BESIDE);
    assert_reproduces(&preset("astromae-plain"), goldens);
}

#[test]
fn four_bands() {
    let config = shaped("astromae-tiny", "griz", "griz", 32);
    assert_reproduces(&config, &bands::GRIZ);
}

#[test]
fn six_bands_and_larger_cutouts() {
    let config = shaped("astromae-pcm3", "ugrizy", "ugrizy", 48);
    assert_reproduces(&config, &bands::UGRIZY_PX48);
}

#[test]
fn magnitudes_in_more_bands_than_cutouts() {
    let config = shaped("astromae-plain", "grz", "ugriz", 32);
    assert_reproduces(&config, &bands::GRZ_MAGS_UGRIZ);
}
