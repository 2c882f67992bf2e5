//! The configuration's file: unknown values are refused, and the branches decide which inputs are needed.

use std::fs;

use hubbleflow_models::{AstroMae, Branch, CONFIG_FILE, Config, Inputs, Model, Precision, init};
use tch::Device;

use super::{assert_says, predictions, reconfigure, refusal, small, written};

#[test]
fn a_directory_without_its_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_says(&refusal(dir.path()), &["config.json", "model.safetensors"]);
}

#[test]
fn an_unknown_value_is_refused_with_the_known_values() {
    let dir = written(&small());
    let cases: [(&str, serde_json::Value, &[&str]); 7] = [
        ("/architecture", "resnet".into(), &["resnet", "astromae"]),
        ("/encoder/kind", "swin".into(), &["swin", "pcm", "plain"]),
        (
            "/preprocess/cutout/kind",
            "log".into(),
            &["log", "identity", "asinh"],
        ),
        (
            "/branches/0",
            "spectrum".into(),
            &["spectrum", "encoder", "inception", "magnitude"],
        ),
        ("/encoder/heads", 5.into(), &["heads", "5", "24"]),
        ("/encoder/depth", 1_000_000_000.into(), &["depth", "1024"]),
        ("/bands/3", "g".into(), &["bands", "g", "twice"]),
    ];
    let original = fs::read(dir.path().join(CONFIG_FILE)).unwrap();
    for (field, value, expected) in cases {
        reconfigure(dir.path(), |config| {
            *config.pointer_mut(field).unwrap() = value
        });
        assert_says(&refusal(dir.path()), expected);
        assert_says(&refusal(dir.path()), &["config.json"]);
        fs::write(dir.path().join(CONFIG_FILE), &original).unwrap();
    }
    reconfigure(dir.path(), |config| config["dropout"] = 0.5.into());
    assert_says(&refusal(dir.path()), &["dropout"]);
    fs::write(dir.path().join(CONFIG_FILE), "not JSON").unwrap();
    assert_says(&refusal(dir.path()), &["config.json", "line 1"]);
}

#[test]
fn each_subset_of_branches_needs_only_its_inputs() {
    use Branch::{Encoder, Inception, Magnitude};
    let subsets: [&[Branch]; 7] = [
        &[Encoder],
        &[Inception],
        &[Magnitude],
        &[Encoder, Inception],
        &[Encoder, Magnitude],
        &[Inception, Magnitude],
        &[Magnitude, Encoder, Inception], // any order in the configuration
    ];
    for branches in subsets {
        let dir = written(&Config {
            branches: branches.to_vec(),
            ..small()
        });
        let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        let needs = model.needs();
        let image = branches.contains(&Encoder) || branches.contains(&Inception);
        assert_eq!(needs.cutouts.is_some(), image);
        assert_eq!(needs.mags_required, branches.contains(&Magnitude));

        let mut inputs = init::inputs(2, needs).unwrap();
        inputs.mags = inputs.mags.filter(|_| needs.mags_required);
        let taps = model.taps(&inputs).unwrap();
        assert_eq!(taps.vit_block.is_some(), branches.contains(&Encoder));
        assert_eq!(taps.inception.is_some(), branches.contains(&Inception));
        assert_eq!(taps.magnitude.is_some(), branches.contains(&Magnitude));
        assert!(predictions(&model, &inputs).iter().all(|z| z.is_finite()));

        let nothing = Inputs {
            cutouts: None,
            mags: None,
            ..Inputs::default()
        };
        assert_says(&model.taps(&nothing).unwrap_err().to_string(), &["needs"]);
    }
}
