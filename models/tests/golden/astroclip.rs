//! AstroCLIP's image encoder against the reference, small: width 96, four blocks in two chunks, cutouts of 56 pixels that
//! are cropped to 48, a query of width 64. Its weights and its cutouts follow the rule of the file.

use hubbleflow_models::config::{AstroClipConfig, QueryConfig};
use hubbleflow_models::{
    AstroClip, Inputs, InstructionSet, Model, Precision, init, load, load_with,
};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use super::{Golden, assert_golden};

const GOLDENS: [Golden; 5] = [
    Golden {
        tap: "cutouts",
        shape: &[3, 3, 56, 56],
        scale: 0.36043187975883484,
        sum: 572.5441173822705,
        elements: &[
            (0, -0.017483824864029884),
            (5645, -0.0115900207310915),
            (11289, 0.20316769182682037),
            (16934, 0.022363295778632164),
            (22578, -0.012342640198767185),
            (28223, 0.005764248315244913),
        ],
    },
    Golden {
        tap: "rgb",
        shape: &[3, 3, 48, 48],
        scale: 1.0,
        sum: 4817.684716461534,
        elements: &[
            (0, 0.22665320029931996),
            (3930, 0.019167392678516824),
            (8184, 0.250450839735885),
            (12254, 0.5369119014601065),
            (16376, 0.26788803195132194),
            (20735, 0.38497055031731053),
        ],
    },
    Golden {
        tap: "tokens",
        shape: &[3, 16, 96],
        scale: 2.6855529616159934,
        sum: 3793.1256248504574,
        elements: &[
            (0, -1.4199372046469065),
            (921, 0.32647773661844975),
            (1843, 0.5879726236709125),
            (2764, -0.5186383148128244),
            (3686, 1.3579330384013721),
            (4607, -1.7227896143332686),
        ],
    },
    Golden {
        tap: "seen",
        shape: &[3, 64],
        scale: 2.712191963402715,
        sum: 158.4433729036722,
        elements: &[
            (0, -0.14720452481943158),
            (38, 0.5267713416423059),
            (76, 0.9464172025340076),
            (115, -0.11972151260523595),
            (153, -0.3592349062129897),
            (191, 0.9156881063194493),
        ],
    },
    Golden {
        tap: "embedding",
        shape: &[3, 64],
        scale: 1.3898846721615528,
        sum: 90.81460280098099,
        elements: &[
            (0, -0.6311378617225061),
            (38, 0.3560267711349179),
            (76, -0.22052413685646943),
            (115, 0.9335821274719375),
            (153, 0.7701261952019481),
            (191, 0.2235481462331803),
        ],
    },
];

/// The class token of the backbone alone, after its last norm, with class token and positions added.
const BACKBONE: Golden = Golden {
    tap: "embedding",
    shape: &[3, 96],
    scale: 2.5320553836014765,
    sum: 235.64289789169723,
    elements: &[
        (0, -1.400273402390613),
        (57, -0.3141229729955832),
        (115, 0.4647734875230236),
        (172, -0.1511483638734035),
        (230, 1.7608195133735032),
        (287, -1.643302633658755),
    ],
};

fn small() -> TempDir {
    written(|_| ())
}

fn written(change: impl FnOnce(&mut AstroClipConfig)) -> TempDir {
    let mut config = AstroClipConfig::public();
    (config.encoder.width, config.encoder.depth) = (96, 4);
    (config.encoder.heads, config.encoder.chunks) = (3, 2);
    config.query = Some(QueryConfig {
        width: 64,
        heads: 4,
    });
    config.cutout_px = 48;
    change(&mut config);
    let dir = tempfile::tempdir().unwrap();
    init::astroclip(dir.path(), &config, "").unwrap();
    dir
}

/// Cutouts of 56 pixels: a galaxy off the centre, in noise.
fn cutouts() -> Tensor {
    let (noise, amplitude) = (
        init::Uniform::new("input.image"),
        init::Uniform::new("input.amp"),
    );
    let (px, centre) = (56, 28.0);
    let pixel = |i: usize| {
        let (x, y) = ((i % px) as f64, (i / px % px) as f64);
        let r2 = (x - centre).powi(2) + (y - 1.3 * centre).powi(2);
        let flux = 0.05 + 0.3 * amplitude.u(i / px / px);
        (0.02 * noise.s(i) + flux * (-r2 / 60.0).exp()) as f32
    };
    let pixels: Vec<f32> = (0..3 * 3 * px * px).map(pixel).collect();
    Tensor::from_slice(&pixels).reshape([3, 3, 56, 56])
}

fn inputs() -> Inputs {
    Inputs {
        cutouts: Some(cutouts()),
        ..Inputs::default()
    }
}

fn embedding(model: &dyn Model, inputs: &Inputs) -> Tensor {
    model.forward(inputs, model.outputs()).unwrap().remove(0)
}

#[test]
fn astroclip_reproduces_every_activation() {
    let dir = small();
    let model = AstroClip::load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let taps = model.taps(&inputs()).unwrap();
    for golden in &GOLDENS {
        let found = match golden.tap {
            "cutouts" => &cutouts(),
            "rgb" => &taps.rgb,
            "tokens" => &taps.tokens,
            "seen" => &taps.seen,
            _ => &taps.embedding,
        };
        assert_golden(found, golden);
    }
}

#[test]
fn astroclip_gives_its_embedding_with_all_instructions() {
    let dir = small();
    let golden = &GOLDENS[4];
    let sets = InstructionSet::ALL.into_iter();
    for set in sets.filter(|set| set.is_available()) {
        let of = |precision| load_with(dir.path(), Device::Cpu, precision, set).unwrap();
        assert_golden(&embedding(of(Precision::Fp32).as_ref(), &inputs()), golden);
        let half = embedding(of(Precision::Bf16).as_ref(), &inputs());
        assert_eq!(half.kind(), Kind::Float);
        for &(place, expected) in golden.elements {
            let off = half.flatten(0, -1).double_value(&[place]) - expected;
            assert!(off.abs() < 0.02 * golden.scale, "{set:?}: {off}");
        }
    }
}

#[test]
fn a_backbone_alone_gives_its_class_token() {
    let dir = written(|config| config.query = None);
    let model = load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    assert_golden(&embedding(model.as_ref(), &inputs()), &BACKBONE);
}

#[test]
fn an_astroclip_is_the_same_in_parts_and_on_other_threads() {
    hubbleflow_models::single_threaded();
    let dir = small();
    let model = load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    // 16 tokens a galaxy: more than go through the network together.
    let many = init::inputs(300, model.needs()).unwrap();
    let whole = embedding(model.as_ref(), &many);
    let tail = Inputs {
        cutouts: many.cutouts.as_ref().map(|x| x.narrow(0, 256, 44)),
        ..Inputs::default()
    };
    assert!(embedding(model.as_ref(), &tail) == whole.narrow(0, 256, 44));
    let replica = model.replica().unwrap();
    let thread = std::thread::spawn(move || {
        hubbleflow_models::single_threaded();
        let many = init::inputs(300, replica.needs()).unwrap();
        embedding(replica.as_ref(), &many)
    });
    assert!(thread.join().unwrap() == whole);
}

#[test]
fn an_astroclip_gives_no_redshift() {
    let dir = small();
    let model = load(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    let error = model.z_phot(&inputs()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the model gives no z_phot, only embedding (64 values)"
    );
}
