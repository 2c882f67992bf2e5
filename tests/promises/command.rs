//! The command itself: where it prints, where its settings come from, what it makes of mistakes before it begins.
use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Stdio,
};

use crate::{
    same_answer::Hosts,
    survey::{
        Program, S3, committed, copy, drops, end, folder, galaxies, int64, model, put, survey,
        text, with, without, write,
    },
};

#[test]
fn whoever_reads_no_further_stops_no_work() {
    let out = folder();
    let mut run = Program::run(survey(), &out).with("--json").start();
    // As `| head -0` and `2>&1 | head -0` do.
    drop((run.stdout.take(), run.stderr.take()));
    end(run, 0, "a run that nobody listens to");
    assert_eq!(drops(out.path()).len(), 3);
}

#[test]
fn a_result_that_cannot_be_printed_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let inspect = Program::new(["model", "inspect", &text(model())]);
    let child = inspect.printing_to(Stdio::from(full)).start();
    let ended = end(child, 1, "a model that is printed to a full disk");
    ended.says(&["standard output", "No space left"]);
}

#[test]
fn a_variable_that_is_no_text_is_no_setting() {
    let name = OsStr::from_bytes(b"HOME\xff");
    let inspect = Program::new(["model", "inspect", &text(model())]);
    inspect.os_env(name, OsStr::from_bytes(b"\xfe")).ends(0);
}

#[test]
fn commands_of_commands_take_settings_too() {
    let place = folder();
    let (settings, made) = (place.path().join("model.toml"), place.path().join("made"));
    put(&settings, "depth = 2");
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

/// A command in which CATALOG stands for the survey, and MADE for what it would make.
fn on_survey(command: &str, place: &Path) -> Program {
    let (catalog, made) = (text(survey()), text(&place.join("made")));
    Program::new(command.split(' ').map(|word| match word {
        "CATALOG" => &catalog,
        "MADE" => &made,
        word => word,
    }))
}

#[test]
fn numbers_that_make_no_sense_are_usage() {
    let made = folder();
    for (command, said) in [
        ("bench read CATALOG --px 0", "--px"),
        ("train finetune CATALOG --out MADE --threads 0", "--threads"),
        ("train finetune CATALOG --out MADE --epochs 0", "--epochs"),
        (
            "train finetune CATALOG --out MADE --mag-min nan",
            "--mag-min",
        ),
        ("bench exchange --workers 5000", "--workers"),
        (
            "run CATALOG --out MADE --model m --workers 5000",
            "--workers",
        ),
        (
            "run CATALOG --out MADE --model m --threads 1000000",
            "--threads",
        ),
        ("run CATALOG --out MADE --model m --local 100000", "--local"),
        ("watch CATALOG --out MADE --model m --poll 0ms", "--poll"),
        ("demo --local 100000", "--local"),
        (
            "train pretrain CATALOG --out MADE --drop drop-9",
            "no drop drop-9",
        ),
    ] {
        on_survey(command, made.path()).ends(2).says(&[said]);
    }
}

#[test]
fn scores_on_what_was_learned_from_are_warned_of() {
    let command =
        "train finetune CATALOG --out MADE --training 0:0.9 --validation 0.8:0.95 --drop drop-9";
    let made = folder();
    let said = on_survey(command, made.path()).ends(2);
    said.says(&["--training 0:0.9 and --validation 0.8:0.95 hold the same objects"]);
    assert!(!said.stderr.contains("--test"), "{}", said.stderr);
}

#[test]
fn a_hosts_file_is_read_before_anything_begins() {
    let (place, out) = (folder(), folder());
    let hosts = place.path().join("hosts");
    for (lines, said) in [
        (
            "# ours\n127.0.0.1:4001\n127.0.0.1:4002",
            "line 1: \"# ours\" is not HOST:PORT",
        ),
        (
            "127.0.0.1:4001\n127.0.0.1",
            "line 2: \"127.0.0.1\" is not HOST:PORT",
        ),
        (
            "127.0.0.1:4001\n\n127.0.0.1:4001",
            "line 3: \"127.0.0.1:4001\" stands there twice",
        ),
    ] {
        put(&hosts, lines);
        let run = Program::run(survey(), &out).with("--processes 2 --process 0 --hosts");
        run.args([text(&hosts)])
            .ends(2)
            .says(&[&text(&hosts), said]);
    }
}

#[test]
fn processes_that_would_take_different_drops_do_not_start() {
    let (hosts, out) = (Hosts::new(), folder());
    let start = |process: usize, flags: &str| {
        let run = Program::run(survey(), &out).with(flags);
        run.args(hosts.flags(process)).start()
    };
    let children = [start(0, "--drop drop-0001"), start(1, "")];
    let said = children.map(|child| end(child, 1, "a process that disagrees").stderr);
    assert!(
        said.iter().any(|said| said.contains("disagree: drop is")),
        "{said:?}"
    );
    assert!(committed(out.path()).is_empty());
}

#[test]
fn a_model_that_predicts_nothing_fails_its_check() {
    let place = folder();
    copy(model(), place.path());
    let weights = place.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    // Numbers are behind the header, whose length comes first.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let filled = |byte| {
        let mut bytes = bytes.clone();
        bytes[8 + header..].fill(byte);
        put(&weights, bytes);
        Program::new(["model", "check", &text(place.path())]).ends(1)
    };
    // All are NaN.
    filled(0xff).says(&["tensor `", "holds numbers that are not finite"]);
    // All are finite, 6e4 in float16 and 1e36 in float32: sums of them are not.
    let check = filled(0x7b);
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(said.contains("NOT FINITE"), "{said}");
}

#[test]
fn galaxies_whose_cutouts_have_another_name_are_not_spec_z_in_silence() {
    let (catalog, out) = (folder(), folder());
    let galaxies = galaxies(int64(1..9));
    let images = galaxies.column_by_name("cutout").unwrap().clone();
    let renamed = with(&without(&galaxies, "cutout"), "image", images);
    write(catalog.path().join("drop-1/a.parquet"), &renamed, 100);
    let run = |flags: &str| Program::run(&catalog, &out).with(flags).ends(0);
    let said = run("");
    said.says(&[
        "drop drop-1: ",
        "drop-1/a.parquet has magnitudes and z_spec and no column cutout",
        "--column cutout=NAME",
    ]);
    assert!(!said.stderr.contains('\u{1b}'), "colours are for terminals");
    let said = run("--again --column cutout=image --json");
    assert_eq!(said.json()["rows_written"], 8);
}

/// `str(Path("s3://sky"))` in Python is `s3:/sky`: it became a folder `s3:`.
#[test]
fn what_is_meant_as_a_url_makes_no_folder() {
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
        on_survey(&command, place.path())
            .within(place.path())
            .ends(2)
            .says(&["URL"]);
        let there: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert!(there.is_empty(), "{command}: {there:?}");
    }
}

#[test]
fn a_variable_of_a_store_that_is_no_url_is_named() {
    let out = folder();
    for (catalog, name, value) in [
        ("s3://sky/x", "AWS_ENDPOINT_URL", "localhost:9000"),
        ("s3://sky/x", "AWS_ENDPOINT_URL_S3", "localhost:9000"),
        (
            "s3://sky/x",
            "AWS_ENDPOINT_URL",
            "http://user:secret@localhost:9000",
        ),
        ("gs://sky/x", "GOOGLE_BASE_URL", "localhost:9000"),
        ("s3://sky/x", "AWS_PROFILE", "no-such-profile"),
    ] {
        let run = Program::run(catalog, &out).env(name, value).ends(2);
        run.says(&[name]);
        assert!(!run.stderr.contains("secret"), "{}", run.stderr);
    }
}

#[test]
fn an_endpoint_of_s3_alone_is_taken_and_an_empty_one_is_unset() {
    let (s3, out) = (S3::start(), folder());
    copy(survey(), &s3.bucket().join("survey"));
    let run = Program::run("s3://sky/survey", &out).at(&s3);
    let run = run.env("AWS_ENDPOINT_URL", "");
    run.env("AWS_ENDPOINT_URL_S3", &s3.endpoint()).ends(0);
    assert_eq!(drops(out.path()).len(), 3);
}

#[test]
fn files_without_an_end_are_usage() {
    let out = folder();
    for flags in [
        "--settings /dev/zero",
        "--processes 2 --process 0 --hosts /dev/zero",
        "--processes 2 --process 0 --hosts /no/such/file",
        "--settings /no/such/file",
    ] {
        let file = flags.rsplit(' ').next().unwrap();
        let run = Program::run(survey(), &out).with(flags);
        run.ends(2).says(&[file]);
    }
}

#[test]
fn a_local_cluster_leaves_nothing_in_the_temporary_folder() {
    let (out, temporary) = (folder(), folder());
    let run = Program::run(survey(), &out).with("--local 2 --limit 10");
    run.env("TMPDIR", &text(temporary.path())).ends(0);
    let there: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
    assert!(there.is_empty(), "{there:?}");
}

#[test]
fn the_name_of_a_model_moves_no_cursor() {
    let place = folder();
    copy(model(), place.path());
    let config = fs::read_to_string(place.path().join("config.json")).unwrap();
    let named = config.replacen("\"name\": \"", "\"name\": \"\\u001b[2J\\u009b", 1);
    assert_ne!(config, named);
    put(place.path().join("config.json"), named);
    for command in ["inspect", "check"] {
        let told = Program::new(["model", command, &text(place.path())]).ends(0);
        assert!(!told.stdout.contains(['\u{1b}', '\u{9b}']), "{command}");
    }
}

#[test]
fn a_survey_that_a_store_refuses_says_why() {
    let s3 = S3::start();
    Program::new(["sample", "s3://sky/survey", "--galaxies", "10"])
        .at(&s3)
        .env("AWS_SECRET_ACCESS_KEY", "guess")
        .ends(1)
        .says(&["s3://sky/survey", "access denied"]);
}
