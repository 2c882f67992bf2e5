//! `verify` finds every difference between an output and its ledger.
use std::{fs, path::Path};

use serde_json::Value;
use testkit::{
    outputs::{committed, metrics_files},
    program::Program,
    survey::{model, other_model, run_catalog, survey},
    tree::{assert_same, copy_tree, folder, text, tree, write_file},
};

fn verify(out: &Path) -> Program {
    Program::new(["verify", &text(out), "--json"])
}

#[test]
fn an_untouched_output_is_verified_and_predicts_the_same_again() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let before = tree(out.path());
    let told = verify(out.path()).ends(0).json();
    assert_eq!(
        (&told["drops"], &told["faults"]),
        (&3.into(), &Value::Array(vec![]))
    );
    assert_eq!(told["files"], committed(out.path()).len());
    let args = ["--catalog", &text(survey()), "--model"].map(str::to_owned);
    let ended = verify(out.path()).args(&args).args([text(model())]).ends(0);
    assert_eq!(ended.json()["drops_predicted_again"], 3);
    // Regression: stderr showed the commits of the temporary output that `verify` makes.
    assert_eq!(ended.stderr, "");
    verify(out.path())
        .args(&args)
        .args([text(other_model())])
        .ends(1);
    assert_eq!(before, tree(out.path()), "verify writes nothing");

    // If a drop cannot be predicted again, the fault says why.
    let damaged = folder();
    copy_tree(survey(), damaged.path());
    write_file(damaged.path().join("drop-0002/part-0000.parquet"), "PAR1");
    let ended = verify(out.path())
        .args(["--catalog", &text(damaged.path()), "--model"])
        .args([text(model())])
        .ends(1);
    let fault = ended.json()["faults"][0].as_str().unwrap().to_owned();
    assert!(
        fault.contains("cannot be predicted again: ") && fault.contains("part-0000.parquet"),
        "{fault}"
    );

    // If the catalog has lost a drop, the other drops are still predicted again.
    let rest = folder();
    for drop in ["drop-0001", "drop-0003-specz"] {
        copy_tree(&survey().join(drop), &rest.path().join(drop));
    }
    let told = verify(out.path())
        .args(["--catalog", &text(rest.path()), "--model", &text(model())])
        .ends(1)
        .json();
    assert_eq!(told["drops_predicted_again"], 2);
    let fault = told["faults"][0].as_str().unwrap();
    assert!(
        fault.contains("(drop-0002)") && fault.contains("no such drop"),
        "{fault}"
    );
}

#[test]
fn a_damaged_drop_is_repaired_by_running_it_again() {
    let out = folder();
    run_catalog(survey(), &out).ends(0);
    let before = committed(out.path());
    let parts: Vec<_> = before
        .keys()
        .filter(|name| name.contains("drop-0001/"))
        .collect();
    assert!(parts.len() > 1, "photoz and rejects");
    for part in &parts {
        let mut bytes = before[*part].clone();
        bytes[100] ^= 1;
        write_file(out.path().join(part), bytes);
    }
    let again = run_catalog(survey(), &out).with("--drop drop-0001 --again");
    verify(out.path()).ends(1);
    again.ends(0);
    assert_same(&before, &committed(out.path()));
    verify(out.path()).ends(0);
}

/// The fault that `verify` reports, and the change of the output that causes it.
type Harm<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);

/// Changes of an output with this predicted file and this newest metrics file.
fn harms<'a>(part: &'a str, metrics: &'a str) -> [Harm<'a>; 9] {
    let numbered =
        |out: &Path, entry: u64| out.join(format!("_hubbleflow/metrics/{entry:020}.json"));
    [
        (
            "its bytes are not those",
            Box::new(move |out| {
                let mut bytes = fs::read(out.join(part)).unwrap();
                bytes[100] ^= 1;
                write_file(out.join(part), bytes);
            }),
        ),
        (
            "is missing",
            Box::new(move |out| fs::remove_file(out.join(part)).unwrap()),
        ),
        (
            "no entry lists it",
            Box::new(|out| write_file(out.join("photoz/drop-0001/extra.parquet"), "x")),
        ),
        (
            "are missing",
            Box::new(move |out| fs::remove_file(out.join(metrics)).unwrap()),
        ),
        (
            "are those of another entry",
            Box::new(move |out| {
                fs::copy(numbered(out, 2), numbered(out, 1)).unwrap();
            }),
        ),
        (
            "are not those of the committed rows",
            Box::new(move |out| {
                let told = fs::read(out.join(metrics)).unwrap();
                let mut told: Value = serde_json::from_slice(&told).unwrap();
                told["all"]["n"] = 1.into();
                write_file(out.join(metrics), told.to_string());
            }),
        ),
        (
            "are not those of the committed rows",
            Box::new(move |out| {
                let told = fs::read(out.join(metrics)).unwrap();
                let mut told: Value = serde_json::from_slice(&told).unwrap();
                assert!(told["calibration"]["by_mag_r"].is_object(), "{told}");
                told["calibration"]["all"]["shift_68"] = 0.5.into();
                write_file(out.join(metrics), told.to_string());
            }),
        ),
        (
            "00001.json: are not those of the committed rows",
            Box::new(move |out| {
                let told = fs::read_to_string(numbered(out, 1)).unwrap();
                write_file(numbered(out, 1), told.replacen("\"n\": ", "\"n\": 1", 1));
            }),
        ),
        (
            "00009.json: are of no drop in the ledger",
            Box::new(move |out| {
                fs::copy(out.join(metrics), numbered(out, 9)).unwrap();
            }),
        ),
    ]
}

#[test]
fn verify_finds_every_difference_from_the_ledger() {
    let clean = folder();
    run_catalog(survey(), &clean).ends(0);
    let files = committed(clean.path());
    let part = files
        .keys()
        .find(|name| name.starts_with("photoz/"))
        .unwrap();
    let metrics = metrics_files(clean.path()).into_keys().next_back().unwrap();
    for (fault, harm) in harms(part, &metrics) {
        let out = folder();
        copy_tree(clean.path(), out.path());
        harm(out.path());
        let told = verify(out.path()).ends(1).json();
        let faults = told["faults"].as_array().unwrap();
        assert!(
            faults
                .iter()
                .any(|told| told.as_str().unwrap().contains(fault)),
            "{fault}: {faults:?}"
        );
        assert_eq!(faults.len(), 1, "{faults:?}");
        // Damaged predictions are neither compared with metrics nor exported.
        let is_damage = ["its bytes are not those", "is missing"].contains(&fault);
        assert_eq!(told["metrics_compared"], !is_damage, "{fault}");
        let to = folder();
        let export = Program::new(["export", &text(out.path()), "--json", "--to"]);
        let told = export
            .args([text(&to.path().join("now"))])
            .ends(is_damage.into());
        assert!(!is_damage || told.stderr.contains(fault), "{}", told.stderr);
    }
}

/// Regression: `verify` looked only at the rows and files of an entry.
#[test]
fn verify_finds_every_change_of_an_entry() {
    let clean = folder();
    run_catalog(survey(), &clean).ends(0);
    let name = format!("_hubbleflow/ledger/{:020}.json", 1);
    let entry = fs::read(clean.path().join(&name)).unwrap();
    let entry: Value = serde_json::from_slice(&entry).unwrap();
    let has_rejects = entry["rows"]["rejected"] != 0;
    type Change = fn(&mut Value);
    // Changes that contradict the columns or the metadata of the files are found even without the checksum of the entry.
    let changes: [(&str, bool, Change); 7] = [
        ("model_id", true, |entry| {
            entry["model_id"] = "0".repeat(64).into()
        }),
        ("object_id", true, |entry| {
            entry["object_id"] = "string".into()
        }),
        ("engine", true, |entry| entry["engine"] = "9.9.9".into()),
        ("keep", true, |entry| {
            entry["settings"]["keep"] = vec!["ebv"].into()
        }),
        ("path", has_rejects, |entry| {
            entry["inputs"][0]["path"] = "elsewhere".into()
        }),
        ("etag", false, |entry| {
            entry["inputs"][0]["etag"] = "different".into()
        }),
        ("bytes", false, |entry| {
            entry["inputs"][0]["bytes"] = 1.into()
        }),
    ];
    for (what, is_in_files, change) in changes {
        for sealed in [true, false] {
            let mut changed = entry.clone();
            change(&mut changed);
            if !sealed {
                changed.as_object_mut().unwrap().remove("checksum");
            }
            let out = folder();
            copy_tree(clean.path(), out.path());
            write_file(out.path().join(&name), changed.to_string());
            let code = i32::from(sealed || is_in_files);
            let told = verify(out.path()).ends(code).json();
            let faults = told["faults"].to_string();
            assert!(
                code == 0 || faults.contains("entry 1 (drop-0001)"),
                "{what}: {faults}"
            );
        }
    }
    // The checksum does not depend on the spacing of the JSON.
    write_file(clean.path().join(&name), entry.to_string());
    verify(clean.path()).ends(0);
}
