//! Incremental: a run goes on where the ledger ends, does nothing twice, and ends what others left unfinished.
use std::{fs, path::Path, sync::Arc};

use arrow::array::{AsArray, RecordBatch};
use serde_json::{Value, json};

use crate::survey::{
    Program, assert_same, column, committed, copy, drops, floats, folder, galaxies, ids, int64,
    ledger, model, put, rows, some_galaxies, survey, text, tree, with, without, write, z_phot,
};

const DROPS: [&str; 3] = ["drop-0001", "drop-0002", "drop-0003-specz"];

/// The rows of a drop of the sample survey.
fn count(drop: &str) -> u64 {
    rows(survey().join(drop)).num_rows() as u64
}

#[test]
fn a_second_run_does_nothing() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
    let before = tree(out.path());
    let again = Program::run(survey(), &out).with("--json").ends(0);
    again.says(&["nothing to do"]);
    assert_eq!(
        (&again.json()["drops_committed"], &again.json()["rows_read"]),
        (&0.into(), &0.into())
    );
    assert_same(&before, &tree(out.path()));
}

#[test]
fn a_new_drop_costs_itself_alone_and_the_order_of_runs_does_not_matter() {
    let (catalog, out, at_once) = (folder(), folder(), folder());
    Program::run(survey(), &at_once).ends(0);
    for drop in ["drop-0003-specz", "drop-0001", "drop-0002"] {
        copy(&survey().join(drop), &catalog.path().join(drop));
        let json = Program::run(&catalog, &out).with("--json").ends(0).json();
        assert_eq!(
            (&json["drops_committed"], &json["rows_read"]),
            (&1.into(), &count(drop).into())
        );
    }
    assert_eq!(
        drops(out.path()),
        ["drop-0003-specz", "drop-0001", "drop-0002"]
    );
    assert_same(&committed(at_once.path()), &committed(out.path()));
}

#[test]
fn what_is_no_drop_is_passed_over() {
    let (catalog, out) = (folder(), folder());
    for name in [
        "_tmp/a.parquet",
        ".hidden.parquet",
        "b/_part/a.parquet",
        "notes.txt",
        "d/notes.txt",
    ] {
        put(catalog.path().join(name), "no galaxies");
    }
    for name in ["b/deep/er/a.parquet", "c.parquet", "a/a.parquet"] {
        write(catalog.path().join(name), &some_galaxies(3), 10);
    }
    Program::run(&catalog, &out).ends(0);
    assert_eq!(drops(out.path()), ["a", "b", "c.parquet"]);
    let inputs: Vec<Value> = ledger(out.path())
        .iter()
        .map(|entry| entry["inputs"][0]["path"].clone())
        .collect();
    assert_eq!(inputs, ["a/a.parquet", "b/deep/er/a.parquet", "c.parquet"]);
}

#[test]
fn drops_can_be_taken_by_name() {
    let out = folder();
    Program::run(survey(), &out)
        .with("--drop drop-0002")
        .ends(0);
    assert_eq!(drops(out.path()), ["drop-0002"]);
    Program::run(survey(), &out)
        .with("--drop drop-0003-specz --drop drop-0001")
        .ends(0);
    assert_eq!(
        drops(out.path()),
        ["drop-0002", "drop-0001", "drop-0003-specz"]
    );
}

#[test]
fn a_first_try_is_replaced_by_the_run_without_a_limit() {
    let (out, whole) = (folder(), folder());
    Program::run(survey(), &whole).ends(0);
    let run = |flags: &str| {
        Program::run(survey(), &out)
            .with("--json")
            .with(flags)
            .ends(0)
            .json()
    };
    let rows_tried = count("drop-0001") + 20;
    assert_eq!(
        run(&format!("--limit {rows_tried}"))["rows_read"],
        rows_tried
    );
    assert_eq!(drops(out.path()), ["drop-0001", "drop-0002"]);
    assert_eq!(ledger(out.path())[1]["rows"]["read"], 20);
    let all = DROPS.iter().map(|drop| count(drop)).sum::<u64>();
    assert_eq!(run("")["rows_read"], all);
    assert_eq!(drops(out.path())[2..], DROPS);
    assert_same(&committed(whole.path()), &committed(out.path()));
    assert_eq!(run("")["rows_read"], 0);
}

#[test]
fn the_first_rows_are_the_first_rows() {
    let out = folder();
    Program::run(survey(), &out)
        .with("--limit 50 --split-bytes 300kB --workers 2")
        .ends(0);
    let mut got: Vec<String> = tree(out.path())
        .keys()
        .filter_map(|name| name.strip_suffix(".parquet"))
        .flat_map(|name| ids(&rows(Path::new(&out.path().join(name)).parent().unwrap())))
        .collect();
    let mut expected = ids(&rows(survey().join("drop-0001")).slice(0, 50));
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

#[test]
fn a_drop_taken_again_replaces_its_files() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
    let before = committed(out.path());
    let again = || Program::run(survey(), &out).with("--drop drop-0001 --again");
    let json = again().with("--keep parent --json").ends(0).json();
    assert_eq!(
        (&json["drops_committed"], &json["rows_read"]),
        (&1.into(), &count("drop-0001").into())
    );
    let after = committed(out.path());
    let of_drop = |name: &str| name.contains("/drop-0001/");
    let files = |tree: &std::collections::BTreeMap<String, Vec<u8>>| {
        tree.keys()
            .filter(|name| of_drop(name))
            .cloned()
            .collect::<Vec<_>>()
    };
    let entry = &ledger(out.path())[3];
    let listed: Vec<&str> = entry["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        listed,
        files(&after),
        "files that the newest entry does not list are to go"
    );
    assert_ne!(
        files(&before),
        files(&after),
        "a kept column makes another file"
    );
    let others = |mut tree: std::collections::BTreeMap<String, Vec<u8>>| {
        tree.retain(|name, _| !of_drop(name));
        tree
    };
    assert_same(&others(before.clone()), &others(after));
    // Without the column the files are those of the first time, by their contents.
    again().ends(0);
    assert_same(&before, &committed(out.path()));
    assert_eq!(drops(out.path())[3..], ["drop-0001", "drop-0001"]);
}

#[test]
fn an_attempt_that_was_not_committed_is_abandoned_and_cleared() {
    let (out, whole) = (folder(), folder());
    Program::run(survey(), &whole).ends(0);
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    let stage = out
        .path()
        .join("_hubbleflow/staging/0123456789abcdef-000001");
    put(
        stage.join("photoz/drop-0002/part-0000-00000000.parquet"),
        "half a file",
    );
    put(stage.join("spill/0000-0"), "rows");
    Program::run(survey(), &out).ends(0);
    let entry = &ledger(out.path())[1];
    assert_eq!(
        (&entry["kind"], &entry["attempt"], &entry["sequence"]),
        (
            &"abandoned".into(),
            &"0123456789abcdef-000001".into(),
            &2.into()
        )
    );
    assert!(
        tree(&out.path().join("_hubbleflow/staging")).is_empty(),
        "the stage was not cleared"
    );
    assert_same(&committed(whole.path()), &committed(out.path()));
}

/// Puts the files of a committed drop back into the stage, as a crash between commit and publishing leaves them.
fn unpublish(out: &Path, entry: &Value) {
    let stage = out
        .join("_hubbleflow/staging")
        .join(entry["attempt"].as_str().unwrap());
    for file in entry["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        put(stage.join(path), fs::read(out.join(path)).unwrap());
        fs::remove_file(out.join(path)).unwrap();
    }
}

#[test]
fn an_attempt_that_was_committed_is_published() {
    let out = folder();
    Program::run(survey(), &out).ends(0);
    let (before, entries) = (committed(out.path()), ledger(out.path()));
    unpublish(out.path(), &entries[0]);
    // Of the second drop one file had been published already.
    unpublish(out.path(), &entries[1]);
    let first = entries[1]["files"][0]["path"].as_str().unwrap();
    put(out.path().join(first), &before[first]);
    assert_ne!(committed(out.path()).len(), before.len());
    Program::run(survey(), &out)
        .ends(0)
        .says(&["nothing to do"]);
    assert_same(&before, &committed(out.path()));
    assert_eq!(
        ledger(out.path()),
        entries,
        "what was committed is not committed again"
    );
    assert!(
        tree(&out.path().join("_hubbleflow/staging")).is_empty(),
        "the stage was not cleared"
    );
}

#[test]
fn an_attempt_that_a_later_one_replaced_is_not_published() {
    let out = folder();
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    let first = ledger(out.path())[0].clone();
    let old = first["files"][0]["path"].as_str().unwrap().to_owned();
    let old_bytes = committed(out.path())[&old].clone();
    Program::run(survey(), &out)
        .with("--drop drop-0001 --again --keep parent")
        .ends(0);
    let before = committed(out.path());
    put(
        out.path()
            .join("_hubbleflow/staging")
            .join(first["attempt"].as_str().unwrap())
            .join(&old),
        old_bytes,
    );
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    assert_same(&before, &committed(out.path()));
    assert!(
        tree(&out.path().join("_hubbleflow/staging")).is_empty(),
        "the stage was not cleared"
    );
}

#[test]
fn a_stale_file_of_a_replaced_drop_is_removed_at_the_next_start() {
    // A crash after `--again` was committed, before the files of the first time were taken away.
    let out = folder();
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    let old = committed(out.path());
    Program::run(survey(), &out)
        .with("--drop drop-0001 --again --keep parent")
        .ends(0);
    let new = committed(out.path());
    unpublish(out.path(), &ledger(out.path())[1]);
    old.iter()
        .for_each(|(name, bytes)| put(out.path().join(name), bytes));
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    assert_same(&new, &committed(out.path()));
}

#[test]
fn a_kept_column_comes_with_its_rows() {
    let out = folder();
    Program::run(survey(), &out)
        .with("--keep parent --drop drop-0001 --split-bytes 300kB")
        .ends(0);
    let parents = |rows: &RecordBatch| -> std::collections::BTreeMap<String, Option<i32>> {
        let parents = column(rows, "parent").as_primitive::<arrow::datatypes::Int32Type>();
        ids(rows).into_iter().zip(parents.iter()).collect()
    };
    let (came, went) = (
        parents(&rows(survey().join("drop-0001"))),
        parents(&rows(out.path().join("photoz"))),
    );
    assert!(
        went.len() > 100
            && went
                .iter()
                .all(|(id, parent)| parent.is_some() && came[id] == *parent)
    );
}

#[test]
fn columns_of_other_names_are_mapped() {
    let (plain, renamed, out, out_renamed) = (folder(), folder(), folder(), folder());
    let good = some_galaxies(6);
    write(plain.path().join("a.parquet"), &good, 10);
    let mut other = good.clone();
    for (name, theirs) in [
        ("object_id", "objID"),
        ("cutout", "image"),
        ("mag_r", "modelMag_r"),
        ("z_spec", "zs"),
    ] {
        other = with(&without(&other, name), theirs, column(&good, name).clone());
    }
    // A column of the catalog's that has the name which is mapped away is not the cutout.
    other = with(
        &other,
        "cutout",
        Arc::new(arrow::array::StringArray::from(vec!["see image"; 6])),
    );
    write(renamed.path().join("a.parquet"), &other, 10);
    Program::run(&plain, &out).ends(0);
    let columns = "--column object_id=objID --column cutout=image --column mag_r=modelMag_r --column z_spec=zs";
    Program::run(&renamed, &out_renamed).with(columns).ends(0);
    assert_same(&committed(out.path()), &committed(out_renamed.path()));
    let photoz = rows(out_renamed.path().join("photoz"));
    assert!(
        floats(&photoz, "mag_r")
            .iter()
            .chain(&floats(&photoz, "z_spec"))
            .all(Option::is_some)
    );
}

#[test]
fn a_catalog_can_be_one_drop() {
    let (place, out) = (folder(), folder());
    let catalog = place.path().join("dr17");
    write(
        catalog.join("Norder=0/Npix=1.parquet"),
        &galaxies(int64(0..5)),
        10,
    );
    write(
        catalog.join("Norder=0/Npix=2.parquet"),
        &galaxies(int64(5..9)),
        10,
    );
    Program::run(&catalog, &out).with("--drop-by all").ends(0);
    assert_eq!(drops(out.path()), ["dr17"]);
    assert_eq!(rows(out.path().join("photoz/dr17")).num_rows(), 9);
    Program::run(&catalog, &out)
        .with("--drop-by all")
        .ends(0)
        .says(&["nothing to do"]);
}

#[test]
fn a_flag_beats_a_variable_beats_the_settings_file() {
    let place = folder();
    let settings = place.path().join("job.toml");
    put(
        &settings,
        "limit = 5\nkeep = ['parent']\nsplit-bytes = '300kB'\n",
    );
    let taken = |variable: Option<&str>, flags: &str, out: &str| -> (Value, Value) {
        let out = place.path().join(out);
        let run = Program::run(survey(), &out)
            .args(["--json", "--settings", &text(&settings)])
            .with(flags);
        let run = match variable {
            Some(limit) => run.env("HUBBLEFLOW_LIMIT", limit),
            None => run,
        };
        let json = run.ends(0).json();
        (
            json["rows_read"].clone(),
            ledger(&out)[0]["settings"].clone(),
        )
    };
    let (rows_read, set) = taken(None, "", "a");
    assert_eq!(rows_read, 5);
    assert_eq!(
        (&set["limit"], &set["keep"], &set["split_bytes"]),
        (&5.into(), &json!(["parent"]), &300_000.into())
    );
    assert_eq!(taken(Some("6"), "", "b").0, 6);
    assert_eq!(taken(Some("6"), "--limit 7", "c").0, 7);
    let photoz = rows(place.path().join("a/photoz"));
    assert!(photoz.column_by_name("parent").is_some());
    // The whole command can stand in the file and the environment.
    let out = text(&place.path().join("d"));
    put(
        &settings,
        format!("catalog = '{}'\nout = '{out}'\nlimit = 8\n", text(survey())),
    );
    let run = Program::new(["run", "--json"])
        .env("HUBBLEFLOW_SETTINGS", &text(&settings))
        .env("HUBBLEFLOW_MODEL", &text(model()));
    assert_eq!(run.ends(0).json()["rows_read"], 8);
}

#[test]
fn the_summary_is_one_object_last_on_stdout() {
    let out = folder();
    let ended = Program::run(survey(), &out)
        .with("--json --device cpu --precision fp32")
        .ends(0);
    let json = ended.json();
    let fields: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for field in [
        "drops_committed",
        "drops_failed",
        "rows_read",
        "rows_written",
        "rows_learned",
        "rows_rejected",
        "seconds",
        "galaxies_per_second",
        "device",
        "precision",
    ] {
        assert!(fields.contains(&field), "no {field} in {fields:?}");
    }
    assert_eq!(
        ended.stdout.lines().count(),
        1,
        "progress and logs go to stderr:\n{}",
        ended.stdout
    );
    assert_eq!(
        (&json["device"], &json["precision"]),
        (&"cpu".into(), &"fp32".into())
    );
    assert!(json["seconds"].as_f64() > Some(0.0));
}

#[test]
fn a_plan_writes_nothing_and_tells_what_run_does() {
    let (place, out) = (folder(), folder());
    let nowhere = place.path().join("out");
    let plan = |out: &Path, flags: &str| {
        Program::on("plan", &text(survey()), &text(out), model())
            .with("--json")
            .with(flags)
            .ends(0)
            .json()
    };
    let planned = plan(&nowhere, "");
    assert!(!nowhere.exists(), "plan made its output");
    let run = Program::run(survey(), &out).with("--json").ends(0).json();
    let planned_drops = planned["drops"].as_array().unwrap();
    assert_eq!(planned_drops.len() as u64, run["drops_committed"]);
    assert_eq!(
        planned_drops
            .iter()
            .map(|drop| drop["rows"].as_u64().unwrap())
            .sum::<u64>(),
        run["rows_read"]
    );
    for (drop, entry) in planned_drops.iter().zip(ledger(out.path())) {
        let inputs = entry["inputs"].as_array().unwrap();
        let bytes: u64 = inputs
            .iter()
            .map(|input| input["bytes"].as_u64().unwrap())
            .sum();
        assert_eq!(
            (&drop["drop"], &drop["rows"]),
            (&entry["drop"], &entry["rows"]["read"])
        );
        assert_eq!(
            (&drop["bytes"], &drop["objects"]),
            (&bytes.into(), &inputs.len().into())
        );
    }
    let before = tree(out.path());
    assert_eq!(plan(out.path(), "")["drops"], json!([]));
    let again = &plan(out.path(), "--again --drop drop-0002")["drops"];
    assert_eq!(
        (again.as_array().unwrap().len(), &again[0]["replaces"]),
        (1, &2.into())
    );
    assert_eq!(
        plan(out.path(), "--again --limit 10")["drops"][0]["rows"],
        10
    );
    assert_same(&before, &tree(out.path()));
    let shown = Program::on("plan", &text(survey()), &text(&nowhere), model())
        .ends(0)
        .stdout;
    assert!(DROPS.iter().all(|drop| shown.contains(drop)), "{shown}");
}

#[test]
fn a_plan_tells_which_drop_cannot_be_read() {
    let (catalog, out) = (folder(), folder());
    put(catalog.path().join("bad.parquet"), "no galaxies");
    write(catalog.path().join("good.parquet"), &some_galaxies(3), 10);
    let plan = Program::on("plan", &text(catalog.path()), &text(out.path()), model())
        .with("--json")
        .ends(3)
        .json();
    assert!(
        plan["drops"][0]["failure"]
            .as_str()
            .unwrap()
            .contains("bad.parquet"),
        "{plan}"
    );
    assert_eq!(
        (&plan["drops"][1]["failure"], &plan["drops"][1]["rows"]),
        (&Value::Null, &3.into())
    );
}

#[test]
fn status_tells_what_is_committed_and_what_is_pending() {
    let out = folder();
    let status = |flags: &str| {
        Program::new(["status", &text(out.path())])
            .with(flags)
            .ends(0)
    };
    Program::run(survey(), &out)
        .with("--drop drop-0002")
        .ends(0);
    Program::run(survey(), &out)
        .with("--drop drop-0001")
        .ends(0);
    Program::run(survey(), &out)
        .with("--drop drop-0002 --again")
        .ends(0);
    let entries = ledger(out.path());
    let now = status("--json").json();
    let newest = |status: &Value| -> Vec<(String, u64)> {
        let drops = status["drops"].as_array().unwrap().iter();
        drops
            .map(|drop| {
                (
                    drop["drop"].as_str().unwrap().to_owned(),
                    drop["sequence"].as_u64().unwrap(),
                )
            })
            .collect()
    };
    assert_eq!(
        newest(&now),
        [("drop-0001".to_owned(), 2), ("drop-0002".to_owned(), 3)]
    );
    assert_eq!(
        (&now["sequence"], &now["pending"]),
        (&3.into(), &json!(["drop-0003-specz"]))
    );
    assert_eq!(now["rows"]["read"], count("drop-0001") + count("drop-0002"));
    assert_eq!(now["drops"][0]["rows"], entries[1]["rows"]);
    let earlier = status("--json --as-of drop-0001").json();
    assert_eq!(
        newest(&earlier),
        [("drop-0002".to_owned(), 1), ("drop-0001".to_owned(), 2)]
    );
    let shown = status("").stdout;
    assert!(
        shown.contains("drop-0001") && shown.contains("drop-0003-specz"),
        "{shown}"
    );
    // A first try is committed, and the next run replaces it.
    Program::run(survey(), &out).with("--limit 5").ends(0);
    let tried = status("--json").json();
    assert_eq!(tried["pending"], json!(["drop-0003-specz"]));
}

#[test]
fn predictions_are_of_their_rows() {
    // The same galaxies in another order, under the same ids: each keeps its redshift.
    let (catalog, out) = (folder(), folder());
    let rows = some_galaxies(40);
    let backwards = arrow::array::UInt32Array::from_iter_values((0..40).rev());
    write(catalog.path().join("a.parquet"), &rows, 100);
    write(
        catalog.path().join("b.parquet"),
        &arrow::compute::take_record_batch(&rows, &backwards).unwrap(),
        100,
    );
    Program::run(&catalog, &out)
        .with("--precision fp32")
        .ends(0);
    let [a, b] =
        ["a.parquet", "b.parquet"].map(|drop| z_phot(out.path().join("photoz").join(drop)));
    let far: Vec<_> = a.iter().filter(|(id, z)| !near(**z, b[*id])).collect();
    assert!(far.is_empty() && a.len() == 40, "{far:?}");
    let values: std::collections::BTreeSet<_> = a.values().collect();
    assert!(
        values.len() > 30,
        "the galaxies can hardly be told apart: {} values",
        values.len()
    );
}

fn near(a: Option<u32>, b: Option<u32>) -> bool {
    let [a, b] = [a, b].map(|z| f32::from_bits(z.expect("it was predicted")));
    (a - b).abs() < 1e-6
}
