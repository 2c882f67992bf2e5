//! Nothing silent: a catalog that is missing, empty or badly named is reported with what to do.
use std::{fs, path::Path};

use testkit::{
    galaxy_rows::write_good_drop,
    outputs::drops,
    program::Program,
    protected::ProtectedOutput,
    s3::S3,
    survey::{command_on_survey, model, run_catalog},
    tree::{folder, text, write_file},
};

#[test]
fn an_empty_catalog_is_not_an_error() {
    let (catalog, out) = (folder(), folder());
    write_file(catalog.path().join("README.txt"), "not a drop");
    let ended = run_catalog(&catalog, &out).with("--json").ends(0);
    ended.says(&[&text(catalog.path()), "no drop"]);
    assert_eq!(ended.json()["drops_committed"], 0);
}

#[test]
fn a_missing_catalog_leaves_no_output() {
    let (folder, s3) = (folder(), S3::start());
    let (missing, out) = (folder.path().join("missing"), folder.path().join("out"));
    run_catalog(&missing, &out)
        .ends(1)
        .says(&[&text(&missing), "not found", "check the URL"]);
    assert!(!out.exists(), "a mistyped catalog left an output behind");
    run_catalog("s3://nowhere/survey", &out)
        .on_s3(&s3)
        .ends(1)
        .says(&["s3://nowhere/survey", "not found", "bucket"]);
    assert!(!out.exists(), "a mistyped bucket left an output behind");
}

#[test]
fn a_hidden_folder_cannot_be_one_drop() {
    let (catalog, out) = (folder(), folder());
    let hidden = catalog.path().join("_survey");
    write_good_drop(&hidden, "drop-1", 100);
    let places = [text(&hidden), "--out".to_owned(), text(out.path())];
    let run = Program::new(["run", "--drop-by", "all", "--model", &text(model())]);
    run.args(places)
        .ends(2)
        .says(&["_survey", "rename the folder"]);
}

#[cfg(unix)]
#[test]
fn a_forbidden_object_name_is_reported() {
    let (catalog, out) = (folder(), folder());
    write_good_drop(catalog.path(), "drop-1", 100);
    write_file(catalog.path().join("two\nlines.txt"), "");
    // The other drops are committed nevertheless.
    let ended = run_catalog(&catalog, &out).with("--json").ends(3);
    ended.says(&["two\\nlines.txt", "rename it"]);
    assert_eq!(ended.json()["drops_committed"], 1);
}

#[test]
fn a_path_may_contain_parent_folders() {
    let (catalog, out) = (folder(), folder());
    write_good_drop(catalog.path(), "drop-1", 100);
    let up = |path: &Path| {
        path.join("x/..")
            .join("../")
            .join(path.file_name().unwrap())
    };
    run_catalog(up(catalog.path()), up(out.path())).ends(0);
    assert_eq!(drops(out.path()), ["drop-1"]);
}

#[test]
fn a_catalog_and_an_output_inside_each_other_are_refused() {
    let protected = ProtectedOutput::new();
    let catalog = text(protected.catalog.path());
    let below = format!("{catalog}/photoz");
    for (catalog, out) in [
        (&catalog, &below),
        (&below, &catalog),
        (&catalog, &catalog),
        (&format!("{catalog}/"), &format!("file://{below}")),
    ] {
        Program::on("run", catalog, out, model())
            .ends(2)
            .says(&["one lies in the other", "choose an --out"]);
    }
    protected.holds(&["drop-1"]);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let protected = ProtectedOutput::new();
    write_file(
        protected.out.path().join("taken"),
        "a file in the place of a folder",
    );
    let out = protected.out.path().join("taken/photoz");
    run_catalog(&protected.catalog, &out)
        .ends(1)
        .says(&[&text(&out), "Not a directory"]);
    fs::remove_file(protected.out.path().join("taken")).unwrap();
    protected.holds(&["drop-1"]);
}

/// `str(Path("s3://sky"))` in Python is `s3:/sky`: it became a folder `s3:`.
#[test]
fn a_mistyped_url_makes_no_folder() {
    let place = folder();
    let model = text(model());
    for command in [
        "run CATALOG --out s3:/sky/photoz --model MODEL",
        "run CATALOG --out s3:/sky/photoz --model MODEL --local 2",
        "run s3:/sky/survey --out MADE --model MODEL",
        "run CATALOG --out MADE --model s3:/sky/model",
        "watch CATALOG --out S3:/sky/photoz --model MODEL",
        "plan CATALOG --out hdfs:/sky/photoz --model MODEL",
        "status gs:/sky/photoz",
        "verify file:/sky/photoz",
        "export CATALOG --to s3:/sky/current",
        "report s3:/sky/photoz --html MADE",
        "report CATALOG --html s3://sky/report.html",
        "sample s3:/sky/survey",
        "import images MADE --to s3:/sky/drop",
        "import model MADE --to s3://sky/model",
        "model init s3://sky/model",
        "model init s3:/sky/model",
        "model inspect s3:/sky/model",
        "train pretrain CATALOG --out s3://sky/model",
        "train pretrain s3:/sky/survey --out MADE",
        "bench read s3:/sky/survey",
        "demo --dir s3:/sky",
    ] {
        let command = command.replace("MODEL", &model);
        command_on_survey(&command, place.path())
            .in_folder(place.path())
            .ends(2)
            .says(&["URL"]);
        let there: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert!(there.is_empty(), "{command}: {there:?}");
    }
}
