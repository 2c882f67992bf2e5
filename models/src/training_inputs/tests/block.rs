//! The block `training_inputs` of `config.json`: written, read and refused.

use crate::config::{Branch, Config};
use crate::head::HeadConfig;
use crate::training_inputs::{ApertureRange, CoreRange, MagRange, TrainingInputs, Unlike};

/// The inputs of a training of the preset `astromae`: five magnitudes, and cutouts in five bands.
fn training_inputs() -> TrainingInputs {
    let row = |row: usize| (0..15).map(move |column| f64::from(u8::from(row == column)));
    TrainingInputs {
        mags: Some(MagRange {
            reference: [14.0, 17.75],
            distance_max: 4.5,
        }),
        apertures: Some(ApertureRange {
            side_px: 8,
            softening: vec![0.25; 5],
            distance_max: 5.0,
            core: Some(CoreRange {
                side_px: 4,
                distance_max: 5.5,
                share_max: 0.75,
            }),
        }),
        mean: vec![17.0; 15],
        matrix: (0..15).map(|place| row(place).collect()).collect(),
    }
}

#[test]
fn the_inputs_of_a_training_are_read_as_they_were_written() {
    let mut config = Config::preset("astromae").unwrap();
    config.training_inputs = Some(training_inputs());
    let json = serde_json::to_string(&config).unwrap();
    assert!(
        json.contains(
            r#""training_inputs":{"mags":{"reference":[14.0,17.75],"distance_max":4.5},"apertures":{"side_px":8,"#
        ),
        "{json}"
    );
    let parse = |json: &str| Config::parse("config.json".as_ref(), json.as_bytes());
    assert_eq!(parse(&json).unwrap(), config);
    assert_eq!(config.needs().training_inputs, config.training_inputs);
    for unknown in [
        json.replace("side_px", "side"),
        json.replace("distance_max", "distance"),
        json.replace("share_max", "share"),
        json.replace("\"mean\":", "\"median\":"),
        json.replace("[14.0,17.75]", "[14.0]"),
    ] {
        assert!(parse(&unknown).is_err(), "{unknown}");
    }
    // An encoder that is pretrained for the network has none.
    assert_eq!(config.pretraining().training_inputs, None);
}

/// A block of a training before cores were learned: it is compared by its aperture alone.
#[test]
fn a_block_without_a_core_is_read_and_compared() {
    let json = r#"{"apertures": {"side_px": 8, "softening": [0.1, 0.2], "distance_max": 2.0},
                   "mean": [17.0, 16.0], "matrix": [[1.0, 0.0], [-3.0, 3.0]]}"#;
    let inputs: TrainingInputs = serde_json::from_str(json).unwrap();
    assert_eq!(inputs.validate(0, Some((2, 32))), Ok(()));
    assert_eq!(inputs.apertures.as_ref().unwrap().core, None);
    let written = serde_json::to_string(&inputs).unwrap();
    assert!(!written.contains("core"), "{written}");
    // Of magnitudes 17 and 16, then of a colour that lies 3 away.
    let usual = inputs.compare(&[], None, &[158.5, 398.1]);
    assert_eq!(usual, Unlike::default());
    let red = inputs.compare(&[], None, &[158.5, 1000.0]);
    assert!(red.outside_training && !red.flux_mismatch);
    // The fluxes of a core are too many.
    let with_cores = inputs.compare(&[], None, &[158.5, 398.1, 158.5, 398.1]);
    assert_eq!(with_cores, Unlike::default());
}

/// The bands are added in units of their noise, and a star is told whatever the magnitudes are.
#[test]
fn light_that_is_more_concentrated_than_that_of_the_training_is_outside() {
    let mut inputs = training_inputs();
    let range = inputs.apertures.as_mut().unwrap();
    range.softening = vec![0.1, 0.1, 0.1, 0.1, 10.0];
    [
        range.distance_max,
        range.core.as_mut().unwrap().distance_max,
    ] = [1e9; 2];
    inputs.mags.as_mut().unwrap().distance_max = 1e9;
    let compare = |cores: [f64; 5]| {
        let fluxes = [vec![100.0; 5], cores.to_vec()].concat();
        inputs.compare(&[17.0; 5], Some(17.0), &fluxes)
    };
    let compact = Unlike {
        outside_training: true,
        flux_mismatch: false,
    };
    assert_eq!(compare([74.0; 5]), Unlike::default());
    assert_eq!(compare([76.0; 5]), compact);
    assert_eq!(compare([76.0, 76.0, 76.0, 76.0, 0.0]), compact);
    assert_eq!(compare([74.0, 74.0, 74.0, 74.0, 100.0]), Unlike::default());
    assert_eq!(compare([90.0, 50.0, 70.0, 60.0, 90.0]), Unlike::default());
    // Where there is no light, no share of it is too large.
    for none in [0.0, -100.0] {
        let blank = [vec![none; 5], vec![1.0; 5]].concat();
        let unlike = inputs.compare(&[17.0; 5], Some(17.0), &blank);
        assert_eq!(unlike, Unlike::default());
    }
}

type Change = fn(&mut TrainingInputs);

/// What does not fit, and how the message goes on after the name of the block.
const MISFITS: [(Change, &str); 18] = [
    (
        |t| (t.mags, t.apertures) = (None, None),
        "` must have `mags`, `apertures` or both",
    ),
    (|t| t.mags = None, ".mean` has 15 entries: it must have 10"),
    (
        |t| t.apertures = None,
        ".mean` has 15 entries: it must have 5",
    ),
    (
        |t| t.apertures.as_mut().unwrap().core = None,
        ".mean` has 15 entries: it must have 10",
    ),
    (
        |t| t.mean.truncate(9),
        ".mean` has 9 entries: it must have 15",
    ),
    (
        |t| t.matrix.truncate(9),
        ".matrix` has 9 entries: it must have 15",
    ),
    (
        |t| t.matrix[3].truncate(9),
        ".matrix[3]` has 9 entries: it must have 15",
    ),
    (
        |t| t.matrix[3][4] = 0.1,
        ".matrix[3]` must be above 0 on the diagonal, and 0 beyond it",
    ),
    (
        |t| t.matrix[3][3] = 0.0,
        ".matrix[3]` must be above 0 on the diagonal, and 0 beyond it",
    ),
    (
        |t| t.matrix[3][0] = f64::NAN,
        "`: every number must be finite",
    ),
    (
        |t| t.mean[0] = f64::INFINITY,
        "`: every number must be finite",
    ),
    (
        |t| t.mags.as_mut().unwrap().reference = [17.0, 14.0],
        ".mags.reference` must be two magnitudes, the brighter one first",
    ),
    (
        |t| t.mags.as_mut().unwrap().distance_max = 0.0,
        ".mags.distance_max` must be above 0",
    ),
    (
        |t| t.apertures.as_mut().unwrap().distance_max = f64::NAN,
        ".apertures.distance_max` must be above 0",
    ),
    (
        |t| core(t).distance_max = 0.0,
        ".apertures.core.distance_max` must be above 0",
    ),
    (
        |t| core(t).share_max = f64::NAN,
        ".apertures.core.share_max` must be above 0",
    ),
    (
        |t| t.apertures.as_mut().unwrap().softening[2] = 0.0,
        ".apertures.softening`: every number must be above 0",
    ),
    (
        |t| t.apertures.as_mut().unwrap().softening.truncate(4),
        ".apertures.softening` has 4 entries, and `bands` 5",
    ),
];

fn core(of: &mut TrainingInputs) -> &mut CoreRange {
    of.apertures.as_mut().unwrap().core.as_mut().unwrap()
}

#[test]
fn inputs_of_a_training_that_do_not_fit_the_model_are_refused() {
    let mut config = Config::preset("astromae").unwrap();
    for (change, says) in MISFITS {
        let mut inputs = training_inputs();
        change(&mut inputs);
        config.training_inputs = Some(inputs);
        let reason = config.validate().unwrap_err().to_string();
        let says = format!("`training_inputs{says}");
        assert!(reason.starts_with(&says), "{reason}, not {says}");
    }
    for side_px in [0, 33] {
        let mut inputs = training_inputs();
        inputs.apertures.as_mut().unwrap().side_px = side_px;
        config.training_inputs = Some(inputs);
        let reason = config.validate().unwrap_err().to_string();
        assert!(
            reason.contains("from 1 to the side of the cutout, 32"),
            "{reason}"
        );
    }
    for side_px in [0, 8] {
        let mut inputs = training_inputs();
        core(&mut inputs).side_px = side_px;
        config.training_inputs = Some(inputs);
        let reason = config.validate().unwrap_err().to_string();
        let says = format!("core.side_px` is {side_px}: it must be from 1 to less than");
        assert!(reason.contains(&says), "{reason}");
    }
}

/// A model has no flags of inputs that it does not take.
#[test]
fn inputs_of_a_training_that_the_model_does_not_take_are_refused() {
    let of = |change: fn(&mut Config)| {
        let mut config = Config::preset("astromae").unwrap();
        config.training_inputs = Some(training_inputs());
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    let without_mags = of(|config| config.branches = vec![Branch::Encoder]);
    assert!(without_mags.starts_with("`training_inputs.mags` is of a model"));
    let without_cutouts = of(|config| config.branches = vec![Branch::Magnitude]);
    assert!(without_cutouts.starts_with("`training_inputs.apertures` is of a model"));
    let mae = of(|config| {
        let training_inputs = config.training_inputs.take();
        *config = config.pretraining();
        config.training_inputs = training_inputs;
    });
    assert!(mae.starts_with("`training_inputs`: a `mae`"), "{mae}");
    let mags = ["g", "r"].map(str::to_owned);
    let mut head = HeadConfig::new("my head", 4, &mags).unwrap();
    head.training_inputs = Some(training_inputs());
    let reason = head.validate().unwrap_err().to_string();
    assert!(reason.starts_with("`training_inputs.apertures` is of a model"));
    head.training_inputs = Some(TrainingInputs {
        apertures: None,
        mean: vec![17.0; 2],
        matrix: vec![vec![1.0, 0.0], vec![0.5, 1.0]],
        ..training_inputs()
    });
    assert_eq!(head.validate(), Ok(()));
}
