//! Nothing silent: what goes wrong is said, with what and where and what to do, and harms nothing that is committed.
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use arrow::array::{ArrayRef, Float64Array, StringArray};
use engine::{Job, settings::RunArgs};
use models::{Inputs, Model, Needs};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    gate::{DENIED, Verdict, gate},
    survey::{
        Ended, Program, S3, assert_same, committed, copy, drops, folder, galaxies, int64, model,
        other_model, parquet, put, survey, text, tree, with, without, write, z_phot,
    },
};

/// A drop of eight galaxies.
fn good(catalog: &Path, drop: &str, first_id: i64) {
    write(
        catalog.join(drop).join("a.parquet"),
        &galaxies(int64(first_id..first_id + 8)),
        100,
    );
}

/// An output that holds one drop. Whatever goes wrong afterwards, it stays.
struct Held {
    catalog: TempDir,
    out: TempDir,
    before: BTreeMap<String, Vec<u8>>,
}

impl Held {
    fn new() -> Self {
        let (catalog, out) = (folder(), folder());
        good(catalog.path(), "drop-1", 100);
        Program::run(&catalog, &out).ends(0);
        let before = committed(out.path());
        assert!(!before.is_empty());
        Self {
            catalog,
            out,
            before,
        }
    }

    fn drop(&self, name: &str) -> PathBuf {
        self.catalog.path().join(name)
    }

    fn run(&self) -> Program {
        Program::run(&self.catalog, &self.out)
    }

    /// What was committed at first is there, to the byte; now these drops are.
    #[track_caller]
    fn holds(&self, names: &[&str]) {
        let now = committed(self.out.path());
        let lost: Vec<_> = self
            .before
            .iter()
            .filter(|(name, bytes)| now.get(*name) != Some(bytes))
            .map(|(name, _)| name)
            .collect();
        assert!(lost.is_empty(), "lost or changed: {lost:?}");
        assert_eq!(drops(self.out.path()), names);
        assert!(
            tree(&self.out.path().join("_hubbleflow/staging")).is_empty(),
            "a stage was left behind"
        );
    }
}

#[test]
fn an_empty_catalog_is_no_failure() {
    let (catalog, out) = (folder(), folder());
    put(catalog.path().join("README.txt"), "not a drop");
    let ended = Program::run(&catalog, &out).with("--json").ends(0);
    ended.says(&[&text(catalog.path()), "no drop"]);
    assert_eq!(ended.json()["drops_committed"], 0);
}

#[test]
fn a_catalog_that_is_not_there_leaves_no_output() {
    let (folder, s3) = (folder(), S3::start());
    let (missing, out) = (folder.path().join("missing"), folder.path().join("out"));
    Program::run(&missing, &out)
        .ends(1)
        .says(&[&text(&missing), "not found", "check the URL"]);
    assert!(!out.exists(), "a mistyped catalog left an output behind");
    Program::run("s3://nowhere/survey", &out)
        .at(&s3)
        .ends(1)
        .says(&["s3://nowhere/survey", "not found", "bucket"]);
    assert!(!out.exists(), "a mistyped bucket left an output behind");
}

#[test]
fn wrong_credentials_are_called_so() {
    let (s3, out) = (S3::start(), folder());
    copy(survey(), &s3.bucket().join("survey"));
    let run = || Program::run("s3://sky/survey", &out).at(&s3);
    for wrong in [
        ("AWS_SECRET_ACCESS_KEY", "guess"),
        ("AWS_ACCESS_KEY_ID", "guess"),
    ] {
        let ended = run().env(wrong.0, wrong.1).ends(1);
        ended.says(&["s3://sky/survey", "access denied", "check the credentials"]);
    }
    run().ends(0);
}

#[test]
fn a_store_that_is_not_there_is_given_up_on() {
    // A port that was free a moment ago: nobody listens.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let out = folder();
    let run = Program::run("s3://sky/survey", &out).at(&S3::start());
    run.env("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"))
        .ends(1)
        .says(&["s3://sky/survey", "the store failed"]);
}

/// Runs a catalog whose second of three drops is bad: it fails, with these words, and holds back no other.
/// Once it is good, the next run takes it.
fn one_bad_drop(spoil: impl FnOnce(&Path), words: &[&str]) {
    let held = Held::new();
    spoil(&held.drop("drop-2"));
    good(held.catalog.path(), "drop-3", 300);
    let ended = held.run().with("--json").ends(3);
    ended.says(&["drop-2: FAILED"]);
    ended.says(words);
    let json = ended.json();
    assert_eq!(
        (&json["drops_committed"], &json["drops_failed"]),
        (&1.into(), &1.into())
    );
    held.holds(&["drop-1", "drop-3"]);
    fs::remove_dir_all(held.drop("drop-2")).unwrap();
    good(held.catalog.path(), "drop-2", 200);
    held.run().ends(0);
    held.holds(&["drop-1", "drop-3", "drop-2"]);
}

/// A file of the sample survey.
fn sample_file() -> Vec<u8> {
    fs::read(survey().join("drop-0001/part-0000.parquet")).unwrap()
}

const CORRUPT: [&str; 3] = [
    "drop-2/b.parquet",
    "cannot be read as Parquet",
    "replace the object and run again",
];

#[test]
fn an_object_that_is_no_parquet_fails_its_drop_alone() {
    one_bad_drop(
        |drop| {
            // A good object beside it does not save the drop.
            write(drop.join("a.parquet"), &galaxies(int64(900..902)), 100);
            put(
                drop.join("b.parquet"),
                "object_id,ra,dec\n1,150.0,2.0\n".repeat(100),
            );
        },
        &CORRUPT,
    );
}

#[test]
fn an_empty_object_fails_its_drop_alone() {
    one_bad_drop(|drop| put(drop.join("b.parquet"), ""), &CORRUPT);
}

#[test]
fn a_truncated_object_fails_its_drop_alone() {
    let whole = sample_file();
    one_bad_drop(
        |drop| put(drop.join("b.parquet"), &whole[..whole.len() / 2]),
        &CORRUPT,
    );
}

#[test]
fn damaged_pages_fail_their_drop_alone() {
    // The footer is good: the damage, in the header of the first page, is met when the rows are read.
    let mut damaged = sample_file();
    damaged[4..260].fill(0xff);
    one_bad_drop(|drop| put(drop.join("b.parquet"), damaged), &CORRUPT);
}

#[test]
fn a_missing_column_is_named_with_the_way_out() {
    let nameless = without(&galaxies(int64(0..8)), "cutout");
    let spoil = |drop: &Path| write(drop.join("b.parquet"), &without(&nameless, "z_spec"), 100);
    one_bad_drop(
        spoil,
        &[
            "drop-2/b.parquet",
            "no column `cutout`",
            "the file has `object_id`",
            "--column cutout=NAME",
        ],
    );
}

#[test]
fn a_column_of_the_wrong_type_is_named() {
    let rows = galaxies(int64(0..2));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["17.2", "17.3"]));
    for (name, values, expected) in [("object_id", float, "int64"), ("mag_r", text, "float32")] {
        let bad = with(&rows, name, values);
        one_bad_drop(
            |drop| write(drop.join("b.parquet"), &bad, 100),
            &["drop-2/b.parquet", &format!("column `{name}` is"), expected],
        );
    }
}

#[test]
fn a_catalog_has_one_type_of_ids() {
    let strings: ArrayRef = Arc::new(StringArray::from(vec!["J1", "J2"]));
    let bad = galaxies(strings);
    one_bad_drop(
        |drop| write(drop.join("a.parquet"), &bad, 100),
        &["object_id is string, and int64 in drop drop-1"],
    );
}

#[test]
fn a_model_that_cannot_be_loaded_changes_nothing() {
    let held = Held::new();
    good(held.catalog.path(), "drop-2", 200);
    let run = |model: &Path| {
        Program::on(
            "run",
            &text(held.catalog.path()),
            &text(held.out.path()),
            model,
        )
        .ends(1)
    };
    let broken = folder();
    let file = |name: &str| text(&broken.path().join(name));
    let config = fs::read_to_string(model().join("config.json")).unwrap();
    let weights = fs::read(model().join("model.safetensors")).unwrap();

    run(broken.path()).says(&[&file("config.json")]);
    put(broken.path().join("config.json"), &config);
    run(broken.path()).says(&[&file("model.safetensors")]);
    put(
        broken.path().join("model.safetensors"),
        &weights[..weights.len() / 2],
    );
    run(broken.path()).says(&[&file("model.safetensors"), "truncated", "copy it again"]);
    put(broken.path().join("model.safetensors"), &weights);
    let deeper = config.replace("\"depth\": 1", "\"depth\": 2");
    assert_ne!(config, deeper);
    put(broken.path().join("config.json"), deeper);
    run(broken.path()).says(&[
        "tensor `",
        "config.json and the weights do not belong together",
    ]);
    put(broken.path().join("config.json"), "{\"architecture\": ");
    run(broken.path()).says(&[&file("config.json")]);
    held.holds(&["drop-1"]);
}

#[test]
fn an_output_does_not_lie_in_its_catalog_nor_the_other_way_round() {
    let held = Held::new();
    let catalog = text(held.catalog.path());
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
    held.holds(&["drop-1"]);
}

#[test]
fn mistakes_in_the_command_are_usage() {
    let held = Held::new();
    good(held.catalog.path(), "drop-2", 200);
    let ends = |flags: &str| -> Ended { held.run().with(flags).ends(2) };
    for (flags, words) in [
        ("--memroy 1GB", "--memroy"),
        ("--batch 0", "--batch"),
        ("--workers 0", "--workers"),
        ("--split-bytes 0", "--split-bytes"),
        ("--split-bytes 25parsecs", "parsecs"),
        ("--memory 50MB", "--memory 50.0 MB is less than four splits"),
        ("--device tpu", "tpu"),
        ("--precision half", "half"),
        ("--column cutout", "--column cutout=image"),
        ("--column colour=g_r", "colour"),
        ("--mag-min 30 --mag-max 20", "--mag-min 30"),
        ("--drop drop-9", "no drop drop-9; it has: drop-1, drop-2"),
        ("--processes 2", "--process"),
        (
            "--local 2 --processes 2 --process 0 --hosts /dev/null",
            "--local",
        ),
        ("--local 0", "--local"),
        ("--threads 0", "--threads"),
        ("--limit 0", "--limit"),
        ("--processes 2 --process 5 --hosts /dev/null", "--process 5"),
    ] {
        ends(flags).says(&[words]);
    }
    Program::on("run", "ftp://sky/survey", &text(held.out.path()), model())
        .ends(2)
        .says(&["ftp", "known are s3, gs, az"]);
    Program::new(["run", &text(held.catalog.path())])
        .ends(2)
        .says(&["--out", "--model"]);
    held.holds(&["drop-1"]);
}

#[test]
fn settings_with_an_unknown_key_are_usage() {
    let held = Held::new();
    let file = held.out.path().join("settings.toml");
    for (content, word) in [
        ("memroy = '1GB'", "no setting memroy"),
        ("memory = ", "settings.toml"),
    ] {
        put(&file, content);
        held.run()
            .args(["--settings", &text(&file)])
            .ends(2)
            .says(&[&text(&file), word]);
    }
    fs::remove_file(&file).unwrap();
    held.run()
        .args(["--settings", &text(&file)])
        .ends(2)
        .says(&[&text(&file)]);
    held.holds(&["drop-1"]);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let held = Held::new();
    put(
        held.out.path().join("taken"),
        "a file, where a folder would have to be",
    );
    let out = held.out.path().join("taken/photoz");
    Program::run(&held.catalog, &out)
        .ends(1)
        .says(&[&text(&out), "Not a directory"]);
    fs::remove_file(held.out.path().join("taken")).unwrap();
    held.holds(&["drop-1"]);
}

#[test]
fn a_store_without_conditional_puts_is_refused() {
    let held = Held::new();
    let run =
        Program::run(&held.catalog, "s3://sky/out").env("AWS_ENDPOINT_URL", &careless_store());
    let ended = run
        .env("AWS_SKIP_SIGNATURE", "true")
        .env("AWS_REGION", "us-east-1")
        .ends(1);
    ended.says(&[
        "s3://sky/out",
        "does not enforce create-if-absent",
        "use a store with conditional writes",
    ]);
}

/// An S3 that takes every put, whatever its condition, and shows each time what was put: its endpoint.
fn careless_store() -> String {
    gate(|head| match head.method() {
        // As long as the name that is asked for, which is what lies there.
        "HEAD" => Verdict::Answer("200 OK", "0123456789abcdef"),
        "PUT" => Verdict::Answer("200 OK", ""),
        "POST" => Verdict::Answer(
            "200 OK",
            "<DeleteResult><Deleted><Key>it</Key></Deleted></DeleteResult>",
        ),
        _ => Verdict::Answer("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
    })
}

#[test]
fn a_store_that_turns_read_only_loses_nothing() {
    let (catalog, s3, undisturbed) = (folder(), S3::start(), folder());
    let out = s3.bucket().join("out");
    let run = || Program::run(&catalog, "s3://sky/out").at(&s3);
    // A run makes seven requests that write: two creations and a deletion to see what the store is, then the stage, the
    // entry, the publishing and the clearing of its drop. The last of these runs may make them all. (Metrics, written
    // beside whatever else goes on, are let through.)
    for (allowed, code) in [1, 1, 1, 3, 3, 3, 3, 0].into_iter().enumerate() {
        good(
            catalog.path(),
            &format!("drop-{allowed}"),
            100 * allowed as i64,
        );
        let before = committed(&out);
        let (endpoint, writes) = (s3.endpoint(), AtomicUsize::new(0));
        let read_only = gate(move |head| {
            let counts = head.writes() && !head.target().contains("/metrics/");
            if counts && writes.fetch_add(1, Ordering::SeqCst) >= allowed {
                return DENIED;
            }
            Verdict::Pass(endpoint.clone())
        });
        let ended = run().env("AWS_ENDPOINT_URL", &read_only).ends(code);
        if code != 0 {
            ended.says(&[
                "s3://sky/out",
                "access denied",
                "what they may read and write",
            ]);
        }
        if allowed > 4 && code != 0 {
            ended.says(&["it is in the ledger as", "the next run goes on with it"]);
        }
        let now = committed(&out);
        let lost = before
            .iter()
            .find(|(name, bytes)| now.get(*name) != Some(bytes))
            .map(|(name, _)| name);
        assert_eq!(lost, None, "after {allowed} writes");
        run().ends(0);
        assert!(tree(&out.join("_hubbleflow/staging")).is_empty());
    }
    Program::run(&catalog, &undisturbed).ends(0);
    assert_same(&committed(undisturbed.path()), &committed(&out));
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_fails_its_drop_alone() {
    let (s3, out) = (Arc::new(S3::start()), folder());
    let put = |drop: i64, first_id: i64| {
        // Row groups of eight galaxies, each read by a request of its own.
        let rows = parquet(&galaxies(int64(first_id..first_id + 40)), 8);
        s3.put(&format!("survey/drop-{drop}/a.parquet"), rows);
    };
    (1..=3).for_each(|drop| put(drop, 100 * drop));
    let (server, reads) = (s3.clone(), AtomicUsize::new(0));
    let replacing = gate(move |head| {
        let reads_it = head.method() == "GET" && head.target().contains("drop-2/a.parquet");
        // The first request was for the footer, the second for the first rows.
        if reads_it && reads.fetch_add(1, Ordering::SeqCst) == 2 {
            let rows = parquet(&galaxies(int64(900..940)), 8);
            server.put("survey/drop-2/a.parquet", rows);
        }
        Verdict::Pass(server.endpoint())
    });
    let run = || {
        Program::run("s3://sky/survey", &out)
            .with("--split-bytes 200kB --json")
            .at(&s3)
    };
    let ended = run().env("AWS_ENDPOINT_URL", &replacing).ends(3);
    ended.says(&[
        "drop-2: FAILED",
        "s3://sky/survey/drop-2/a.parquet: changed since its drop was listed",
        "run again to take the drop as it is now",
    ]);
    assert_eq!(ended.json()["drops_committed"], 2);
    assert_eq!(drops(out.path()), ["drop-1", "drop-3"]);
    assert!(!out.path().join("photoz/drop-2").exists());
    assert!(tree(&out.path().join("_hubbleflow/staging")).is_empty());

    run().ends(0);
    assert_eq!(drops(out.path()), ["drop-1", "drop-3", "drop-2"]);
    let taken = z_phot(out.path().join("photoz/drop-2"));
    assert_eq!(
        Vec::from_iter(taken.into_keys()),
        Vec::from_iter((900..940).map(|id| id.to_string()))
    );
}

/// A constant, from a model that may not be as good as its author thought.
#[derive(Clone)]
struct Constant {
    panics: bool,
}

impl Model for Constant {
    fn id(&self) -> &str {
        "constant"
    }

    fn name(&self) -> &str {
        "constant"
    }

    fn cutout_px(&self) -> usize {
        1
    }

    fn needs(&self) -> Needs {
        Needs {
            cutouts: false,
            mags: true,
        }
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor, models::Error> {
        assert!(!self.panics, "nobody thought of such a galaxy");
        let mags = inputs.mags.as_ref().unwrap();
        Ok(Tensor::full(
            [mags.size()[0]],
            0.1,
            (Kind::Float, Device::Cpu),
        ))
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn a_model_that_panics_in_a_program_of_ones_own_ends_the_run() {
    let (catalog, out) = (folder(), folder());
    good(catalog.path(), "drop-1", 100);
    let run = |panics: bool| {
        let mut args = RunArgs::new(&text(catalog.path()), &text(out.path()), "");
        (args.workers, args.threads) = (3, Some(2));
        let (tell, told) = mpsc::channel();
        // A run that never ends is to fail the test, not to hold it up.
        std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let job = Job::with_model(&args, &Constant { panics }, &[], runtime.handle()).unwrap();
            let _the_test_may_have_given_up = tell.send(engine::run(job, runtime.handle()));
        });
        told.recv_timeout(Duration::from_secs(120))
            .expect("the run comes to an end")
    };
    let error = run(true).unwrap_err().to_string();
    for words in [
        "drop-1/a.parquet",
        "the model panicked",
        "nobody thought of such a galaxy",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert!(committed(out.path()).is_empty());
    assert_eq!(run(false).unwrap().rows_written, 8);
}

#[test]
fn two_models_are_not_mixed_unless_asked_for() {
    let held = Held::new();
    good(held.catalog.path(), "drop-2", 200);
    let run = || {
        Program::on(
            "run",
            &text(held.catalog.path()),
            &text(held.out.path()),
            other_model(),
        )
    };
    let refused = run().ends(1);
    refused.says(&["holds predictions of model", "drop-1", "--model-change"]);
    let id = |model: &Path| {
        Program::new(["model", "inspect", &text(model), "--json"])
            .ends(0)
            .json()["id"]
            .as_str()
            .unwrap()[..12]
            .to_owned()
    };
    refused.says(&[&id(model()), &id(other_model())]);
    Program::on(
        "plan",
        &text(held.catalog.path()),
        &text(held.out.path()),
        other_model(),
    )
    .ends(1)
    .says(&["--model-change"]);
    held.holds(&["drop-1"]);
    run().with("--model-change").ends(0);
    held.holds(&["drop-1", "drop-2"]);
}

#[test]
fn a_ledger_of_a_newer_format_is_refused() {
    let held = Held::new();
    good(held.catalog.path(), "drop-2", 200);
    let entry = held
        .out
        .path()
        .join("_hubbleflow/ledger/00000000000000000002.json");
    put(
        &entry,
        r#"{"format": 2, "sequence": 2, "kind": "merge", "of": [1]}"#,
    );
    let words = [
        &text(&entry),
        "format 2",
        "knows format 1",
        "use a newer hubbleflow",
    ];
    held.run().ends(1).says(&words);
    Program::new(["status", &text(held.out.path())])
        .ends(1)
        .says(&words);
    fs::remove_file(entry).unwrap();
    held.holds(&["drop-1"]);
}

#[test]
fn a_ledger_with_a_gap_is_refused() {
    let held = Held::new();
    let ledger = held.out.path().join("_hubbleflow/ledger");
    fs::copy(
        ledger.join("00000000000000000001.json"),
        ledger.join("00000000000000000003.json"),
    )
    .unwrap();
    held.run()
        .ends(1)
        .says(&["00000000000000000002.json", "is missing", "restore it"]);
    fs::remove_file(ledger.join("00000000000000000003.json")).unwrap();
    held.holds(&["drop-1"]);
}

#[test]
fn what_else_lies_in_the_ledgers_folder_is_no_entry() {
    let held = Held::new();
    let ledger = held.out.path().join("_hubbleflow/ledger");
    let strays =
        ["notes.json", "2.json", ".00000000000000000002.json"].map(|name| ledger.join(name));
    strays.iter().for_each(|stray| put(stray, "{}"));
    good(held.catalog.path(), "drop-2", 200);
    held.run().ends(0);
    for stray in strays {
        fs::remove_file(stray).unwrap();
    }
    held.holds(&["drop-1", "drop-2"]);
}

#[test]
fn an_entry_that_is_cut_short_is_named() {
    let held = Held::new();
    let entry = held
        .out
        .path()
        .join("_hubbleflow/ledger/00000000000000000001.json");
    let whole = fs::read(&entry).unwrap();
    put(&entry, &whole[..whole.len() / 2]);
    held.run()
        .ends(1)
        .says(&[&text(&entry), "is no ledger entry", "restore it"]);
    put(&entry, whole);
    held.holds(&["drop-1"]);
}

#[test]
fn an_output_without_a_ledger_has_no_status() {
    let nothing = folder();
    Program::new(["status", &text(nothing.path())])
        .ends(1)
        .says(&[&text(nothing.path()), "nothing is committed there"]);
    let held = Held::new();
    Program::new(["status", &text(held.out.path()), "--as-of", "drop-7"])
        .ends(2)
        .says(&["holds no drop drop-7"]);
}

/// A drop that was committed once, and is bad when it is to be taken again, fails as a new one would: its older entry is
/// not another run's.
#[test]
fn a_bad_drop_that_was_good_before_fails() {
    let held = Held::new();
    put(held.drop("drop-1/a.parquet"), "not Parquet any more");
    let ended = held.run().with("--again --json").ends(3);
    ended.says(&["drop-1: FAILED", "drop-1/a.parquet"]);
    assert_eq!(ended.json()["drops_failed"], 1);
    held.holds(&["drop-1"]);
}

#[test]
fn drops_with_ids_of_another_type_fail_in_one_run_as_in_two() {
    let (catalog, out) = (folder(), folder());
    good(catalog.path(), "drop-1", 100);
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..8).map(|n| n.to_string())));
    for drop in ["drop-2", "drop-3"] {
        let path = catalog.path().join(drop).join("a.parquet");
        write(path, &galaxies(names.clone()), 100);
    }
    let places = [text(catalog.path()), "--out".to_owned(), text(out.path())];
    let plan = Program::new(["plan", "--model", &text(model())]);
    plan.args(places).ends(3);
    for _ in 0..2 {
        Program::run(&catalog, &out).ends(3).says(&[
            "drop-2: FAILED",
            "drop-3: FAILED",
            "object_id is string, and int64 in drop drop-1; a catalog has one type",
        ]);
    }
    assert_eq!(drops(out.path()), ["drop-1"]);
}

/// What is delivered anew with ids of another type replaces what it is compared with.
#[test]
fn the_ids_of_the_only_drop_can_be_mended() {
    let (catalog, out) = (folder(), folder());
    let path = catalog.path().join("drop-1").join("a.parquet");
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..8).map(|n| n.to_string())));
    write(path.clone(), &galaxies(names), 100);
    Program::run(&catalog, &out).ends(0);
    write(path, &galaxies(int64(0..8)), 100);
    Program::run(&catalog, &out).with("--again").ends(0);
    // And is what others are compared with.
    good(catalog.path(), "drop-2", 100);
    Program::run(&catalog, &out).ends(0);
    assert_eq!(drops(out.path()), ["drop-1", "drop-1", "drop-2"]);
}

#[test]
fn a_catalog_that_is_one_drop_is_named_as_a_drop_may_be() {
    let (catalog, out) = (folder(), folder());
    let hidden = catalog.path().join("_survey");
    good(&hidden, "drop-1", 100);
    let places = [text(&hidden), "--out".to_owned(), text(out.path())];
    let run = Program::new(["run", "--drop-by", "all", "--model", &text(model())]);
    run.args(places)
        .ends(2)
        .says(&["_survey", "rename the folder"]);
}

#[cfg(unix)]
#[test]
fn a_name_that_cannot_be_taken_is_said_with_what_to_do() {
    let (catalog, out) = (folder(), folder());
    good(catalog.path(), "drop-1", 100);
    put(catalog.path().join("two\nlines.txt"), "");
    // The other drops are committed all the same.
    let ended = Program::run(&catalog, &out).with("--json").ends(3);
    ended.says(&["two\\nlines.txt", "rename it"]);
    assert_eq!(ended.json()["drops_committed"], 1);
}

#[test]
fn a_kept_column_is_of_one_type_in_a_drop() {
    let (catalog, out) = (folder(), folder());
    let numbers: [ArrayRef; 2] = [int64(1..9), Arc::new(Float64Array::from(vec![0.5; 8]))];
    for (name, number) in ["a", "b"].iter().zip(numbers) {
        let first = if *name == "a" { 0 } else { 8 };
        let rows = with(&galaxies(int64(first..first + 8)), "k", number);
        let path = catalog
            .path()
            .join("drop-1")
            .join(format!("{name}.parquet"));
        write(path, &rows, 100);
    }
    let run = || Program::run(&catalog, &out);
    run().with("--keep k").ends(3).says(&[
        "column `k` of --keep is Float64 in ",
        "drop-1/b.parquet, and Int64 in ",
        "drop-1/a.parquet; write it alike in both, or leave --keep out",
    ]);
    // What the command alone shows to be wrong is not the drop's fault.
    for (keep, said) in [
        ("--keep z_phot", "of its own"),
        ("--keep k --keep k", "twice"),
    ] {
        run().with(keep).ends(2).says(&[said]);
    }
    run().ends(0);
}

#[test]
fn a_path_may_go_up() {
    let (catalog, out) = (folder(), folder());
    good(catalog.path(), "drop-1", 100);
    let up = |path: &Path| {
        path.join("x/..")
            .join("../")
            .join(path.file_name().unwrap())
    };
    Program::run(up(catalog.path()), up(out.path())).ends(0);
    assert_eq!(drops(out.path()), ["drop-1"]);
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    let out = folder();
    for endpoint in ["minio:9000", "127.0.0.1:9000", "http://"] {
        let run = Program::run("s3://sky/survey", &out).at(&S3::start());
        run.env("AWS_ENDPOINT_URL", endpoint)
            .ends(2)
            .says(&["AWS_ENDPOINT_URL is", "must be like http://"]);
    }
}
