//! AstroCLIP's image encoder: its directory, and its import.

use std::fs;
use std::path::Path;

use hubbleflow_models::config::{AstroClipConfig, QueryConfig};
use hubbleflow_models::import::{Given, ImportedTensors, import_astroclip, is_astroclip};
use hubbleflow_models::{CONFIG_FILE, Precision, WEIGHTS_FILE, check, init, inspect};
use safetensors::SafeTensors;
use tch::Device;
use tempfile::TempDir;

use super::{assert_says, edit, reconfigure, refusal};

/// A head of the backbone has 64 channels, as in the published model, and the query four heads.
fn small() -> AstroClipConfig {
    let mut config = AstroClipConfig::public();
    (config.encoder.width, config.encoder.heads) = (128, 2);
    (config.encoder.depth, config.encoder.chunks) = (4, 2);
    config.cutout_px = 24;
    config.query = Some(QueryConfig {
        width: 32,
        heads: 4,
    });
    config
}

fn written(config: &AstroClipConfig) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    init::astroclip(dir.path(), config, "").unwrap();
    dir
}

/// The tensors of a directory, with another prefix.
fn stored(dir: &Path, prefix: &str) -> ImportedTensors {
    let bytes = fs::read(dir.join(WEIGHTS_FILE)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let numbers = view.data().chunks_exact(4);
        let numbers = numbers.map(|x| f32::from_le_bytes(x.try_into().unwrap()));
        let tensor = (view.shape().to_vec(), numbers.collect());
        (format!("{prefix}{name}"), tensor)
    });
    ImportedTensors {
        tensors: tensors.collect(),
        ..ImportedTensors::default()
    }
}

fn imported(tensors: ImportedTensors) -> (TempDir, AstroClipConfig) {
    assert!(is_astroclip(&tensors));
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new("astroclip.ckpt");
    let config = import_astroclip(dir.path(), source, tensors, "imported", &Given::default());
    (dir, config.unwrap())
}

#[test]
fn the_image_encoder_of_a_checkpoint_is_imported_to_the_byte() {
    let made = written(&small());
    let mut tensors = stored(made.path(), "image_encoder.");
    let other = "spectrum_encoder.cross_attention.query".to_owned();
    tensors
        .tensors
        .insert(other, (vec![1, 1, 2], vec![1.0, 2.0]));
    let (dir, config) = imported(tensors);
    let expected = AstroClipConfig {
        name: "imported".to_owned(),
        ..small()
    };
    assert_eq!(config, expected);
    let weights = |dir: &TempDir| fs::read(dir.path().join(WEIGHTS_FILE)).unwrap();
    assert!(weights(&dir) == weights(&made));
    let checked = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
    assert!(checked.finite && checked.z_phot.is_empty());
    assert_eq!(checked.outputs, ["embedding (32 values)"]);
}

#[test]
fn a_backbone_alone_is_imported_as_dinov2_saves_it() {
    let alone = AstroClipConfig {
        query: None,
        ..small()
    };
    let made = written(&alone);
    for prefix in ["", "teacher."] {
        let mut tensors = stored(made.path(), prefix);
        tensors.tensors.insert(
            format!("{prefix}dino_head.mlp.0.bias"),
            (vec![2], vec![1.0, 2.0]),
        );
        tensors
            .tensors
            .extend(stored(made.path(), "student.").tensors);
        let (dir, config) = imported(tensors);
        assert_eq!(
            (config.query.is_none(), config.embedding_width()),
            (true, 128)
        );
        let checked = check(dir.path(), Device::Cpu, Precision::Fp32).unwrap();
        assert_eq!(checked.outputs, ["embedding (128 values)"]);
    }
    // Without `backbone.` before the names.
    let bare = stored(made.path(), "").tensors.into_iter();
    let bare = bare.map(|(name, tensor)| (name.replace("backbone.", ""), tensor));
    let (_, config) = imported(ImportedTensors {
        tensors: bare.collect(),
        ..ImportedTensors::default()
    });
    assert_eq!(config.encoder, small().encoder);
}

#[test]
fn tensors_that_make_no_astroclip_are_refused_by_name() {
    let made = written(&small());
    let refused = |change: &dyn Fn(&mut ImportedTensors)| {
        let mut tensors = stored(made.path(), "image_encoder.");
        change(&mut tensors);
        let dir = tempfile::tempdir().unwrap();
        let (source, given) = (Path::new("astroclip.ckpt"), Given::default());
        let error = import_astroclip(&dir.path().join("new"), source, tensors, "n", &given);
        assert!(!dir.path().join("new").exists());
        error.unwrap_err().to_string()
    };
    let without = |name: &str| {
        let name = format!("image_encoder.{name}");
        refused(&|tensors| {
            tensors.tensors.remove(&name).unwrap();
        })
    };
    for name in [
        "backbone.patch_embed.proj.weight",
        "mlp.decoder.bias",
        "backbone.blocks.1.3.norm2.bias",
    ] {
        assert_says(&without(name), &["astroclip.ckpt", name]);
    }
    let nan = refused(&|tensors| {
        let name = "image_encoder.backbone.blocks.0.1.mlp.fc1.bias";
        tensors.tensors.get_mut(name).unwrap().1[3] = f32::NAN;
    });
    assert_says(&nan, &["backbone.blocks.0.1.mlp.fc1.bias", "not finite"]);
}

#[test]
fn a_directory_is_checked_by_name_and_shape() {
    let dir = written(&small());
    let inspection = inspect(dir.path()).unwrap().to_string();
    assert_says(&inspection, &["astroclip", "g, r, z", "24 x 24 pixels"]);
    edit(dir.path(), |stored| {
        stored.remove("backbone.pos_embed");
        stored.remove("backbone.mask_token");
    });
    check(dir.path(), Device::Cpu, Precision::Bf16).unwrap();
    edit(dir.path(), |stored| {
        stored.remove("cross_attention.query");
    });
    assert_says(
        &refusal(dir.path()),
        &["cross_attention.query", "[1, 1, 32]"],
    );
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 7] = [
        (
            |c| c["bands"] = serde_json::json!(["g", "r", "y"]),
            "`bands`",
        ),
        (
            |c| c["bands"] = serde_json::json!(["g", "u", "r"]),
            "`bands`",
        ),
        (|c| c["cutout_px"] = 25.into(), "`patch_px` 12"),
        (|c| c["encoder"]["heads"] = 3.into(), "`heads` 3"),
        (|c| c["encoder"]["chunks"] = 3.into(), "`chunks` 3"),
        (|c| c["query"]["heads"] = 5.into(), "`query`"),
        (|c| c["depth"] = 5.into(), "unknown field `depth`"),
    ];
    for (change, word) in cases {
        let dir = written(&small());
        reconfigure(dir.path(), change);
        assert_says(&refusal(dir.path()), &[word, CONFIG_FILE]);
    }
}
