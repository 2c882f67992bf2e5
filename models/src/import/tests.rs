//! Imported tensors whose names, shapes and attributes tell the configuration.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::names::renamed;
use super::sizes::{configuration, number_of_heads};
use super::{Given, ImportedTensors, constants};
use crate::checkpoint::Checkpoint;
use crate::config::{Branch, Config, EncoderConfig, EncoderKind};
use crate::layout;
use crate::tensor_file::f32_bytes;

/// The tensors of the layout of `config`, filled with zeros.
fn zeros(config: &Config) -> ImportedTensors {
    let entries = layout::layout(config).into_iter();
    ImportedTensors {
        tensors: entries
            .map(|entry| {
                let len = entry.shape.iter().product();
                (entry.name, (entry.shape, vec![0.0; len]))
            })
            .collect(),
        numbers: BTreeMap::new(),
    }
}

fn prefixed(imported: ImportedTensors, prefix: &str) -> ImportedTensors {
    let tensors = imported.tensors.into_iter();
    ImportedTensors {
        tensors: tensors
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
            .collect(),
        numbers: BTreeMap::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_shapes_tell_the_configuration(
        plain in any::<bool>(),
        depth in 1usize..4,
        heads in 1usize..4,
        kernel in 0usize..2,
        group in prop::sample::select(vec![4usize, 8, 24]),
        patch_px in prop::sample::select(vec![4usize, 8, 16]),
        wrapped in any::<bool>(),
        grid in 1usize..5,
        bands in 1usize..8,
        mags in 1usize..8,
    ) {
        let named = |count: usize| (0..count).map(|n| format!("band-{n}")).collect::<Vec<_>>();
        let mut config = Config::preset("astromae").unwrap();
        config.bands = named(bands);
        config.mags = (mags != bands).then(|| named(mags));
        config.cutout_px = patch_px * (grid + 1);
        config.encoder = EncoderConfig {
            kind: if plain { EncoderKind::Plain } else { EncoderKind::Pcm },
            width: 24,
            depth,
            heads,
            mlp_ratio: 2,
            patch_px,
            pcm_kernel: if plain { 1 } else { 2 * kernel + 1 },
            pcm_group: if plain { 1 } else { group },
        };
        let imported = prefixed(zeros(&config), if wrapped { "module." } else { "" });
        let found = {
            let given = Given {
                heads: Some(heads),
                bands: Some(named(bands)),
                mags: config.mags.clone(),
            };
            configuration(&renamed(imported).unwrap(), &given).unwrap()
        };
        prop_assert_eq!(found, Config { name: String::new(), ..config });
    }
}

#[test]
fn an_inception_network_alone_has_its_own_names() {
    let mut config = Config::preset("astromae").unwrap();
    config.branches = vec![Branch::Inception, Branch::Magnitude];
    let tensors = zeros(&config).tensors.into_iter().map(|(name, tensor)| {
        let name = name.replace("concat_block.", "head_incept_mag.");
        (name.replace("inception_model.", ""), tensor)
    });
    let imported = ImportedTensors {
        tensors: tensors.collect(),
        numbers: BTreeMap::new(),
    };
    let imported = renamed(imported).unwrap();
    assert_eq!(
        configuration(&imported, &Given::default())
            .unwrap()
            .branches,
        config.branches
    );
    let bytes = f32_bytes(imported.arrays()).unwrap();
    Checkpoint::parse(Path::new("alone"), &bytes, &config).unwrap();
}

#[test]
fn heads_are_never_guessed() {
    let imported = |said: &[f64]| ImportedTensors {
        tensors: BTreeMap::new(),
        numbers: said
            .iter()
            .enumerate()
            .map(|(block, heads)| (format!("blocks.{block}.attn.num_heads"), *heads))
            .collect(),
    };
    assert_eq!(number_of_heads(&imported(&[3.0, 3.0]), None), Ok(3));
    assert_eq!(number_of_heads(&imported(&[]), Some(6)), Ok(6));
    for (said, given, word) in [
        (&[][..], None, "--heads"),
        (&[3.0, 6.0], None, "different"),
        (&[3.0], Some(6), "--heads says 6"),
    ] {
        let error = number_of_heads(&imported(said), given).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_different_epsilon_is_refused() {
    let mut imported = ImportedTensors::default();
    imported
        .numbers
        .insert("blocks.0.norm1.eps".to_owned(), 1e-6);
    assert_eq!(constants::check(&imported), Ok(()));
    imported
        .numbers
        .insert("blocks.0.norm1.eps".to_owned(), 1e-5);
    assert!(constants::check(&imported).is_err());
}

/// Every import was of five bands, u, g, r, i and z.
#[test]
fn bands_are_counted_and_named_by_the_user() {
    let config = |bands: &[&str], mags: Option<&[&str]>| {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut config = Config::preset("astromae").unwrap();
        (config.bands, config.mags) = (named(bands), mags.map(named));
        config.branches = vec![Branch::Inception, Branch::Magnitude];
        config.cutout_px = 48;
        config
    };
    let ugriz = ["u", "g", "r", "i", "z"];
    let found = |config: &Config, bands: Option<&str>, mags: Option<&str>| {
        let named = |names: &str| names.split(',').map(str::to_owned).collect();
        let given = Given {
            heads: None,
            bands: bands.map(named),
            mags: mags.map(named),
        };
        configuration(&zeros(config), &given)
    };
    // Five are u, g, r, i and z unless something else is said; as many magnitudes are of the same bands.
    for (config, bands, mags) in [
        (config(&ugriz, None), None, None),
        (
            config(&["a", "b", "c", "d", "e"], None),
            Some("a,b,c,d,e"),
            None,
        ),
        (config(&["g", "r", "z"], None), Some("g,r,z"), None),
        (config(&["g", "r", "z"], Some(&ugriz)), Some("g,r,z"), None),
        (config(&ugriz, Some(&["r"])), None, Some("r")),
    ] {
        let found = found(&config, bands, mags).unwrap();
        assert_eq!((found.cutout_px, found.mags()), (48, config.mags()));
        assert_eq!(found.bands, config.bands);
    }
    let refused = |config: &Config, bands, mags, says: &str| {
        let reason = found(config, bands, mags).unwrap_err();
        assert!(reason.contains(says), "{reason}");
    };
    let grz = config(&["g", "r", "z"], None);
    refused(
        &grz,
        None,
        None,
        "cutouts in 3 bands and does not say which",
    );
    refused(
        &grz,
        Some("g,r"),
        None,
        "cutouts in 3 bands, and --bands names 2",
    );
    refused(
        &grz,
        Some("g,r,z"),
        Some("r"),
        "magnitudes in 3 bands, and --mags names 1",
    );
    let one = config(&ugriz, Some(&["r"]));
    refused(
        &one,
        None,
        None,
        "magnitudes in 1 bands and does not say which",
    );
}
