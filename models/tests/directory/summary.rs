//! The identity and the summary of a model directory.

use std::fs;

use hubbleflow_models::{Branch, CONFIG_FILE, Config, WEIGHTS_FILE, init, inspect};
use tempfile::TempDir;

use super::{assert_says, open, reconfigure, small, written};

#[test]
fn the_id_is_the_digest_of_both_files() {
    let (one, same) = (written(&small()), written(&small()));
    let id = |dir: &TempDir| open(dir.path()).unwrap().id().to_owned();
    assert_eq!(id(&one), id(&same));
    let mut both = fs::read(same.path().join(CONFIG_FILE)).unwrap();
    both.extend(fs::read(same.path().join(WEIGHTS_FILE)).unwrap());
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
fn init_does_not_overwrite_another_model() {
    let dir = written(&small());
    init::init(dir.path(), &small(), "").unwrap();
    let error = init::init(dir.path(), &small(), "another salt").unwrap_err();
    assert_says(&error.to_string(), &["model.safetensors", "exists"]);
}

#[test]
fn inspect_counts_tensors_and_parameters() {
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
        &[
            "magnitude",
            "not trained",
            "u, g, r, i, z",
            &block.to_string(),
        ],
    );
    // The model looks at no cutouts.
    assert!(!report.to_string().contains("cutout"), "{report}");
    let whole = inspect(written(&small()).path()).unwrap();
    assert_says(&whole.to_string(), &["cutout", "32 x 32 pixels"]);
}
