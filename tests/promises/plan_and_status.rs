//! `plan` lists what a run will do, `status` what is committed, and the summary what a run did.
use std::path::Path;

use serde_json::{Value, json};
use testkit::{
    galaxy_rows::{some_galaxies, write_parquet},
    outputs::ledger,
    program::Program,
    survey::{SURVEY_DROPS, model, run_catalog, survey, survey_rows},
    tree::{assert_same, folder, text, tree, write_file},
};

#[test]
fn the_summary_is_one_json_object_on_stdout() {
    let out = folder();
    let ended = run_catalog(survey(), &out)
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
fn a_plan_writes_nothing_and_lists_what_a_run_does() {
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
    assert!(!nowhere.exists(), "`plan` made its output folder");
    let run = run_catalog(survey(), &out).with("--json").ends(0).json();
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
    assert!(
        SURVEY_DROPS.iter().all(|drop| shown.contains(drop)),
        "{shown}"
    );
}

#[test]
fn a_plan_names_the_drop_that_cannot_be_read() {
    let (catalog, out) = (folder(), folder());
    write_file(catalog.path().join("bad.parquet"), "no galaxies");
    write_parquet(catalog.path().join("good.parquet"), &some_galaxies(3), 10);
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

/// Deleted files showed as metrics that cannot be made.
#[test]
fn committed_files_that_were_deleted_are_named_with_what_to_do() {
    let out = folder();
    let run = |flags: &str| run_catalog(survey(), &out).with(flags).ends(0);
    let status = |flags: &str| {
        Program::new(["status", &text(out.path())])
            .with(flags)
            .ends(0)
    };
    run("--drop drop-0001");
    run("--drop drop-0002");
    let whole = status("--json").json();
    assert_eq!(whole["drops"][0]["missing_files"], 0);
    assert_eq!(whole["warnings"], json!([]));
    std::fs::remove_dir_all(out.path().join("photoz/drop-0001")).unwrap();
    let said = [
        "drop drop-0001: FILES MISSING: ",
        "photoz/drop-0001/part-",
        "--again",
    ];
    let shown = status("").stdout;
    assert!(said.iter().all(|part| shown.contains(part)), "{shown}");
    let gone = status("--json").json();
    assert_ne!(gone["drops"][0]["missing_files"], 0);
    assert_eq!(gone["drops"][1]["missing_files"], 0);
    run("--drop drop-0001 --again");
    assert_eq!(status("--json").json()["warnings"], json!([]));
}

#[test]
fn status_lists_committed_and_pending_drops() {
    let out = folder();
    let status = |flags: &str| {
        Program::new(["status", &text(out.path())])
            .with(flags)
            .ends(0)
    };
    run_catalog(survey(), &out).with("--drop drop-0002").ends(0);
    run_catalog(survey(), &out).with("--drop drop-0001").ends(0);
    run_catalog(survey(), &out)
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
    assert_eq!(
        now["rows"]["read"],
        survey_rows("drop-0001") + survey_rows("drop-0002")
    );
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
    // A limited run is committed, and the next run replaces it. So its drop is not pending.
    run_catalog(survey(), &out).with("--limit 5").ends(0);
    let tried = status("--json").json();
    assert_eq!(tried["pending"], json!(["drop-0003-specz"]));
}
