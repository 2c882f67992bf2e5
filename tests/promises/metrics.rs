//! Metrics depend only on the committed drops. They are written after each commit, made again if they are missing, and can be
//! read as of any drop.
use std::{fs, path::Path};

use serde_json::Value;
use testkit::{
    outputs::{drops, metrics_files},
    program::Program,
    s3::S3,
    survey::{run_catalog, survey},
    tree::{assert_same, copy_tree, folder, text},
};

/// The metrics in `status --json`.
fn metrics(out: &Path, more: &str) -> Value {
    let status = Program::new(["status", &text(out), "--json"]).with(more);
    status.ends(0).json()["metrics"].take()
}

fn file(out: &Path, sequence: u64) -> std::path::PathBuf {
    out.join(format!("_hubbleflow/metrics/{sequence:020}.json"))
}

fn written(out: &Path, sequence: u64) -> Value {
    let text = fs::read(file(out, sequence)).expect("the metrics were written");
    serde_json::from_slice(&text).expect("metrics are JSON")
}

/// Puts the metrics up to an entry together from the files, from the last complete file on. A slice has the numbers of
/// the last file that has it. A slice without objects is left out.
fn whole(out: &Path, sequence: u64) -> Value {
    let is_complete = |at: &u64| written(out, *at)["complete"] == true;
    let first = (1..=sequence).rev().find(is_complete).unwrap();
    let mut whole = written(out, first);
    for at in first + 1..=sequence {
        let file = written(out, at);
        for part in ["sequence", "drop", "objects", "all"] {
            whole[part] = file[part].clone();
        }
        for part in SLICES {
            let slices = whole[part].as_object_mut().unwrap();
            for (name, numbers) in file[part].as_object().unwrap() {
                match numbers["n"] == 0 {
                    true => drop(slices.remove(name)),
                    false => drop(slices.insert(name.clone(), numbers.clone())),
                }
            }
        }
    }
    whole
}

const SLICES: [&str; 4] = ["by_drop", "by_mag_r", "by_z_spec", "by_tile"];

/// Regression: each file held all slices, so that 2,000 drops of a few rows left 700 MB.
#[test]
fn a_file_of_metrics_holds_what_its_drop_changed() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let (first, second) = (written(out.path(), 1), written(out.path(), 2));
    assert_eq!(first["complete"], true);
    // The second drop changes the first only by its corrections, so most slices do not change and are not written.
    assert_eq!(second["complete"], false);
    let (before, after) = (whole(out.path(), 1), whole(out.path(), 2));
    for part in SLICES {
        for (name, numbers) in after[part].as_object().unwrap() {
            let is_there = second[part].get(name).is_some();
            assert_eq!(is_there, before[part][name] != *numbers, "{part} {name}");
        }
    }
}

#[test]
fn each_commit_has_its_metrics() {
    let out = folder();
    let said = run_catalog(survey(), &out).ends(0);
    said.says(&["drop-0001: metrics up to 1: n ", "sigma_nmad"]);
    let names = drops(out.path());
    assert_eq!(metrics_files(out.path()).len(), names.len());
    for (sequence, drop) in (1..).zip(&names) {
        let metrics = written(out.path(), sequence);
        assert_eq!(metrics["format"], 1);
        assert_eq!(metrics["sequence"], sequence);
        assert_eq!(metrics["drop"], drop.as_str());
        assert_eq!(
            self::metrics(out.path(), &format!("--as-of {drop}")),
            whole(out.path(), sequence)
        );
    }
    // The spec-z drop comes last and finds the predictions of its objects.
    let n = |sequence| written(out.path(), sequence)["all"]["n"].as_u64().unwrap();
    assert!(n(1) < n(2) && n(2) < n(3), "{} {} {}", n(1), n(2), n(3));
    assert_eq!(metrics(out.path(), ""), whole(out.path(), 3));
}

#[test]
fn status_shows_the_numbers() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let shown = Program::new(["status", &text(out.path())]).ends(0).stdout;
    let n = written(out.path(), 3)["all"]["n"].to_string();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.trim().starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in:\n{shown}"))
            .to_owned()
    };
    assert!(line("n ").ends_with(&n), "{shown}");
    for name in ["bias", "sigma_nmad", "outlier_fraction_0.15", "r2"] {
        let last = line(name).split_whitespace().last().unwrap().parse::<f64>();
        assert!(last.is_ok(), "{shown}");
    }
}

#[test]
fn missing_metrics_are_made_again() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let before = metrics_files(out.path());
    fs::remove_file(file(out.path(), 3)).unwrap();
    // A run without new drops makes missing metrics again, also of older entries.
    run_catalog(survey(), &out).ends(0);
    assert_same(&before, &metrics_files(out.path()));
    for sequence in [1, 2] {
        fs::remove_file(file(out.path(), sequence)).unwrap();
    }
    let verify = || Program::new(["verify", &text(out.path()), "--json"]);
    let faults = verify().ends(1).json()["faults"].take();
    let [first, second] = [0, 1].map(|at| faults[at].as_str().unwrap());
    assert!(first.contains("00001.json: are missing"), "{faults}");
    assert!(second.contains("00002.json: are missing"), "{faults}");
    run_catalog(survey(), &out).ends(0);
    assert_same(&before, &metrics_files(out.path()));
    verify().ends(0);
    // A cluster makes missing metrics again before it reads new drops.
    let part = folder();
    for drop in ["drop-0001", "drop-0002"] {
        let run = run_catalog(survey(), &part).args(["--drop", drop]);
        run.ends(0);
    }
    fs::remove_dir_all(part.path().join("_hubbleflow/metrics")).unwrap();
    let cluster = run_catalog(survey(), &part).with("--local 2 --workers 2 --threads 1");
    cluster.ends(0);
    assert_same(&before, &metrics_files(part.path()));
    // `status` computes missing metrics without writing them.
    let earlier = written(out.path(), 1);
    fs::remove_dir_all(out.path().join("_hubbleflow/metrics")).unwrap();
    assert_eq!(metrics(out.path(), "--as-of drop-0001"), earlier);
    assert!(
        metrics_files(out.path()).is_empty(),
        "status writes nothing"
    );
}

#[test]
fn metrics_continue_from_the_committed_drops() {
    let (whole, out) = (folder(), folder());
    run_catalog(survey(), &whole).ends(0);
    for drop in drops(whole.path()) {
        run_catalog(survey(), &out).args(["--drop", &drop]).ends(0);
    }
    assert_same(&metrics_files(whole.path()), &metrics_files(out.path()));
}

#[test]
fn the_order_of_drops_changes_no_number() {
    let (forth, back) = (folder(), folder());
    run_catalog(survey(), &forth).ends(0);
    for drop in drops(forth.path()).iter().rev() {
        run_catalog(survey(), &back).args(["--drop", drop]).ends(0);
    }
    let last = |out: &Path| {
        let mut metrics = whole(out, 3);
        metrics["drop"] = Value::Null;
        metrics
    };
    assert_eq!(last(forth.path()), last(back.path()));
}

#[test]
fn a_drop_that_is_run_again_is_counted_once() {
    let (s3, out) = (S3::start(), "s3://sky/out");
    copy_tree(survey(), &s3.bucket().join("survey"));
    let run = |args: &str| {
        let run = run_catalog("s3://sky/survey", out).on_s3(&s3);
        run.with(args).ends(0);
    };
    run("");
    run("--drop drop-0001 --again --limit 20");
    run("--again --local 2");
    let place = s3.bucket().join("out");
    let newest = drops(&place).len() as u64;
    let (once, again) = (whole(&place, 3), whole(&place, newest));
    assert!(written(&place, 4)["all"]["n"].as_u64() < once["all"]["n"].as_u64());
    for part in [
        "objects",
        "all",
        "by_drop",
        "by_mag_r",
        "by_z_spec",
        "by_tile",
    ] {
        assert_eq!(once[part], again[part], "{part}");
    }
    // `--as-of` a drop means as of its newest entry.
    let status = Program::new(["status", out, "--json", "--as-of", "drop-0001"]).on_s3(&s3);
    let status = status.ends(0).json();
    assert_eq!(status["sequence"], 5, "{status}");
    assert_eq!(status["metrics"], whole(&place, 5));
}
