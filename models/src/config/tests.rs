//! Sizes that contradict each other, or are too large.
#![allow(clippy::unwrap_used)]

use super::{Branch, Config, HeadKind, LEVELS};
use crate::preprocess::{CutoutPreprocess, MagPreprocess};

/// Regression: `width * mlp_ratio` wrapped around to the size that the weights had.
#[test]
fn sizes_whose_products_would_wrap_are_refused_by_name() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 5] = [
        ("mlp_ratio", |c| c.encoder.mlp_ratio = (1 << 58) + 4),
        ("width", |c| c.encoder.width = 3 << 60),
        ("cutout_px", |c| c.cutout_px = 1 << 40),
        ("pcm_kernel", |c| c.encoder.pcm_kernel = usize::MAX),
        ("width", |c| {
            *c = c.pretraining();
            c.decoder.as_mut().unwrap().width = 3 << 60;
        }),
    ];
    for (name, change) in changes {
        let mut config = Config::preset("astromae").unwrap();
        change(&mut config);
        let reason = config.validate().unwrap_err().to_string();
        assert!(reason.contains(&format!("`{name}` is ")), "{reason}");
    }
}

/// A model's id is the digest of its bytes: a field that says what was always so would change it.
#[test]
fn a_configuration_of_ugriz_has_the_bytes_that_it_had() {
    let config = Config::preset("astromae-tiny").unwrap();
    let json = r#"{"architecture":"astromae","name":"astromae-tiny","bands":["u","g","r","i","z"],"cutout_px":32,"encoder":{"kind":"pcm","width":192,"depth":2,"heads":3,"mlp_ratio":4,"patch_px":8,"pcm_kernel":1,"pcm_group":48},"branches":["encoder","inception","magnitude"],"preprocess":{"cutout":{"kind":"identity"},"mag":{"kind":"identity"}}}"#;
    assert_eq!(serde_json::to_string(&config).unwrap(), json);
}

/// Every field that depends on the bands, and what is said if it does not fit them.
#[test]
fn bands_and_what_depends_on_them_must_fit() {
    type Change = fn(&mut Config);
    let named = |names: &[&str]| -> Vec<String> { names.iter().map(|n| (*n).to_owned()).collect() };
    let fine: [Change; 3] = [
        |c| c.bands = (0..64).map(|n| format!("narrow-{n}")).collect(),
        |c| c.mags = Some(vec!["Y".to_owned()]),
        |c| {
            c.mags = Some(vec![]);
            c.branches = vec![Branch::Encoder];
        },
    ];
    for change in fine {
        let mut config = Config::preset("astromae").unwrap();
        change(&mut config);
        assert_eq!(config.validate(), Ok(()), "{config:?}");
    }
    for (names, says) in [
        (named(&[]), "is empty"),
        (named(&["g", "r", "g"]), "the band g twice"),
        (named(&["g", ""]), r#""""#),
        (named(&["g r"]), r#""g r""#),
        (named(&["a/b"]), r#""a/b""#),
        (named(&["a=b"]), r#""a=b""#),
        (named(&["a\u{7}"]), r#""a\u{7}""#),
        ((0..65).map(|n| format!("{n}")).collect(), "65 bands"),
    ] {
        let mut config = Config::preset("astromae").unwrap();
        config.mags = Some(names.clone());
        let reason = config.validate().unwrap_err().to_string();
        assert!(
            reason.starts_with("`mags` ") && reason.contains(says),
            "{reason}"
        );
        (config.mags, config.bands) = (None, names);
        let reason = config.validate().unwrap_err().to_string();
        assert!(
            reason.starts_with("`bands` ") && reason.contains(says),
            "{reason}"
        );
    }
}

#[test]
fn scales_are_one_for_each_band() {
    let asinh = |softening: usize, scale: usize| CutoutPreprocess::Asinh {
        dereddening: Vec::new(),
        softening: vec![1.0; softening],
        scale: vec![1.0; scale],
    };
    let whiten = |mean: usize, rows: usize, columns: usize| MagPreprocess::Whiten {
        mean: vec![17.0; mean],
        matrix: vec![vec![1.0; columns]; rows],
    };
    let mut config = Config::preset("astromae").unwrap();
    config.bands = ["g", "r", "z"].map(str::to_owned).to_vec();
    config.mags = Some(vec!["r".to_owned(), "z".to_owned()]);
    for (cutout, mag, says) in [
        (
            asinh(5, 3),
            whiten(2, 2, 2),
            "`preprocess.cutout.softening` has 5 entries, and `bands` 3",
        ),
        (
            asinh(3, 2),
            whiten(2, 2, 2),
            "`preprocess.cutout.scale` has 2 entries, and `bands` 3",
        ),
        (
            asinh(3, 3),
            whiten(3, 2, 2),
            "`preprocess.mag.mean` has 3 entries, and `mags` 2",
        ),
        (
            asinh(3, 3),
            whiten(2, 3, 2),
            "`preprocess.mag.matrix` has 3 entries, and `mags` 2",
        ),
        (
            asinh(3, 3),
            whiten(2, 2, 1),
            "`preprocess.mag.matrix[0]` has 1 entries, and `mags` 2",
        ),
    ] {
        (config.preprocess.cutout, config.preprocess.mag) = (cutout, mag);
        let reason = config.validate().unwrap_err().to_string();
        assert!(reason.starts_with(says), "{reason}");
    }
    (config.preprocess.cutout, config.preprocess.mag) = (asinh(3, 3), whiten(2, 2, 2));
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn levels_of_a_quantile_head_are_checked() {
    let head = |levels: &[f64]| HeadKind::Quantiles {
        levels: levels.to_vec(),
    };
    let of = |json: &str| serde_json::from_str::<HeadKind>(json);
    assert_eq!(of(r#"{"kind": "quantiles"}"#).unwrap(), head(&LEVELS));
    assert!(of(r#"{"kind": "quantiles", "level": [0.5]}"#).is_err());
    let mut config = Config::preset("astromae").unwrap();
    for fine in [&LEVELS[..], &[0.1, 0.5, 0.9], &[0.3, 0.4, 0.5, 0.6, 0.7]] {
        config.head = head(fine);
        assert_eq!(config.validate(), Ok(()));
        let json = serde_json::to_vec(&config).unwrap();
        assert_eq!(
            Config::parse("config.json".as_ref(), &json).unwrap(),
            config
        );
    }
    let even: Vec<f64> = (1..=100).map(|n| f64::from(n) / 101.0).collect();
    let many: Vec<f64> = (1..=1025).map(|n| f64::from(n) / 1026.0).collect();
    for (levels, says) in [
        (&[][..], "has 0 levels"),
        (&[0.5], "has 1 levels"),
        (&even, "has 100 levels"),
        (&many, "has 1025 levels"),
        (&[0.1, 0.5, 0.5], "ascend between 0 and 1"),
        (&[0.9, 0.5, 0.1], "ascend between 0 and 1"),
        (&[0.0, 0.5, 1.0], "ascend between 0 and 1"),
        (&[f64::NAN, 0.5, 0.9], "ascend between 0 and 1"),
        (&[0.1, 0.5, 0.8], "symmetric about 0.5: 0.1 and 0.8"),
        (&[0.1, 0.4, 0.9], "symmetric about 0.5: 0.4 and 0.4"),
    ] {
        config.head = head(levels);
        let reason = config.validate().unwrap_err().to_string();
        assert!(
            reason.starts_with("`head.levels` ") && reason.contains(says),
            "{reason}"
        );
    }
    // A pretrained encoder has no head.
    config.head = HeadKind::quantiles();
    assert_eq!(config.pretraining().head, HeadKind::Point);
    let mut encoder = config.pretraining();
    encoder.head = HeadKind::quantiles();
    let reason = encoder.validate().unwrap_err().to_string();
    assert!(reason.contains("`head`"));
}
