//! A model directory is loaded as a whole, or refused with the name of what is wrong.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use models::config::EncoderKind;
use models::{
    AstroMae, Branch, Config, Inputs, Model, Needs, Precision, check, init, inspect, load,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// A network of the same parts as the public one, small enough to be written for every test.
fn small() -> Config {
    let mut config = Config::preset("astromae-tiny").unwrap();
    config.encoder.width = 24;
    config.encoder.depth = 1;
    config.encoder.pcm_kernel = 3;
    config.encoder.pcm_group = 6;
    config
}

fn written(config: &Config) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    dir
}

fn open(dir: &Path) -> Result<Box<dyn Model>, models::Error> {
    load(dir, Device::Cpu, Precision::Fp32)
}

fn refusal(dir: &Path) -> String {
    open(dir).err().expect("the model is refused").to_string()
}

fn predictions(model: &dyn Model, inputs: &Inputs) -> Vec<f32> {
    Vec::try_from(&model.forward(inputs).unwrap()).unwrap()
}

/// Name to type, shape and bytes.
type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the weights' file.
fn edit(dir: &Path, change: impl FnOnce(&mut Stored)) {
    let path = dir.join(models::WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    let mut stored: Stored = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut stored);
    let views = stored.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Changes the configuration's file.
fn reconfigure(dir: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join(models::CONFIG_FILE);
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
}

/// Asserts that `text` holds all of `parts`.
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn a_tensor_of_another_shape_is_refused_with_both_shapes() {
    let dir = written(&small());
    edit(dir.path(), |stored| {
        stored.insert(
            "head.weight".into(),
            (Dtype::F32, vec![12, 24], vec![0; 12 * 24 * 4]),
        );
    });
    assert_says(
        &refusal(dir.path()),
        &["head.weight", "[24, 24]", "[12, 24]"],
    );
}

#[test]
fn a_missing_tensor_is_refused_with_its_shape() {
    let dir = written(&small());
    edit(dir.path(), |stored| {
        stored.remove("blocks.0.PCM.0.weight");
    });
    let expected = ["blocks.0.PCM.0.weight", "[96, 4, 3, 3]", "no such tensor"];
    assert_says(&refusal(dir.path()), &expected);
}

#[test]
fn a_tensor_that_is_not_in_the_network_is_refused() {
    let dir = written(&small());
    edit(dir.path(), |stored| {
        stored.insert(
            "blocks.1.norm1.weight".into(),
            (Dtype::F32, vec![24], vec![0; 96]),
        );
    });
    assert_says(&refusal(dir.path()), &["blocks.1.norm1.weight", "[24]"]);
}

#[test]
fn what_the_public_checkpoint_has_besides_is_tolerated() {
    let dir = written(&small());
    let inputs = init::inputs(3, 32).unwrap();
    let before = predictions(open(dir.path()).unwrap().as_ref(), &inputs);
    edit(dir.path(), |stored| {
        let counter = (Dtype::I64, vec![], vec![0; 8]);
        stored.insert("blocks.0.PCM.1.num_batches_tracked".into(), counter);
        stored.retain(|name, _| !name.contains("vis_inception.8.branch3"));
        for part in ["weight", "bias"] {
            let twin = stored[&format!("inception_model.conv2d_init.{part}")].clone();
            stored.insert(format!("inception_model.vis_inception.0.{part}"), twin);
        }
        // The bias stands under both of its names, the weight under the other one alone.
        stored.remove("inception_model.conv2d_init.weight");
    });
    assert_eq!(
        predictions(open(dir.path()).unwrap().as_ref(), &inputs),
        before
    );
}

#[test]
fn two_names_of_one_tensor_must_agree() {
    let dir = written(&small());
    edit(dir.path(), |stored| {
        let other = (Dtype::F32, vec![32], vec![0; 128]);
        stored.insert("inception_model.vis_inception.0.bias".into(), other);
    });
    assert_says(
        &refusal(dir.path()),
        &["vis_inception.0.bias", "conv2d_init.bias"],
    );
}

#[test]
fn halves_are_read_as_what_they_round_to() {
    let inputs = init::inputs(2, 32).unwrap();
    let full = written(&small());
    let full = predictions(open(full.path()).unwrap().as_ref(), &inputs);
    for (dtype, tolerance) in [(Dtype::F16, 0.005), (Dtype::BF16, 0.05)] {
        let dir = written(&small());
        edit(dir.path(), |stored| {
            for (kind, _, data) in stored.values_mut() {
                *data = data
                    .chunks_exact(4)
                    .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
                    .flat_map(|x| match dtype {
                        Dtype::F16 => half::f16::from_f32(x).to_le_bytes(),
                        _ => half::bf16::from_f32(x).to_le_bytes(),
                    })
                    .collect();
                *kind = dtype;
            }
        });
        let half = predictions(open(dir.path()).unwrap().as_ref(), &inputs);
        for (half, full) in half.iter().zip(&full) {
            assert!(
                half != full && (half - full).abs() < tolerance,
                "{dtype:?}: {half}, {full}"
            );
        }
    }
}

#[test]
fn weights_that_are_not_floats_are_refused() {
    let dir = written(&small());
    edit(dir.path(), |stored| {
        stored.insert("head.bias".into(), (Dtype::I32, vec![24], vec![0; 96]));
    });
    assert_says(&refusal(dir.path()), &["head.bias", "I32", "BF16"]);
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let dir = written(&small());
    let path = dir.path().join(models::WEIGHTS_FILE);
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_says(&refusal(dir.path()), &["model.safetensors", "truncated"]);
    }
}

#[test]
fn a_directory_without_its_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_says(&refusal(dir.path()), &["config.json", "model.safetensors"]);
}

#[test]
fn a_configuration_that_is_not_understood_is_refused_by_what_is_known() {
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
        ("/bands/3", "y".into(), &["bands", "\"y\"", "\"i\""]),
    ];
    let original = fs::read(dir.path().join(models::CONFIG_FILE)).unwrap();
    for (field, value, expected) in cases {
        reconfigure(dir.path(), |config| {
            *config.pointer_mut(field).unwrap() = value
        });
        assert_says(&refusal(dir.path()), expected);
        assert_says(&refusal(dir.path()), &["config.json"]);
        fs::write(dir.path().join(models::CONFIG_FILE), &original).unwrap();
    }
    reconfigure(dir.path(), |config| config["dropout"] = 0.5.into());
    assert_says(&refusal(dir.path()), &["dropout"]);
    fs::write(dir.path().join(models::CONFIG_FILE), "not JSON").unwrap();
    assert_says(&refusal(dir.path()), &["config.json", "line 1"]);
}

#[test]
fn each_subset_of_branches_needs_its_inputs_alone() {
    use Branch::{Encoder, Inception, Magnitude};
    let subsets: [&[Branch]; 7] = [
        &[Encoder],
        &[Inception],
        &[Magnitude],
        &[Encoder, Inception],
        &[Encoder, Magnitude],
        &[Inception, Magnitude],
        &[Magnitude, Encoder, Inception], // the order in the configuration is no matter
    ];
    for branches in subsets {
        let dir = written(&Config {
            branches: branches.to_vec(),
            ..small()
        });
        let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        let needs = model.needs();
        let image = branches.contains(&Encoder) || branches.contains(&Inception);
        assert_eq!(
            needs,
            Needs {
                cutouts: image,
                mags: branches.contains(&Magnitude)
            }
        );

        let mut inputs = init::inputs(2, 32).unwrap();
        inputs.cutouts = inputs.cutouts.filter(|_| needs.cutouts);
        inputs.mags = inputs.mags.filter(|_| needs.mags);
        let taps = model.taps(&inputs).unwrap();
        assert_eq!(taps.vit_block.is_some(), branches.contains(&Encoder));
        assert_eq!(taps.inception.is_some(), branches.contains(&Inception));
        assert_eq!(taps.magnitude.is_some(), branches.contains(&Magnitude));
        assert!(predictions(&model, &inputs).iter().all(|z| z.is_finite()));

        let nothing = Inputs {
            cutouts: None,
            mags: None,
        };
        assert_says(&model.taps(&nothing).unwrap_err().to_string(), &["needs"]);
    }
}

#[test]
fn weights_of_a_branch_that_is_off_may_stay_in_the_file() {
    let dir = written(&Config {
        branches: vec![Branch::Encoder],
        ..small()
    });
    edit(dir.path(), |stored| {
        let name = "inception_model.magnitude_block.0.bias".to_owned();
        stored.insert(name, (Dtype::F32, vec![7], vec![0; 28]));
    });
    open(dir.path()).unwrap();
}

#[test]
fn a_single_image_branch_is_relu_and_one_linear_layer() {
    let dir = written(&Config {
        branches: vec![Branch::Inception],
        ..small()
    });
    let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let taps = model.taps(&init::inputs(2, 32).unwrap()).unwrap();
    let features = Vec::<f32>::try_from(taps.inception.unwrap().flatten(0, -1)).unwrap();
    let weights = init::Uniform::new("concat_block.1.weight");
    let bias = 0.1 * init::Uniform::new("concat_block.1.bias").s(0);
    for (galaxy, features) in features.chunks_exact(1096).enumerate() {
        let scale = (3.0f64 / 1096.0).sqrt();
        let products = features
            .iter()
            .enumerate()
            .map(|(i, &x)| f64::from(x.max(0.0)) * scale * weights.s(i));
        let expected = products.sum::<f64>() + bias;
        let found = taps.z_phot.double_value(&[galaxy as i64]);
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

#[test]
fn every_shape_of_encoder_computes() {
    for (kind, kernel, depth, heads, width, group, px) in [
        (EncoderKind::Pcm, 5, 3, 2, 16, 4, 32),
        (EncoderKind::Pcm, 1, 1, 1, 8, 1, 40),
        (EncoderKind::Plain, 1, 2, 4, 32, 1, 64),
    ] {
        let mut config = Config {
            cutout_px: px,
            ..small()
        };
        config.encoder.kind = kind;
        (config.encoder.pcm_kernel, config.encoder.pcm_group) = (kernel, group);
        (
            config.encoder.depth,
            config.encoder.heads,
            config.encoder.width,
        ) = (depth, heads, width);
        let dir = written(&config);
        let report = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        assert!(report.finite && report.z_phot.len() == 4, "{report}");
    }
}

#[test]
fn larger_cutouts_are_cropped_about_their_centre() {
    let dir = written(&small());
    let model = open(dir.path()).unwrap();
    let Inputs { cutouts, mags } = init::inputs(2, 32).unwrap();
    let cutouts = cutouts.unwrap();
    let framed = cutouts.f_constant_pad_nd([16, 16, 16, 16]).unwrap();
    let wide = Inputs {
        cutouts: Some(framed),
        mags: mags.as_ref().map(Tensor::shallow_clone),
    };
    let exact = Inputs {
        cutouts: Some(cutouts),
        mags,
    };
    assert_eq!(
        predictions(model.as_ref(), &wide),
        predictions(model.as_ref(), &exact)
    );
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let dir = written(&small());
    let model = open(dir.path()).unwrap();
    let zeros = |shape: &[i64], kind| Some(Tensor::zeros(shape, (kind, Device::Cpu)));
    let mags = || zeros(&[2, 5], Kind::Float);
    for (cutouts, mags, expected) in [
        (
            zeros(&[2, 5, 24, 24], Kind::Float),
            mags(),
            "[2, 5, 24, 24]",
        ),
        (
            zeros(&[2, 3, 32, 32], Kind::Float),
            mags(),
            "[2, 3, 32, 32]",
        ),
        (zeros(&[2, 5, 32, 32], Kind::Double), mags(), "Double"),
        (
            zeros(&[2, 5, 32, 32], Kind::Float),
            zeros(&[2, 4], Kind::Float),
            "[2, 4]",
        ),
        (zeros(&[3, 5, 32, 32], Kind::Float), mags(), "3 cutouts"),
        (None, mags(), "cutouts"),
    ] {
        let error = model.forward(&Inputs { cutouts, mags }).unwrap_err();
        assert_says(&error.to_string(), &[expected]);
    }
    let empty = Inputs {
        cutouts: zeros(&[0, 5, 32, 32], Kind::Float),
        mags: zeros(&[0, 5], Kind::Float),
    };
    assert_eq!(model.forward(&empty).unwrap().size(), [0]);
}

#[test]
fn replicas_on_other_threads_predict_the_same_bits() {
    models::single_threaded();
    let dir = written(&small());
    let model = open(dir.path()).unwrap();
    let expected = predictions(model.as_ref(), &init::inputs(8, 32).unwrap());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let replica = model.replica().unwrap();
            std::thread::spawn(move || {
                models::single_threaded();
                predictions(replica.as_ref(), &init::inputs(8, 32).unwrap())
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
    // A tensor that begins elsewhere in memory is no other input.
    let shifted = |t: Option<Tensor>| {
        let t = t.unwrap();
        let flat = Tensor::zeros([t.numel() as i64 + 1], (Kind::Float, Device::Cpu));
        flat.narrow(0, 1, t.numel() as i64).copy_(&t.flatten(0, -1));
        Some(flat.narrow(0, 1, t.numel() as i64).view_(t.size()))
    };
    let Inputs { cutouts, mags } = init::inputs(8, 32).unwrap();
    let inputs = Inputs {
        cutouts: shifted(cutouts),
        mags: shifted(mags),
    };
    assert_eq!(predictions(model.as_ref(), &inputs), expected);
}

#[test]
fn bf16_is_near_fp32_and_comes_out_as_float32() {
    let dir = written(&small());
    let inputs = init::inputs(4, 32).unwrap();
    let half = load(dir.path(), Device::Cpu, Precision::Bf16).unwrap();
    assert_eq!(half.forward(&inputs).unwrap().kind(), Kind::Float);
    let half = predictions(half.replica().unwrap().as_ref(), &inputs);
    let full = predictions(open(dir.path()).unwrap().as_ref(), &inputs);
    for (half, full) in half.iter().zip(&full) {
        assert!(half != full && (half - full).abs() < 0.1, "{half}, {full}");
    }
}

#[test]
fn the_id_is_the_digest_of_both_files() {
    let (one, same) = (written(&small()), written(&small()));
    let id = |dir: &TempDir| open(dir.path()).unwrap().id().to_owned();
    assert_eq!(id(&one), id(&same));
    let mut both = fs::read(same.path().join(models::CONFIG_FILE)).unwrap();
    both.extend(fs::read(same.path().join(models::WEIGHTS_FILE)).unwrap());
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&both);
    assert_eq!(
        id(&one),
        digest
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    );
    reconfigure(same.path(), |config| config["name"] = "other".into());
    assert_ne!(id(&one), id(&same));
}

#[test]
fn init_keeps_what_is_there() {
    let dir = written(&small());
    init::init(dir.path(), &small(), "").unwrap();
    let error = init::init(dir.path(), &small(), "another salt").unwrap_err();
    assert_says(&error.to_string(), &["model.safetensors", "exists"]);
}

#[test]
fn inspect_counts_what_is_there() {
    let config = Config {
        branches: vec![Branch::Magnitude],
        ..small()
    };
    let dir = written(&config);
    let report = inspect(dir.path()).unwrap();
    let linear = |from: usize, to: usize| from * to + to;
    let block = linear(5, 1024) + 4 * linear(1024, 1024);
    assert_eq!(
        report.parameters,
        block + linear(1024, 1024) + linear(1024, 1)
    );
    assert_eq!(report.dtypes["F32"], 14);
    assert_eq!(report.id, open(dir.path()).unwrap().id());
    assert_eq!(report.modules[1].name, "inception_model.magnitude_block");
    assert_eq!(report.modules[1].parameters, block);
    assert_says(
        &report.to_string(),
        &["magnitude", "not trained", &block.to_string()],
    );
}
