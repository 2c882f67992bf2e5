//! The predictions of a loaded model.

use hubbleflow_models::config::EncoderKind;
use hubbleflow_models::{
    AstroMae, Branch, Config, Inputs, Precision, check, init, load, single_threaded,
};
use tch::{Device, Kind, Tensor};

use super::{assert_says, open, predictions, small, written};

#[test]
fn a_single_image_branch_is_relu_and_one_linear_layer() {
    let dir = written(&Config {
        branches: vec![Branch::Inception],
        ..small()
    });
    let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let taps = model
        .taps(&init::inputs(2, &small().needs()).unwrap())
        .unwrap();
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
fn larger_cutouts_are_cropped_around_their_centre() {
    let dir = written(&small());
    let model = open(dir.path()).unwrap();
    let Inputs { cutouts, mags, .. } = init::inputs(2, &small().needs()).unwrap();
    let cutouts = cutouts.unwrap();
    let framed = cutouts.f_constant_pad_nd([16, 16, 16, 16]).unwrap();
    let wide = Inputs {
        cutouts: Some(framed),
        mags: mags.as_ref().map(Tensor::shallow_clone),
        ..Inputs::default()
    };
    let exact = Inputs {
        cutouts: Some(cutouts),
        mags,
        ..Inputs::default()
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
        let error = model
            .z_phot(&Inputs {
                cutouts,
                mags,
                ..Inputs::default()
            })
            .unwrap_err();
        assert_says(&error.to_string(), &[expected]);
    }
    let empty = Inputs {
        cutouts: zeros(&[0, 5, 32, 32], Kind::Float),
        mags: zeros(&[0, 5], Kind::Float),
        ..Inputs::default()
    };
    assert_eq!(model.z_phot(&empty).unwrap().size(), [0]);
}

#[test]
fn replicas_on_other_threads_predict_the_same_bits() {
    single_threaded();
    let dir = written(&small());
    let model = open(dir.path()).unwrap();
    let expected = predictions(model.as_ref(), &init::inputs(8, &small().needs()).unwrap());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let replica = model.replica().unwrap();
            std::thread::spawn(move || {
                single_threaded();
                predictions(
                    replica.as_ref(),
                    &init::inputs(8, &small().needs()).unwrap(),
                )
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), expected);
    }
    // The same input at another place in memory.
    let shifted = |t: Option<Tensor>| {
        let t = t.unwrap();
        let flat = Tensor::zeros([t.numel() as i64 + 1], (Kind::Float, Device::Cpu));
        flat.narrow(0, 1, t.numel() as i64).copy_(&t.flatten(0, -1));
        Some(flat.narrow(0, 1, t.numel() as i64).view_(t.size()))
    };
    let Inputs { cutouts, mags, .. } = init::inputs(8, &small().needs()).unwrap();
    let inputs = Inputs {
        cutouts: shifted(cutouts),
        mags: shifted(mags),
        ..Inputs::default()
    };
    assert_eq!(predictions(model.as_ref(), &inputs), expected);
}

#[test]
fn bf16_is_near_fp32_and_comes_out_as_float32() {
    let dir = written(&small());
    let inputs = init::inputs(4, &small().needs()).unwrap();
    let half = load(dir.path(), Device::Cpu, Precision::Bf16).unwrap();
    assert_eq!(half.z_phot(&inputs).unwrap().kind(), Kind::Float);
    let half = predictions(half.replica().unwrap().as_ref(), &inputs);
    let full = predictions(open(dir.path()).unwrap().as_ref(), &inputs);
    for (half, full) in half.iter().zip(&full) {
        assert!(half != full && (half - full).abs() < 0.1, "{half}, {full}");
    }
}
