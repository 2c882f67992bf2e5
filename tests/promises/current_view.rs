//! `export` writes the survey as it stands; `verify` finds whatever is not as the ledger says.
use std::{collections::BTreeMap, fs, path::Path};

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::survey::{
    Program, S3, assert_same, column, committed, folder, ids, model, other_model, put, rows,
    strings, survey, text, tree,
};

fn export(out: &Path, to: &Path) -> Program {
    Program::new(["export", &text(out), "--to", &text(to), "--json"])
}

fn verify(out: &Path) -> Program {
    Program::new(["verify", &text(out), "--json"])
}

/// Of each object the row of the last drop by name, as the files of `photoz/` have it; withdrawn ones are not there.
fn latest(out: &Path, drops: &[&str]) -> BTreeMap<String, String> {
    let mut latest = BTreeMap::new();
    for drop in drops {
        let rows = rows(out.join("photoz").join(drop));
        let flags = column(&rows, "z_flags").as_primitive::<Int32Type>().clone();
        for (row, id) in ids(&rows).into_iter().enumerate() {
            match flags.value(row) & 1 {
                0 => latest.insert(id, (*drop).to_owned()),
                _ => latest.remove(&id),
            };
        }
    }
    latest
}

fn exported(to: &Path) -> BTreeMap<String, String> {
    let rows = rows(to);
    let drops = strings(&rows, "drop");
    assert_eq!(ids(&rows).len(), rows.num_rows());
    ids(&rows).into_iter().zip(drops).collect()
}

#[test]
fn an_export_holds_the_latest_row_of_each_object_and_no_withdrawn_one() {
    let (out, to) = (folder(), folder());
    Program::run(survey(), &out).ends(0);
    let now = to.path().join("now");
    let told = export(out.path(), &now).ends(0).json();
    let expected = latest(out.path(), &["drop-0001", "drop-0002"]);
    assert_eq!(exported(&now), expected);
    assert_eq!(told["rows"], expected.len());
    assert_eq!(
        rows(&now).schema(),
        rows(out.path().join("photoz")).schema()
    );
    for part in tree(&now)
        .into_keys()
        .filter(|name| name.ends_with(".parquet"))
    {
        let file = fs::File::open(now.join(part)).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let notes = reader.metadata().file_metadata().key_value_metadata();
        let mut keys: Vec<&str> = notes
            .unwrap()
            .iter()
            .map(|note| note.key.as_str())
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            ["ARROW:schema", "hubbleflow.model_id", "hubbleflow.z_flags"]
        );
    }
    let all = rows(out.path().join("photoz")).num_rows();
    assert_eq!(told["rows_superseded"], all - expected.len());
    assert!(
        all > expected.len(),
        "the survey has corrections and withdrawals"
    );

    // A file for each part of each drop would be thousands; rows are in the order of their drops, then as they lay there.
    let files = |place: &Path| {
        let names = tree(place).into_keys();
        names.filter(|name| name.ends_with(".parquet")).count()
    };
    assert_eq!(files(&now), 1);
    let order = strings(&rows(&now), "drop");
    assert!(order.is_sorted(), "rows of a drop are apart: {order:?}");
    let ids_now = ids(&rows(&now));
    for drop in ["drop-0001", "drop-0002"] {
        let theirs = ids(&rows(out.path().join("photoz").join(drop)));
        let place = |id: &String| theirs.iter().position(|their| their == id);
        let of_drop = ids_now.iter().zip(&order).filter(|(_, of)| *of == drop);
        assert!(of_drop.map(|(id, _)| place(id)).is_sorted());
    }

    // Where the ids do not fit into memory, they are read several times, and the answer is the same.
    let small = to.path().join("small");
    export(out.path(), &small).with("--memory 1KB").ends(0);
    assert_same(&tree(&now), &tree(&small));

    let before = to.path().join("before");
    export(out.path(), &before)
        .with("--as-of drop-0001")
        .ends(0);
    assert_eq!(exported(&before), latest(out.path(), &["drop-0001"]));

    // To a store, and never into what is there.
    let s3 = S3::start();
    Program::new(["export", &text(out.path()), "--to", "s3://sky/current"])
        .at(&s3)
        .ends(0);
    assert_same(&tree(&now), &tree(&s3.bucket().join("current")));
    export(out.path(), &now).ends(2).says(&["is not empty"]);
    export(out.path(), &out.path().join("photoz"))
        .ends(2)
        .says(&["lie in each other"]);
    export(out.path(), &to.path().join("none"))
        .with("--as-of drop-7")
        .ends(2)
        .says(&["drop-7"]);
}

#[test]
fn an_output_as_it_was_committed_is_verified_and_predicts_the_same_again() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
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
    // What it predicts again is its own affair: lines of drops that are committed elsewhere were shown.
    assert_eq!(ended.stderr, "");
    verify(out.path())
        .args(&args)
        .args([text(other_model())])
        .ends(1);
    assert_eq!(before, tree(out.path()), "verify writes nothing");

    // A drop that cannot be predicted again says why, in its fault.
    let damaged = folder();
    crate::survey::copy(survey(), damaged.path());
    put(damaged.path().join("drop-0002/part-0000.parquet"), "PAR1");
    let ended = verify(out.path())
        .args(["--catalog", &text(damaged.path()), "--model"])
        .args([text(model())])
        .ends(1);
    let fault = ended.json()["faults"][0].as_str().unwrap().to_owned();
    assert!(
        fault.contains("cannot be predicted again: ") && fault.contains("part-0000.parquet"),
        "{fault}"
    );

    // A catalog that has lost a drop shows the others all the same.
    let rest = folder();
    for drop in ["drop-0001", "drop-0003-specz"] {
        crate::survey::copy(&survey().join(drop), &rest.path().join(drop));
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
fn a_drop_that_is_taken_in_again_is_whole_again() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
    let before = committed(out.path());
    let parts: Vec<_> = before
        .keys()
        .filter(|name| name.contains("drop-0001/"))
        .collect();
    assert!(parts.len() > 1, "photoz and rejects");
    for part in &parts {
        let mut bytes = before[*part].clone();
        bytes[100] ^= 1;
        put(out.path().join(part), bytes);
    }
    let again = Program::run(survey(), &out).with("--drop drop-0001 --again");
    verify(out.path()).ends(1);
    again.ends(0);
    assert_same(&before, &committed(out.path()));
    verify(out.path()).ends(0);
}

#[test]
fn whatever_is_not_as_the_ledger_says_is_found() {
    let clean = folder();
    Program::run(survey(), &clean).ends(0);
    let files = committed(clean.path());
    let part = files
        .keys()
        .find(|name| name.starts_with("photoz/"))
        .unwrap();
    let metrics = tree(clean.path())
        .into_keys()
        .rfind(|name| name.starts_with("_hubbleflow/metrics/"))
        .unwrap();
    type Harm<'a> = (&'a str, &'a dyn Fn(&Path));
    let harms: [Harm; 8] = [
        ("its bytes are not those", &|out| {
            let mut bytes = fs::read(out.join(part)).unwrap();
            bytes[100] ^= 1;
            put(out.join(part), bytes);
        }),
        ("is missing", &|out| {
            fs::remove_file(out.join(part)).unwrap()
        }),
        ("no entry lists it", &|out| {
            put(out.join("photoz/drop-0001/extra.parquet"), "x")
        }),
        ("are missing", &|out| {
            fs::remove_file(out.join(&metrics)).unwrap()
        }),
        ("are those of another entry", &|out| {
            let folder = out.join("_hubbleflow/metrics");
            let [first, second] = [1, 2].map(|entry| folder.join(format!("{entry:020}.json")));
            fs::copy(second, first).unwrap();
        }),
        ("are not those of the committed rows", &|out| {
            let mut told: Value =
                serde_json::from_slice(&fs::read(out.join(&metrics)).unwrap()).unwrap();
            told["all"]["n"] = 1.into();
            put(out.join(&metrics), told.to_string());
        }),
        ("00001.json: are not those of the committed rows", &|out| {
            let first = out.join(format!("_hubbleflow/metrics/{:020}.json", 1));
            let told = fs::read_to_string(&first).unwrap();
            put(first, told.replacen("\"n\": ", "\"n\": 1", 1));
        }),
        ("00009.json: are of no drop in the ledger", &|out| {
            let beyond = out.join(format!("_hubbleflow/metrics/{:020}.json", 9));
            fs::copy(out.join(&metrics), beyond).unwrap();
        }),
    ];
    for (fault, harm) in harms {
        let out = folder();
        crate::survey::copy(clean.path(), out.path());
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
        // Nothing follows from damaged predictions, and nobody is to have them.
        let is_damage = ["its bytes are not those", "is missing"].contains(&fault);
        assert_eq!(told["metrics_compared"], !is_damage, "{fault}");
        let to = folder();
        let told = export(out.path(), &to.path().join("now")).ends(is_damage.into());
        assert!(!is_damage || told.stderr.contains(fault), "{}", told.stderr);
    }
}

/// `verify` looked at the rows and files of an entry alone.
#[test]
fn whatever_is_changed_in_an_entry_is_found() {
    let clean = folder();
    Program::run(survey(), &clean).ends(0);
    let name = format!("_hubbleflow/ledger/{:020}.json", 1);
    let entry = fs::read(clean.path().join(&name)).unwrap();
    let entry: Value = serde_json::from_slice(&entry).unwrap();
    let has_rejects = entry["rows"]["rejected"] != 0;
    type Change = fn(&mut Value);
    // What the files' own columns and metadata say otherwise is found without the checksum of the entry too.
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
            entry["inputs"][0]["etag"] = "another".into()
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
            crate::survey::copy(clean.path(), out.path());
            put(out.path().join(&name), changed.to_string());
            let code = i32::from(sealed || is_in_files);
            let told = verify(out.path()).ends(code).json();
            let faults = told["faults"].to_string();
            assert!(
                code == 0 || faults.contains("entry 1 (drop-0001)"),
                "{what}: {faults}"
            );
        }
    }
    // Spaced by another program, an entry says the same.
    put(clean.path().join(&name), entry.to_string());
    verify(clean.path()).ends(0);
}
