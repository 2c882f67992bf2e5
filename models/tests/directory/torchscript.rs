//! Modules of PyTorch: their predictions, and modules that are refused. tch traces modules as PyTorch does.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hubbleflow_models::device::PrecisionChoice;
use hubbleflow_models::{
    CONFIG_FILE, Error, Inputs, MODULE_FILE, Model, ModelOutput, Precision, check, init, inspect,
    load, precision, single_threaded,
};
use serde_json::{Value, json};
use tch::{CModule, Device, Kind, Tensor};
use tempfile::TempDir;

use super::assert_says;

/// Cutouts of `[batch, 2, 16, 16]` and magnitudes of `[batch, 2]`.
fn config() -> Value {
    json!({"architecture": "torchscript", "name": "traced", "bands": ["g", "r"], "cutout_px": 16, "mags": ["g", "r"],
           "inputs": ["cutouts", "mags"], "outputs": ["z_phot"]})
}

fn uniform(name: &str, shape: &[i64]) -> Tensor {
    let numbers = init::Uniform::new(name);
    let elements: i64 = shape.iter().product();
    let scale = (3.0 / (elements / shape[0]) as f64).sqrt();
    let values: Vec<f32> = (0..elements as usize)
        .map(|i| (scale * numbers.s(i)) as f32)
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// A convolutional network with a dense layer.
struct Network {
    kernel: Tensor,
    dense: Tensor,
}

impl Network {
    fn new() -> Self {
        Self {
            kernel: uniform("kernel", &[8, 2, 3, 3]),
            dense: uniform("dense", &[34, 1]) * 0.01,
        }
    }

    /// `[batch, 1]`.
    fn forward(&self, cutouts: &Tensor, mags: &Tensor) -> Tensor {
        let features = cutouts
            .conv2d(&self.kernel, None::<Tensor>, [2, 2], [1, 1], [1, 1], 1)
            .relu()
            .adaptive_avg_pool2d([2, 2])
            .flatten(1, -1);
        Tensor::cat(&[&features, &(mags - 18.0)], 1).matmul(&self.dense)
    }
}

/// Writes a model directory whose module computes `end` of the network, traced with a batch of two.
///
/// The values of tensors that are made within a trace are not recorded, so `end` makes none.
fn traced(config: &Value, end: impl Fn(Tensor) -> Tensor) -> TempDir {
    let _guard = tch::no_grad_guard();
    let network = Network::new();
    let shapes: [&[i64]; 2] = [&[2, 2, 16, 16], &[2, 2]];
    let example = shapes.map(|shape| uniform("example", shape));
    let module = CModule::create_by_tracing("Net", "forward", &example, &mut |inputs| {
        vec![end(network.forward(&inputs[0], &inputs[1]))]
    });
    let dir = tempfile::tempdir().unwrap();
    module.unwrap().save(dir.path().join(MODULE_FILE)).unwrap();
    fs::write(dir.path().join(CONFIG_FILE), config.to_string()).unwrap();
    dir
}

fn one(end: impl Fn(Tensor) -> Tensor) -> TempDir {
    traced(&config(), end)
}

fn plain() -> TempDir {
    one(|z| z)
}

fn open(dir: &Path) -> Result<Box<dyn Model>, Error> {
    load(dir, Device::Cpu, Precision::Fp32)
}

fn batch(model: &dyn Model, galaxies: usize) -> Inputs {
    init::inputs(galaxies, model.needs()).unwrap()
}

fn bits(z_phot: &Tensor) -> Vec<u32> {
    let z_phot = Vec::<f32>::try_from(z_phot).unwrap();
    z_phot.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_traced_network_predicts_what_it_computes() {
    single_threaded();
    let dir = plain();
    let model = open(dir.path()).unwrap();
    let inputs = batch(model.as_ref(), 5);
    let (cutouts, mags) = (inputs.cutouts.as_ref(), inputs.mags.as_ref());
    let expected = Network::new().forward(cutouts.unwrap(), mags.unwrap());
    let found = model.z_phot(&inputs).unwrap();
    assert_eq!(found.size(), [5]);
    let difference = (&found - expected.squeeze_dim(1)).abs().max();
    let difference = difference.double_value(&[]);
    assert!(difference < 1e-5, "{difference}");
    let checked = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    assert!(checked.finite && checked.z_phot.len() == 4, "{checked}");
    let empty = Inputs {
        cutouts: Some(Tensor::zeros([0, 2, 16, 16], (Kind::Float, Device::Cpu))),
        mags: Some(Tensor::zeros([0, 2], (Kind::Float, Device::Cpu))),
        ..Inputs::default()
    };
    assert_eq!(model.z_phot(&empty).unwrap().size(), [0]);
}

/// libtorch's executor watches the first calls of a module, and may compile other kernels for the later ones.
#[test]
fn every_call_and_every_thread_gives_the_same_bits() {
    single_threaded();
    // Operators one after another are what such an executor fuses.
    let dir = one(|z| (z.sigmoid() * 1.7 + 0.1).exp().tanh().log1p());
    let model = open(dir.path()).unwrap();
    let expected = Arc::new(bits(&model.z_phot(&batch(model.as_ref(), 33)).unwrap()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (replica, expected) = (model.replica().unwrap(), Arc::clone(&expected));
            std::thread::spawn(move || {
                single_threaded();
                let inputs = batch(replica.as_ref(), 33);
                for call in 0..50 {
                    let found = bits(&replica.z_phot(&inputs).unwrap());
                    assert_eq!(found, *expected, "call {call}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // Each galaxy at each place of the batch.
    let inputs = batch(model.as_ref(), 33);
    for shift in 1..33 {
        let rolled = |t: &Option<Tensor>| t.as_ref().map(|t| t.roll([shift], [0]));
        let rolled = Inputs {
            cutouts: rolled(&inputs.cutouts),
            mags: rolled(&inputs.mags),
            ..Inputs::default()
        };
        let mut found = bits(&model.z_phot(&rolled).unwrap());
        found.rotate_left(shift as usize);
        assert_eq!(found, *expected, "shifted by {shift}");
    }
}

/// A directory with the module of `reference/modules.py`, which returns an embedding, quantiles and a redshift.
fn three_outputs(outputs: &[&str]) -> TempDir {
    let mut config = config();
    config["outputs"] = json!(outputs);
    if outputs.contains(&"z_quantiles") {
        config["levels"] = json!([0.16, 0.5, 0.84]);
    }
    let dir = tempfile::tempdir().unwrap();
    let module = include_bytes!("../data/three_outputs.pt");
    fs::write(dir.path().join(MODULE_FILE), module).unwrap();
    fs::write(dir.path().join(CONFIG_FILE), config.to_string()).unwrap();
    dir
}

#[test]
fn a_module_gives_several_outputs_in_the_order_of_its_tuple() {
    let dir = three_outputs(&["embedding", "z_quantiles", "z_phot"]);
    let model = open(dir.path()).unwrap();
    let levels = vec![0.16, 0.5, 0.84];
    let outputs = [
        ModelOutput::Embedding { width: 2 },
        ModelOutput::ZQuantiles { levels },
        ModelOutput::ZPhot,
    ];
    assert_eq!(model.outputs(), outputs);
    let inputs = batch(model.as_ref(), 7);
    let wanted = [outputs[2].clone(), outputs[1].clone()];
    let found = model.forward(&inputs, &wanted).unwrap();
    assert_eq!((found[0].size(), found[1].size()), (vec![7], vec![7, 3]));
    assert_eq!(bits(&found[0]), bits(&found[1].select(1, 1)));
    let expected = inputs.mags.unwrap().select(1, 1) * 0.01;
    assert!((&found[0] - expected).abs().max().double_value(&[]) < 1e-6);
}

#[test]
fn another_number_or_order_of_outputs_is_refused() {
    let fewer = refusal(&three_outputs(&["embedding", "z_phot"]));
    let words = [
        "expected 2 tensors (embedding, z_phot)",
        "found a tensor, a tensor, a tensor",
    ];
    assert_says(&fewer, &words);
    let other = refusal(&three_outputs(&["z_phot", "z_quantiles", "embedding"]));
    assert_says(
        &other,
        &["z_phot of a batch of 3", "[3] or [3, 1]", "found [3, 2]"],
    );
}

/// The refusal of a module that returns `network`, on loading and by `check`.
fn refusal(dir: &TempDir) -> String {
    let error = open(dir.path()).err().expect("the module is refused");
    let checked = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap_err();
    assert_eq!(error.to_string(), checked.to_string());
    assert_says(&error.to_string(), &["model.pt: "]);
    error.to_string()
}

#[test]
fn a_module_that_does_not_fit_is_refused_when_it_is_loaded() {
    let outputs = |names: Value, levels: Value| {
        let mut config = config();
        (config["outputs"], config["levels"]) = (names, levels);
        config
    };
    let quantiles = || outputs(json!(["z_quantiles"]), json!([0.25, 0.75]));
    type End = fn(Tensor) -> Tensor;
    let cases: [(Value, End, &[&str]); 8] = [
        (
            config(),
            |z| z.repeat([1, 2]),
            &["z_phot of a batch of 3", "[3] or [3, 1]", "found [3, 2]"],
        ),
        (
            outputs(json!(["z_phot", "embedding"]), Value::Null),
            |z| z,
            &["expected 2 tensors (z_phot, embedding)", "found a tensor"],
        ),
        (
            config(),
            |z| z.to_kind(Kind::Double),
            &["z_phot: expected float32, found Double"],
        ),
        // The number of galaxies became a constant of the trace.
        (
            config(),
            |z| z.reshape([2]),
            &["with a batch of 3", "the module failed", "[2]"],
        ),
        (
            config(),
            |z| z.mean_dim([0i64].as_slice(), true, None) + z,
            &["in a batch, but", "alone", "model.eval()"],
        ),
        (
            config(),
            // Of so many values that two runs never leave out the same ones.
            |z| {
                z.repeat([1, 64])
                    .dropout(0.5, true)
                    .mean_dim([1i64].as_slice(), true, None)
            },
            &["two runs of the same batch differ", "model.eval()"],
        ),
        (
            quantiles(),
            |z| Tensor::cat(&[&z, &(&z - 0.1)], 1),
            &["z_quantiles: expected values that ascend"],
        ),
        (
            quantiles(),
            |z| Tensor::cat(&[&z, &(&z * f64::NAN)], 1),
            &["z_quantiles: expected values that ascend", "NaN"],
        ),
    ];
    for (config, end, words) in cases {
        assert_says(&refusal(&traced(&config, end)), words);
    }
}

#[test]
fn an_error_inside_a_module_is_its_refusal() {
    // Traced for 2 bands of 16 pixels, and the configuration says 3 bands.
    let dir = plain();
    let mut other = config();
    other["bands"] = json!(["g", "r", "z"]);
    fs::write(dir.path().join(CONFIG_FILE), other.to_string()).unwrap();
    let words = ["with a batch of 3", "the module failed", "channels"];
    let found = refusal(&dir);
    assert_says(&found, &words);
    assert!(found.lines().count() == 1, "{found}");
    fs::write(dir.path().join(MODULE_FILE), b"PK no module").unwrap();
    assert_says(
        &refusal(&dir),
        &["not a module that torch.jit.save has written"],
    );
    fs::remove_file(dir.path().join(MODULE_FILE)).unwrap();
    let missing = open(dir.path()).err().unwrap().to_string();
    assert_says(&missing, &["model.pt", "cannot read it"]);
}

#[test]
fn a_configuration_that_contradicts_itself_is_refused_by_name() {
    let dir = plain();
    let mut other = config();
    other["levels"] = json!([0.5]);
    fs::write(dir.path().join(CONFIG_FILE), other.to_string()).unwrap();
    let found = open(dir.path()).err().unwrap().to_string();
    assert_says(&found, &["config.json", "`levels`"]);
}

#[test]
fn a_module_computes_in_float32_alone() {
    let dir = plain();
    let choose = |choice| precision(dir.path(), choice, Precision::Bf16);
    assert_eq!(choose(PrecisionChoice::Auto).unwrap(), Precision::Fp32);
    let refused = choose(PrecisionChoice::Bf16).unwrap_err().to_string();
    assert_says(&refused, &["torchscript", "fp32", "--precision"]);
    assert!(load(dir.path(), Device::Cpu, Precision::Bf16).is_err());
}

#[test]
fn a_module_is_known_by_both_files_and_can_be_inspected() {
    let dir = plain();
    let inspection = inspect(dir.path()).unwrap();
    let mut both = fs::read(dir.path().join(CONFIG_FILE)).unwrap();
    both.extend(fs::read(dir.path().join(MODULE_FILE)).unwrap());
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&both);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(inspection.id, digest);
    assert_eq!(open(dir.path()).unwrap().id(), digest);
    assert_says(
        &inspection.to_string(),
        &["torchscript", "traced", "16 x 16 pixels"],
    );
}
