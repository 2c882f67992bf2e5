//! What PyTorch and numpy have saved is imported as it is: the same rows, the same weights, the same redshifts.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use arrow::array::RecordBatch;

use crate::survey::{Program, S3, column, floats, folder, ids, model, rows, text, z_phot};

/// Runs imports.py in one of the environments that the Makefile makes.
fn make(environment: &str, what: &str, folder: &Path) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(environment).join("bin/python");
    let python = python.display();
    let output = Command::new(python.to_string())
        .arg(root.join("tests/promises/imports.py"))
        .args([what, &text(folder)])
        .output()
        .unwrap_or_else(|error| panic!("{python}: {error}; run `make test` or `make test-torch`"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "imports.py {what}: {errors}");
    String::from_utf8(output.stdout).expect("python prints UTF-8")
}

fn import_images(files: &[PathBuf], to: &str) -> Program {
    let files = files.iter().map(|file| text(file));
    Program::new(["import", "images"])
        .args(files)
        .args(["--to", to])
}

/// The flags that a file needs: those of PyTorch have neither ids nor positions.
fn flags(file: &Path) -> String {
    if file.extension().is_some_and(|extension| extension == "pt") {
        let positions = file.with_file_name("positions.csv");
        format!("--first-id 1000 --positions {}", text(&positions))
    } else {
        String::new()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let images = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end == "pt" || end == "npz")
    };
    paths.filter(images).collect()
}

/// All columns of a drop, to the bit, by their names.
#[track_caller]
fn assert_same_rows(found: &RecordBatch, expected: &RecordBatch, what: &str) {
    assert_eq!(ids(found), ids(expected), "ids of {what}");
    for name in ["mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "z_spec"] {
        let bits = |rows| -> Vec<_> {
            let floats = floats(rows, name).into_iter();
            floats.map(|float| float.map(f32::to_bits)).collect()
        };
        assert_eq!(bits(found), bits(expected), "{name} of {what}");
    }
    for name in ["ra", "dec"] {
        assert_eq!(
            column(found, name),
            column(expected, name),
            "{name} of {what}"
        );
    }
    let pixels = |rows: &RecordBatch| {
        let cutouts = column(rows, "cutout").to_data();
        cutouts.child_data()[0].buffers()[0].as_slice().to_vec()
    };
    assert!(pixels(found) == pixels(expected), "cutouts of {what}");
}

fn every_form_of_an_image_file_is_the_same_drop(environment: &str, torch: &str) {
    let made = folder();
    assert!(make(environment, "images", made.path()).contains(torch));
    let expected = rows(made.path().join("reference/drop"));
    let catalog = folder();
    let all = files(made.path());
    assert_eq!(all.len(), 15, "{all:?}");
    for file in &all {
        let name = file.file_name().unwrap().to_str().unwrap();
        let drop = catalog.path().join(name);
        import_images(std::slice::from_ref(file), &text(&drop))
            .with(&flags(file))
            .ends(0);
        assert_same_rows(&rows(&drop), &expected, name);
        assert!(drop.join("_SUCCESS").exists());
    }
    // They are drops that `run` takes, and give the redshifts of the rows that they were made of.
    let (out, plain) = (folder(), folder());
    Program::run(&catalog, &out).ends(0);
    Program::run(made.path().join("reference"), &plain).ends(0);
    let expected = z_phot(plain.path().join("photoz"));
    assert_eq!(expected.len(), 23, "one row has no magnitude");
    for file in &all {
        let drop = out.path().join("photoz").join(file.file_name().unwrap());
        assert_eq!(z_phot(&drop), expected, "{}", drop.display());
    }
}

#[test]
fn image_files_are_drops() {
    every_form_of_an_image_file_is_the_same_drop(".venv", "torch_format");
}

#[test]
#[ignore = "needs PyTorch: make test-torch"]
fn image_files_by_pytorch_are_drops() {
    every_form_of_an_image_file_is_the_same_drop(".venv-torch", "\"torch\"}");
}

/// The weights follow the rule of `model init`, so the imported model is that one to the byte.
fn networks_are_imported_to_the_byte(environment: &str) {
    let made = folder();
    make(environment, "networks", made.path());
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
        assert!(&weights == expected, "the weights of {file} are others");
        let check = Program::new(["model", "check", &text(&to)]).ends(0);
        assert!(
            check.stdout.contains("predictions are finite"),
            "{}",
            check.stdout
        );
    }
    // All but the name is as `model init` has it, so the redshifts are too.
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
        ("linear", ["none of an AstroMAE", "linear.pt"]),
        ("epsilon", ["fc_norm.eps", "0.001"]),
    ] {
        let from = place(&format!("{file}.pt"));
        let to = place("refused");
        let import = Program::new(["import", "model", &text(&from), "--to", &text(&to)]);
        import.ends(1).says(&words);
        assert!(!to.exists(), "something was written of {file}");
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

#[test]
fn what_cannot_be_imported_is_refused_with_the_way_out() {
    let made = folder();
    make(".venv", "images", made.path());
    let catalog = folder();
    let given = "--first-id 0 --without positions";
    for (file, flags, code, words) in [
        (
            "wrong/three_bands.pt",
            given,
            2,
            ["[24, 3, 32, 32]", "[n, 5, px, px]"],
        ),
        (
            "wrong/rows.pt",
            given,
            2,
            ["`1` has 23 rows", "the cutouts have 24"],
        ),
        (
            "wrong/unknown.pt",
            given,
            1,
            ["types.SimpleNamespace", "save the tensors alone"],
        ),
        ("wrong/text.pt", given, 1, ["TensorDataset", "text.pt"]),
        (
            "wrong/truncated.pt",
            given,
            1,
            ["not a whole zip archive", "copy it again"],
        ),
        (
            "wrong/text_file.pt",
            given,
            1,
            ["not a whole zip archive", "copy it again"],
        ),
        (
            "wrong/objects.npz",
            given,
            2,
            ["Python objects", "--column"],
        ),
        (
            "wrong/float_ids.npz",
            "",
            2,
            ["float64", "--column object_id="],
        ),
        (
            "wrong/no_mags.npz",
            "",
            2,
            ["--without mags", "--column mag_u=FIELD"],
        ),
        (
            "wrong/damaged.npz",
            "",
            1,
            ["cube.npy is damaged", "copy it again"],
        ),
        (
            "dataset.pt",
            "--first-id 0",
            2,
            ["--positions FILE.csv", "--without positions"],
        ),
        (
            "dataset.pt",
            "--without positions",
            2,
            ["no object ids", "--first-id 0"],
        ),
        (
            "pasquet.npz",
            "--column z_spec=zz",
            2,
            ["no field zz", "labels.z (float32 [24])"],
        ),
        (
            "pasquet.npz",
            "--column redshift=z",
            2,
            ["no such column", "z_spec"],
        ),
    ] {
        let drop = catalog.path().join("drop");
        let ended = import_images(&[made.path().join(file)], &text(&drop))
            .with(flags)
            .ends(code);
        ended.says(&words);
        let left = fs::read_dir(&drop).into_iter().flatten().count();
        assert_eq!(left, 0, "something of {file} is left");
    }
    let drop = catalog.path().join("drop");
    let floats = [made.path().join("wrong/float_ids.npz")];
    import_images(&floats, &text(&drop))
        .with("--column object_id= --first-id 5")
        .ends(0);
    assert_eq!(ids(&rows(&drop))[..2], ["5", "6"]);
    import_images(&floats, &text(&drop))
        .with("--first-id 5")
        .ends(2)
        .says(&["something is there already"]);
}

#[test]
fn positions_must_be_as_many_as_rows() {
    let made = folder();
    make(".venv", "images", made.path());
    let positions = fs::read_to_string(made.path().join("positions.csv")).unwrap();
    let short: Vec<_> = positions.lines().take(20).collect();
    let odd = positions.replace("150.25", "150.25h");
    let catalog = folder();
    for (csv, words) in [
        (short.join("\n"), "it ends after 19 rows"),
        (positions.clone() + "1,2\n", "more rows than the 24"),
        (odd, "row 2: \"150.25h\""),
        ("x,y\n".to_owned(), "names no column ra"),
    ] {
        let file = made.path().join("mine.csv");
        fs::write(&file, csv).unwrap();
        let drop = catalog.path().join("drop");
        import_images(&[made.path().join("dataset.pt")], &text(&drop))
            .args(["--first-id", "0", "--positions", &text(&file)])
            .ends(2)
            .says(&[words]);
        assert_eq!(fs::read_dir(&drop).into_iter().flatten().count(), 0);
    }
}

#[test]
fn some_files_are_one_drop_on_any_store() {
    let made = folder();
    make(".venv", "images", made.path());
    let s3 = S3::start();
    let file = made.path().join("dataset.pt");
    let flags = "--first-id 100 --without positions --json";
    let ended = import_images(&[file.clone(), file.clone()], "s3://sky/catalog/drop-1")
        .with(flags)
        .at(&s3)
        .ends(0)
        .json();
    assert_eq!(
        (&ended["rows"], &ended["numbered"]["end"]),
        (&48.into(), &148.into())
    );
    let drop = rows(s3.bucket().join("catalog/drop-1"));
    let expected: Vec<String> = (100..148).map(|id| id.to_string()).collect();
    assert_eq!(ids(&drop), expected);
    let out = folder();
    let run = Program::on("run", "s3://sky/catalog", &text(out.path()), model());
    let ended = run.with("--json").at(&s3).ends(0).json();
    assert_eq!(
        (&ended["rows_read"], &ended["rows_rejected"]),
        (&48.into(), &2.into())
    );
}
