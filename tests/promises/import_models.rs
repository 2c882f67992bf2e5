//! Networks that PyTorch saved become models with the same weights, to the byte.
use std::{fs, path::Path};

use arrow::array::AsArray;
use models::{
    config::{AstroClipConfig, QueryConfig},
    init,
};
use testkit::{
    program::Program,
    python::run_script,
    rows::{column, rows},
    tree::{folder, text},
};

/// imports.py makes weights by the rule of `model init`, so an imported model has the bytes of a model by `model init`.
fn networks_are_imported_to_the_byte(environment: &str) {
    let made = folder();
    run_script(environment, "imports.py", ["networks", &text(made.path())]);
    let place = |name: &str| made.path().join(name);
    let init = |name: &str, preset: &str| {
        let flags = format!("--preset {preset} --depth 1");
        Program::new(["model", "init", &text(&place(name))])
            .with(&flags)
            .ends(0);
        fs::read(place(name).join("model.safetensors")).unwrap()
    };
    let (pcm, plain) = (init("pcm", "astromae-pcm3"), init("flat", "astromae-plain"));
    for (file, flags, expected) in [
        ("parallel", "", &pcm),
        ("state_dict", "--heads 3", &pcm),
        ("checkpoint", "--heads 3", &pcm),
        ("plain", "", &plain),
    ] {
        let (from, to) = (place(&format!("{file}.pt")), place(file));
        let import = Program::new(["import", "model", &text(&from), "--to", &text(&to)]);
        import.with(flags).ends(0);
        let weights = fs::read(to.join("model.safetensors")).unwrap();
        assert!(&weights == expected, "the weights of {file} differ");
        let check = Program::new(["model", "check", &text(&to)]).ends(0);
        assert!(
            check.stdout.contains("predictions are finite"),
            "{}",
            check.stdout
        );
    }
    // All settings but the name are equal too, so the redshifts are equal.
    let config = |name: &str| {
        let config = fs::read(place(name).join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        config["name"].take();
        config
    };
    assert_eq!(config("parallel"), config("pcm"));
    assert_eq!(config("plain")["encoder"]["kind"], "plain");
    for (file, words) in [
        ("state_dict", ["--heads", "state_dict"]),
        ("linear", ["not those of an AstroMAE", "linear.pt"]),
        ("epsilon", ["fc_norm.eps", "0.001"]),
    ] {
        let from = place(&format!("{file}.pt"));
        let to = place("refused");
        let import = Program::new(["import", "model", &text(&from), "--to", &text(&to)]);
        import.ends(1).says(&words);
        assert!(!to.exists(), "the import of {file} left files behind");
    }
}

#[test]
fn networks_are_models() {
    networks_are_imported_to_the_byte(".venv");
}

#[test]
#[ignore = "needs PyTorch: make test-torch"]
fn networks_by_pytorch_are_models() {
    networks_are_imported_to_the_byte(".venv-torch");
}

/// The small AstroCLIP of imports.py, and its backbone alone.
fn astroclips_are_imported_to_the_byte(environment: &str) {
    let made = folder();
    run_script(environment, "imports.py", ["astroclip", &text(made.path())]);
    let mut config = AstroClipConfig::public();
    (config.encoder.width, config.encoder.heads) = (64, 1);
    (config.encoder.depth, config.encoder.chunks) = (2, 2);
    (config.encoder.patch_px, config.cutout_px) = (4, 8);
    let query = QueryConfig {
        width: 32,
        heads: 4,
    };
    let catalog = text(&made.path().join("catalog"));
    let sample = Program::new(["sample", &catalog, "--bands", "grz", "--px", "8"]);
    sample.with("--galaxies 30 --drops 1").ends(0);
    for (file, query, gives) in [
        ("astroclip.ckpt", Some(query), "embedding (32 values)"),
        ("teacher_checkpoint.pth", None, "embedding (64 values)"),
    ] {
        let (from, to) = (text(&made.path().join(file)), made.path().join("model"));
        let import = Program::new(["import", "model", &from, "--to", &text(&to)]);
        import.with("--name x").ends(0);
        config.query = query;
        let expected = folder();
        init::astroclip(expected.path(), &config, "").unwrap();
        let weights = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
        assert!(
            weights(&to) == weights(expected.path()),
            "the weights of {file} differ"
        );
        let check = Program::new(["model", "check", &text(&to)]).ends(0);
        assert!(check.stdout.contains(gives), "{}", check.stdout);
        // It gives no redshifts, so a run writes embeddings alone.
        let out = made.path().join(format!("out of {file}"));
        Program::on("run", &catalog, &text(&out), &to).ends(0);
        let embeddings = rows(out.join("embeddings"));
        let values = column(&embeddings, "embedding").as_fixed_size_list();
        let width = gives.trim_start_matches("embedding (");
        assert!(width.starts_with(&format!("{} ", values.value_length())));
        assert!(embeddings.num_rows() > 20 && !out.join("photoz").exists());
        fs::remove_dir_all(&to).unwrap();
    }
}

#[test]
fn astroclips_are_models() {
    astroclips_are_imported_to_the_byte(".venv");
}

#[test]
#[ignore = "needs PyTorch: make test-torch"]
fn astroclips_by_pytorch_are_models() {
    astroclips_are_imported_to_the_byte(".venv-torch");
}
