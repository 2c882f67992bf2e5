//! Settings come from flags, variables and a file, in this order of precedence.
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use serde_json::{Value, json};
use testkit::{
    outputs::{drops, ledger},
    program::Program,
    rows::rows,
    s3::S3,
    survey::{model, run_catalog, survey},
    tree::{copy_tree, folder, text, write_file},
};

#[test]
fn a_flag_beats_a_variable_beats_the_settings_file() {
    let place = folder();
    let settings = place.path().join("job.toml");
    write_file(
        &settings,
        "limit = 5\nkeep = ['parent']\nsplit-bytes = '300kB'\n",
    );
    let taken = |variable: Option<&str>, flags: &str, out: &str| -> (Value, Value) {
        let out = place.path().join(out);
        let run = run_catalog(survey(), &out)
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
    // The file and the environment can hold all arguments of a command.
    let out = text(&place.path().join("d"));
    write_file(
        &settings,
        format!("catalog = '{}'\nout = '{out}'\nlimit = 8\n", text(survey())),
    );
    let run = Program::new(["run", "--json"])
        .env("HUBBLEFLOW_SETTINGS", &text(&settings))
        .env("HUBBLEFLOW_MODEL", &text(model()));
    assert_eq!(run.ends(0).json()["rows_read"], 8);
}

#[test]
fn subcommands_take_settings_too() {
    let place = folder();
    let (settings, made) = (place.path().join("model.toml"), place.path().join("made"));
    write_file(&settings, "depth = 2");
    let init = || {
        let init = Program::new(["model", "init", &text(&made)]);
        init.args(["--settings", &text(&settings)])
    };
    let depth = || {
        let config = fs::read(made.join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        fs::remove_dir_all(&made).unwrap();
        config["encoder"]["depth"].as_u64()
    };
    init().ends(0);
    assert_eq!(depth(), Some(2));
    init().env("HUBBLEFLOW_DEPTH", "3").ends(0);
    assert_eq!(depth(), Some(3));
}

#[test]
fn a_variable_that_is_not_utf8_is_ignored() {
    let name = OsStr::from_bytes(b"HOME\xff");
    let inspect = Program::new(["model", "inspect", &text(model())]);
    inspect.os_env(name, OsStr::from_bytes(b"\xfe")).ends(0);
}

#[test]
fn an_empty_endpoint_is_replaced_by_the_endpoint_for_s3() {
    let (s3, out) = (S3::start(), folder());
    copy_tree(survey(), &s3.bucket().join("survey"));
    let run = run_catalog("s3://sky/survey", &out).on_s3(&s3);
    let run = run.env("AWS_ENDPOINT_URL", "");
    run.env("AWS_ENDPOINT_URL_S3", &s3.endpoint()).ends(0);
    assert_eq!(drops(out.path()).len(), 3);
}
