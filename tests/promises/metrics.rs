//! The metrics are a function of what is committed: written after each commit, made again where they are missing, and as
//! they were where that is asked for.
use std::{fs, path::Path};

use serde_json::Value;

use crate::survey::{Program, S3, assert_same, copy, drops, folder, metrics_files, survey, text};

/// What `status --json` says of the metrics.
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

/// The whole metrics up to an entry, put together from the files by the rule: those from the last complete one on, each
/// slice as it is in the last that has it; one with no object is gone.
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

/// Each file held all slices: 2,000 drops of a few rows left 700 MB.
#[test]
fn a_file_of_metrics_holds_what_its_drop_changed() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
    let (first, second) = (written(out.path(), 1), written(out.path(), 2));
    assert_eq!(first["complete"], true);
    // The second drop changes no prediction of the first but for its corrections, and other slices of the sky are as they were.
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
    let said = Program::run(survey(), &out).ends(0);
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
    // The spec-z drop comes last: it finds the predictions of the objects that it teaches of.
    let n = |sequence| written(out.path(), sequence)["all"]["n"].as_u64().unwrap();
    assert!(n(1) < n(2) && n(2) < n(3), "{} {} {}", n(1), n(2), n(3));
    assert_eq!(metrics(out.path(), ""), whole(out.path(), 3));
}

#[test]
fn status_shows_the_numbers() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
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
    Program::run(survey(), &out).ends(0);
    let before = metrics_files(out.path());
    fs::remove_file(file(out.path(), 3)).unwrap();
    // A run that has nothing else to do makes them, those before the newest too.
    Program::run(survey(), &out).ends(0);
    assert_same(&before, &metrics_files(out.path()));
    for sequence in [1, 2] {
        fs::remove_file(file(out.path(), sequence)).unwrap();
    }
    let verify = || Program::new(["verify", &text(out.path()), "--json"]);
    let faults = verify().ends(1).json()["faults"].take();
    let [first, second] = [0, 1].map(|at| faults[at].as_str().unwrap());
    assert!(first.contains("00001.json: are missing"), "{faults}");
    assert!(second.contains("00002.json: are missing"), "{faults}");
    Program::run(survey(), &out).ends(0);
    assert_same(&before, &metrics_files(out.path()));
    verify().ends(0);
    // A cluster makes them on its way to the drops to come.
    let part = folder();
    for drop in ["drop-0001", "drop-0002"] {
        let run = Program::run(survey(), &part).args(["--drop", drop]);
        run.ends(0);
    }
    fs::remove_dir_all(part.path().join("_hubbleflow/metrics")).unwrap();
    let cluster = Program::run(survey(), &part).with("--local 2 --workers 2 --threads 1");
    cluster.ends(0);
    assert_same(&before, &metrics_files(part.path()));
    // Before that they are made for whoever asks for them.
    let earlier = written(out.path(), 1);
    fs::remove_dir_all(out.path().join("_hubbleflow/metrics")).unwrap();
    assert_eq!(metrics(out.path(), "--as-of drop-0001"), earlier);
    assert!(
        metrics_files(out.path()).is_empty(),
        "status writes nothing"
    );
}

#[test]
fn a_run_goes_on_from_what_is_committed() {
    let (whole, out) = (folder(), folder());
    Program::run(survey(), &whole).ends(0);
    for drop in drops(whole.path()) {
        Program::run(survey(), &out).args(["--drop", &drop]).ends(0);
    }
    assert_same(&metrics_files(whole.path()), &metrics_files(out.path()));
}

#[test]
fn the_order_of_drops_changes_no_number() {
    let (forth, back) = (folder(), folder());
    Program::run(survey(), &forth).ends(0);
    for drop in drops(forth.path()).iter().rev() {
        Program::run(survey(), &back).args(["--drop", drop]).ends(0);
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
    copy(survey(), &s3.bucket().join("survey"));
    let run = |args: &str| {
        let run = Program::run("s3://sky/survey", out).at(&s3);
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
    // As of the first drop's newest entry the others stand as they were.
    let status = Program::new(["status", out, "--json", "--as-of", "drop-0001"]).at(&s3);
    let status = status.ends(0).json();
    assert_eq!(status["sequence"], 5, "{status}");
    assert_eq!(status["metrics"], whole(&place, 5));
}
