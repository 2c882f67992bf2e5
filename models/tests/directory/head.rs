//! Dense networks on embeddings and magnitudes.

use std::fs;
use std::path::Path;

use hubbleflow_models::{
    CONFIG_FILE, Inputs, InstructionSet, Precision, WEIGHTS_FILE, check, init, inspect, load,
    load_with, single_threaded,
};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use super::{assert_says, open, predictions, refusal};

/// Embeddings of 6 components, then 2 magnitudes, and two hidden layers.
fn config() -> Value {
    json!({"architecture": "head", "name": "a head", "inputs": ["embedding", "mags"], "embedding_width": 6,
           "mags": ["g", "r"], "hidden": [5, 4], "head": {"kind": "point"}})
}

/// A number of a layer.
fn number(layer: usize, part: &str, i: usize) -> f64 {
    0.5 * init::Uniform::new(&format!("layers.{layer}.{part}")).s(i)
}

fn written(config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(CONFIG_FILE), config.to_string()).unwrap();
    let mut stored = Vec::new();
    // A configuration that is refused before the weights are read may say anything.
    let levels = config["head"]["levels"].as_array();
    let outputs = levels.map_or(1, Vec::len);
    for (layer, sizes) in [8, 5, 4, outputs].windows(2).enumerate() {
        for (part, shape) in [
            ("weight", vec![sizes[1], sizes[0]]),
            ("bias", vec![sizes[1]]),
        ] {
            let numbers = 0..shape.iter().product();
            let bytes = numbers.flat_map(|i| (number(layer, part, i) as f32).to_le_bytes());
            let bytes: Vec<u8> = bytes.collect();
            stored.push((format!("layers.{layer}.{part}"), shape, bytes));
        }
    }
    let views = stored.iter().map(|(name, shape, bytes)| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let weights = safetensors::serialize(views, None).unwrap();
    fs::write(dir.path().join(WEIGHTS_FILE), weights).unwrap();
    dir
}

fn reconfigured(change: impl FnOnce(&mut Value)) -> TempDir {
    let mut config = config();
    change(&mut config);
    written(&config)
}

#[test]
fn a_head_is_dense_layers_with_relus_between_them() {
    single_threaded();
    let dir = written(&config());
    let model = open(dir.path()).unwrap();
    let inputs = init::inputs(7, model.needs()).unwrap();
    let rows =
        |x: &Option<Tensor>| Vec::<f32>::try_from(x.as_ref().unwrap().flatten(0, -1)).unwrap();
    let (embeddings, mags) = (rows(&inputs.embeddings), rows(&inputs.mags));
    let found = predictions(model.as_ref(), &inputs);
    for (galaxy, found) in found.iter().enumerate() {
        let input = embeddings[6 * galaxy..][..6]
            .iter()
            .chain(&mags[2 * galaxy..][..2]);
        let mut x: Vec<f64> = input.map(|&x| f64::from(x)).collect();
        for layer in 0..3 {
            let of_output = |output: usize| {
                let inputs = x.len();
                let products = x.iter().enumerate();
                let products =
                    products.map(|(i, x)| x * number(layer, "weight", output * inputs + i));
                let sum = products.sum::<f64>() + number(layer, "bias", output);
                if layer < 2 { sum.max(0.0) } else { sum }
            };
            x = (0..[5, 4, 1][layer]).map(of_output).collect();
        }
        assert!(
            (f64::from(*found) - x[0]).abs() < 1e-5,
            "{found}, not {}",
            x[0]
        );
    }
    let replica = model.replica().unwrap();
    assert_eq!(predictions(replica.as_ref(), &inputs), found);
    assert!(
        check(dir.path(), Device::Cpu, Precision::Fp32)
            .unwrap()
            .finite
    );
    let inspection = inspect(dir.path()).unwrap();
    assert_eq!(inspection.parameters, 8 * 5 + 5 + 5 * 4 + 4 + 4 + 1);
    assert_says(&inspection.to_string(), &["head", "a head", "g, r"]);
}

/// Against the reference in PyTorch, `models/tests/reference/quantiles.py`.
#[test]
fn a_head_gives_quantiles() {
    single_threaded();
    let reference = include_str!("../reference/quantiles.json");
    let reference: Value = serde_json::from_str(reference).unwrap();
    let expected = reference["head"]["z_quantiles"].as_array().unwrap();
    let levels = json!([0.16, 0.5, 0.84]);
    let dir = reconfigured(|c| c["head"] = json!({"kind": "quantiles", "levels": levels}));
    let inputs = init::inputs(7, open(dir.path()).unwrap().needs()).unwrap();
    let sets = InstructionSet::ALL.into_iter();
    for set in sets.filter(|set| set.is_available()) {
        let model = load_with(dir.path(), Device::Cpu, Precision::Fp32, set).unwrap();
        let outputs: Vec<String> = model.outputs().iter().map(ToString::to_string).collect();
        assert_eq!(outputs, ["z_phot", "z_quantiles (3 values)"]);
        let given = model.forward(&inputs, model.outputs()).unwrap();
        assert_eq!(given[1].size(), [7, 3]);
        assert_eq!(given[0], given[1].select(1, 1));
        for (galaxy, row) in expected.iter().enumerate() {
            for level in 0..3 {
                let found = given[1].double_value(&[galaxy as i64, level as i64]);
                let expected = row[level].as_f64().unwrap();
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{set:?}: {found}, not {expected}"
                );
            }
        }
    }
    let report = inspect(dir.path()).unwrap();
    assert_says(
        &report.to_string(),
        &["head", "3 quantiles from 0.16 to 0.84"],
    );
    let checked = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    assert_says(&checked.to_string(), &["z_quantiles (3 values)"]);
}

#[test]
fn inputs_that_a_head_needs_must_fit() {
    let dir = written(&config());
    let model = open(dir.path()).unwrap();
    let zeros = |shape: &[i64]| Some(Tensor::zeros(shape, (Kind::Float, Device::Cpu)));
    for (embeddings, mags, word) in [
        (None, zeros(&[2, 2]), "it needs embeddings"),
        (zeros(&[2, 5]), zeros(&[2, 2]), "[batch, 6]"),
        (zeros(&[2, 6]), None, "it needs mags"),
        (zeros(&[2, 6]), zeros(&[3, 2]), "2 embeddings"),
    ] {
        let inputs = Inputs {
            embeddings,
            mags,
            ..Inputs::default()
        };
        let error = model.z_phot(&inputs).unwrap_err().to_string();
        assert_says(&error, &[word]);
    }
}

#[test]
fn a_configuration_of_a_head_is_checked_by_name() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|c| c["head"] = json!({"kind": "mixture"}), "mixture"),
        (
            |c| c["head"] = json!({"kind": "quantiles", "levels": [0.1, 0.5]}),
            "`head.levels` has 2 levels",
        ),
        // 23 levels, and the weights have one output.
        (
            |c| c["head"] = json!({"kind": "quantiles"}),
            "layers.2.weight",
        ),
        (|c| c["inputs"] = json!(["mags"]), "`inputs`"),
        (
            |c| c["inputs"] = json!(["embedding", "embedding"]),
            "`inputs`",
        ),
        (|c| c["mags"] = json!([]), "`mags`"),
        (|c| c["embedding_width"] = json!(0), "`embedding_width`"),
        (|c| c["hidden"] = json!([5, 0]), "`hidden`"),
        (|c| c["hidden"] = json!([5]), "layers.1.weight"),
    ];
    for (change, word) in cases {
        assert_says(&refusal(reconfigured(change).path()), &[word]);
    }
    let bf16 = |dir: &Path| load(dir, Device::Cpu, Precision::Bf16).err().unwrap();
    assert_says(
        &bf16(written(&config()).path()).to_string(),
        &["head", "fp32"],
    );
}

#[test]
fn a_head_may_take_embeddings_alone_in_any_order_of_inputs() {
    // Eight components instead of six and two magnitudes: the same layers.
    let dir = reconfigured(|c| {
        c["inputs"] = json!(["embedding"]);
        c["embedding_width"] = json!(8);
        c["mags"] = json!([]);
    });
    let alone = open(dir.path()).unwrap();
    let swapped = reconfigured(|c| c["inputs"] = json!(["mags", "embedding"]));
    let swapped = open(swapped.path()).unwrap();
    let inputs = init::inputs(3, swapped.needs()).unwrap();
    let (mags, embeddings) = (inputs.mags.as_ref(), inputs.embeddings.as_ref());
    let joined = Inputs {
        embeddings: Some(Tensor::cat(&[mags.unwrap(), embeddings.unwrap()], 1)),
        ..Inputs::default()
    };
    assert_eq!(
        predictions(alone.as_ref(), &joined),
        predictions(swapped.as_ref(), &inputs)
    );
}
