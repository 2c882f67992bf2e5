//! AstroMAE against the reference implementation: every activation, with weights that follow a rule.
//!
//! The expected numbers are float64 outputs of the public Python network, with the weights of [`hubbleflow_models::init`]
//! (salt "") on the batch of [`hubbleflow_models::init::inputs`]. For each activation they are the sum of its magnitudes, and
//! elements spread over it. The network here computes in float32. It may differ by 1e-5 of the activation's largest
//! element.

#![allow(clippy::unwrap_used)]

use hubbleflow_models::{AstroMae, Config, Model, Precision, Taps, init};
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

const INPUTS: [Golden; 2] = [
    Golden {
        tap: "cutouts",
        shape: &[4, 5, 32, 32],
        scale: 5.109492778778076,
        sum: 5397.243130785652,
        elements: &[
            (0, -0.2622573971748352),
            (4095, -0.03948794677853584),
            (8191, 0.07950808107852936),
            (12287, 0.019590353593230247),
            (16383, 0.013807833194732666),
            (20479, -0.1937360316514969),
        ],
    },
    Golden {
        tap: "mags",
        shape: &[4, 5],
        scale: 20.951717376708984,
        sum: 357.3765068054199,
        elements: &[
            (0, 18.77171516418457),
            (3, 15.1640043258667),
            (7, 16.545881271362305),
            (11, 17.53221893310547),
            (15, 18.483423233032227),
            (19, 20.862918853759766),
        ],
    },
];

/// The branches that do not depend on the encoder.
const BESIDE: [Golden; 2] = [
    Golden {
        tap: "inception",
        shape: &[4, 1096],
        scale: 0.46034924027237617,
        sum: 376.12294269739726,
        elements: &[
            (0, -0.32925852593467453),
            (876, 0.015800276206229643),
            (1753, 0.0027278843852019045),
            (2629, -0.032820690260474863),
            (3506, 0.034422163524726414),
            (4383, 0.05815593313999392),
        ],
    },
    Golden {
        tap: "magnitude",
        shape: &[4, 1024],
        scale: 15.301282882412803,
        sum: 14799.969773387918,
        elements: &[
            (0, -0.40365907873084705),
            (819, 1.297920821980622),
            (1638, -2.9932201130506733),
            (2457, 7.768671757979901),
            (3276, 2.038567000605198),
            (4095, -5.567027712931008),
        ],
    },
];

const PCM_1X1: [Golden; 3] = [
    Golden {
        tap: "encoder",
        shape: &[4, 192],
        scale: 8.711190378987153,
        sum: 425.2139980052142,
        elements: &[
            (0, 0.9651333795471042),
            (153, 0.7744101531052118),
            (306, 0.314929514664948),
            (460, 0.10555067168972883),
            (613, -0.14758910986883664),
            (767, -0.8518927048191756),
        ],
    },
    Golden {
        tap: "vit_block",
        shape: &[4, 1096],
        scale: 2.620641645721608,
        sum: 2490.9138211213876,
        elements: &[
            (0, -0.15065123825136137),
            (876, 1.1521401146316157),
            (1753, 0.35701360882353056),
            (2629, 0.7376275329630105),
            (3506, 0.28426451542474046),
            (4383, -0.4783076916350895),
        ],
    },
    Golden {
        tap: "z_phot",
        shape: &[4],
        scale: 1.6307527339070538,
        sum: 6.164173470243847,
        elements: &[
            (0, -1.6307527339070538),
            (1, -1.5212881114631345),
            (2, -1.432048077944492),
            (3, -1.5800845469291676),
        ],
    },
];

const PCM_3X3: [Golden; 3] = [
    Golden {
        tap: "encoder",
        shape: &[4, 192],
        scale: 4.769635275008342,
        sum: 558.6467078983904,
        elements: &[
            (0, 0.5668141116494418),
            (153, -0.4874497818314703),
            (306, -0.7487734334296169),
            (460, 0.2190328676268456),
            (613, 1.782551280077605),
            (767, -1.745854247892949),
        ],
    },
    Golden {
        tap: "vit_block",
        shape: &[4, 1096],
        scale: 2.3909777576388915,
        sum: 2389.6738472765996,
        elements: &[
            (0, -0.4949918697074302),
            (876, 0.15406738921978805),
            (1753, -1.4894213035945887),
            (2629, 0.22233107124673493),
            (3506, 0.9980886284265759),
            (4383, -0.07522098232543392),
        ],
    },
    Golden {
        tap: "z_phot",
        shape: &[4],
        scale: 2.1093348942233194,
        sum: 8.344500731616286,
        elements: &[
            (0, -2.1093348942233194),
            (1, -2.052586327632877),
            (2, -2.100242124099165),
            (3, -2.082337385660924),
        ],
    },
];

const PLAIN: [Golden; 3] = [
    Golden {
        tap: "encoder",
        shape: &[4, 192],
        scale: 3.0544541298874694,
        sum: 605.0584100034995,
        elements: &[
            (0, 0.07986413504893605),
            (153, 1.917381104440364),
            (306, -1.225472715741163),
            (460, -0.15175413000819513),
            (613, 2.05306423066612),
            (767, 0.42262114400593737),
        ],
    },
    Golden {
        tap: "vit_block",
        shape: &[4, 1096],
        scale: 2.361619701070586,
        sum: 2377.4375524825246,
        elements: &[
            (0, 1.0262117460966427),
            (876, 0.3223121593002932),
            (1753, -0.05642246220976962),
            (2629, 0.23785678020814258),
            (3506, 0.39698373630482847),
            (4383, -0.21656878175959),
        ],
    },
    Golden {
        tap: "z_phot",
        shape: &[4],
        scale: 1.9663824546544006,
        sum: 7.7466824057941235,
        elements: &[
            (0, -1.9663824546544006),
            (1, -1.9055934064840887),
            (2, -1.9462503178793162),
            (3, -1.9284562267763175),
        ],
    },
];

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

fn assert_reproduces(preset: &str, encoder: &[Golden]) {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), &Config::preset(preset).unwrap(), "").unwrap();
    let model = AstroMae::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let taps = model
        .taps(&init::inputs(4, model.needs()).unwrap())
        .unwrap();
    for golden in encoder.iter().chain(&BESIDE) {
        assert_golden(tap(&taps, golden.tap), golden);
    }
}

#[test]
fn inputs_follow_the_rule() {
    let needs = Config::preset("astromae").unwrap().needs();
    let inputs = init::inputs(4, &needs).unwrap();
    assert_golden(&inputs.cutouts.unwrap(), &INPUTS[0]);
    assert_golden(&inputs.mags.unwrap(), &INPUTS[1]);
}

#[test]
fn pcm_with_kernel_1() {
    assert_reproduces("astromae", &PCM_1X1);
}

#[test]
fn pcm_with_kernel_3() {
    assert_reproduces("astromae-pcm3", &PCM_3X3);
}

#[test]
fn plain_blocks() {
    assert_reproduces("astromae-plain", &PLAIN);
}
