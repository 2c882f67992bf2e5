//! The weights' file: what it must have, what it may have, and what is refused.

use std::fs;

use hubbleflow_models::{Branch, Config, WEIGHTS_FILE, init};
use safetensors::Dtype;

use super::{assert_says, edit, open, predictions, refusal, small, written};

#[test]
fn a_tensor_of_a_wrong_shape_is_refused_with_both_shapes() {
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
fn extra_tensors_of_the_public_checkpoint_are_accepted() {
    let dir = written(&small());
    let inputs = init::inputs(3, &small().needs()).unwrap();
    let before = predictions(open(dir.path()).unwrap().as_ref(), &inputs);
    edit(dir.path(), |stored| {
        let counter = (Dtype::I64, vec![], vec![0; 8]);
        stored.insert("blocks.0.PCM.1.num_batches_tracked".into(), counter);
        stored.retain(|name, _| !name.contains("vis_inception.8.branch3"));
        for part in ["weight", "bias"] {
            let twin = stored[&format!("inception_model.conv2d_init.{part}")].clone();
            stored.insert(format!("inception_model.vis_inception.0.{part}"), twin);
        }
        // The bias has both of its names, the weight has only the second.
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
fn half_precision_weights_predict_nearly_the_same() {
    let inputs = init::inputs(2, &small().needs()).unwrap();
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
fn a_truncated_file_is_refused_at_any_length() {
    let dir = written(&small());
    let path = dir.path().join(WEIGHTS_FILE);
    let whole = fs::read(&path).unwrap();
    for length in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_says(&refusal(dir.path()), &["model.safetensors", "truncated"]);
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
