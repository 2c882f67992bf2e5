//! Image files of PyTorch and NumPy become drops with the same rows, to the bit.
use std::{
    fs,
    path::{Path, PathBuf},
};

use arrow::array::RecordBatch;
use testkit::{
    program::Program,
    python::run_script,
    rows::{column, floats, ids, rows, z_phot},
    s3::S3,
    survey::{model, run_catalog},
    tree::{folder, text},
};

/// Makes image files by imports.py. Returns the name of the library that saved them.
fn make_images(environment: &str, to: &Path) -> String {
    run_script(environment, "imports.py", ["images", &text(to)])
}

fn import_images(files: &[PathBuf], to: &str) -> Program {
    let files = files.iter().map(|file| text(file));
    Program::new(["import", "images"])
        .args(files)
        .args(["--to", to])
}

/// The flags that a file needs. PyTorch's files have neither ids nor positions.
fn flags(file: &Path) -> String {
    if file.extension().is_some_and(|extension| extension == "pt") {
        let positions = file.with_file_name("positions.csv");
        format!("--first-id 1000 --positions {}", text(&positions))
    } else {
        String::new()
    }
}

/// The image files in a folder.
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

/// Asserts that all columns of two drops are equal, to the bit.
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
    assert!(make_images(environment, made.path()).contains(torch));
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
    // `run` predicts the imported drops, and gives the redshifts of the rows from which the files were made.
    let (out, plain) = (folder(), folder());
    run_catalog(&catalog, &out).ends(0);
    run_catalog(made.path().join("reference"), &plain).ends(0);
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

#[test]
fn positions_must_match_the_rows() {
    let made = folder();
    make_images(".venv", made.path());
    let positions = fs::read_to_string(made.path().join("positions.csv")).unwrap();
    let short: Vec<_> = positions.lines().take(20).collect();
    let odd = positions.replace("150.25", "150.25h");
    let catalog = folder();
    for (csv, words) in [
        (short.join("\n"), "it ends after 19 rows"),
        (
            positions.clone() + "1,2\n",
            "more rows than the images, which have 24",
        ),
        (odd, "row 2: \"150.25h\""),
        ("x,y\n".to_owned(), "does not name a column ra"),
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
fn several_files_become_one_drop_on_s3() {
    let made = folder();
    make_images(".venv", made.path());
    let s3 = S3::start();
    let file = made.path().join("dataset.pt");
    let flags = "--first-id 100 --without positions --json";
    let ended = import_images(&[file.clone(), file.clone()], "s3://sky/catalog/drop-1")
        .with(flags)
        .on_s3(&s3)
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
    let ended = run.with("--json").on_s3(&s3).ends(0).json();
    assert_eq!(
        (&ended["rows_read"], &ended["rows_rejected"]),
        (&48.into(), &2.into())
    );
}

/// A file that cannot be imported, the flags, the exit code, and what the message says.
type BadFile = (&'static str, &'static str, i32, [&'static str; 2]);

const GIVEN: &str = "--first-id 0 --without positions";

#[rustfmt::skip]
const BAD_FILES: [BadFile; 14] = [
    ("wrong/three_bands.pt", GIVEN, 2, ["[24, 3, 32, 32]", "[n, 5, px, px]"]),
    ("wrong/rows.pt", GIVEN, 2, ["`1` has 23 rows", "the cutouts have 24"]),
    ("wrong/unknown.pt", GIVEN, 1, ["types.SimpleNamespace", "save the tensors alone"]),
    ("wrong/text.pt", GIVEN, 1, ["TensorDataset", "text.pt"]),
    ("wrong/truncated.pt", GIVEN, 1, ["not a complete zip archive", "copy it again"]),
    ("wrong/text_file.pt", GIVEN, 1, ["not a complete zip archive", "copy it again"]),
    ("wrong/objects.npz", GIVEN, 2, ["Python objects", "--column"]),
    ("wrong/float_ids.npz", "", 2, ["float64", "--column object_id="]),
    ("wrong/no_mags.npz", "", 2, ["--without mags", "--column mag_u=FIELD"]),
    ("wrong/damaged.npz", "", 1, ["cube.npy is damaged", "copy it again"]),
    ("dataset.pt", "--first-id 0", 2, ["--positions FILE.csv", "--without positions"]),
    ("dataset.pt", "--without positions", 2, ["no object ids", "--first-id 0"]),
    ("pasquet.npz", "--column z_spec=zz", 2, ["no field zz", "labels.z (float32 [24])"]),
    ("pasquet.npz", "--column redshift=z", 2, ["no such column", "z_spec"]),
];

#[test]
fn bad_image_files_are_refused_with_the_option_that_helps() {
    let made = folder();
    make_images(".venv", made.path());
    let catalog = folder();
    let drop = catalog.path().join("drop");
    for (file, flags, code, words) in BAD_FILES {
        let ended = import_images(&[made.path().join(file)], &text(&drop))
            .with(flags)
            .ends(code);
        ended.says(&words);
        let left = fs::read_dir(&drop).into_iter().flatten().count();
        assert_eq!(left, 0, "the import of {file} left a file behind");
    }
    let floats = [made.path().join("wrong/float_ids.npz")];
    import_images(&floats, &text(&drop))
        .with("--column object_id= --first-id 5")
        .ends(0);
    assert_eq!(ids(&rows(&drop))[..2], ["5", "6"]);
    import_images(&floats, &text(&drop))
        .with("--first-id 5")
        .ends(2)
        .says(&["the place is not empty"]);
}
