//! `bench run --bytes` replays a catalog under new ids, with all promises of a run.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use arrow::{array::AsArray, datatypes::Float64Type};
use serde_json::Value;
use testkit::{
    outputs::{committed, ledger, staged_files},
    processes::wait_until,
    program::Program,
    rows::{column, floats, ids, rows},
    survey::{model, run_catalog, survey},
    tree::{assert_same, folder, text, tree},
};

/// Passes over the two drops of galaxies.
const PASSES: u64 = 12;
/// The first ids of two passes differ by this number.
const IDS_OF_PASS: u64 = 1000;

/// The bytes of the survey's galaxies.
fn bytes_of_galaxies() -> u64 {
    let drops = ["drop-0001", "drop-0002"];
    let files = drops.iter().flat_map(|drop| tree(&survey().join(drop)));
    let parquet = files.filter(|(name, _)| name.ends_with(".parquet"));
    parquet.map(|(_, bytes)| bytes.len() as u64).sum()
}

/// A replay of the survey with several passes.
fn replay(out: &Path) -> Program {
    replay_bytes(out, PASSES * bytes_of_galaxies())
}

/// A replay of the survey until it has this number of bytes.
fn replay_bytes(out: &Path, bytes: u64) -> Program {
    let bytes = bytes.to_string();
    let (catalog, out, model) = (text(survey()), text(out), text(model()));
    let bench = ["bench", "run", &catalog, "--out", &out, "--model", &model];
    let bench = Program::new(bench).args(["--bytes", &bytes, "--json"]);
    bench.with("--split-bytes 500kB --memory 16MB --threads 1 --checkpoint 100ms")
}

/// The sum of a count over the entries of an output.
fn counted(out: &Path, count: &str) -> u64 {
    let entries = ledger(out);
    let counts = entries.iter().map(|entry| entry["rows"][count].as_u64());
    counts.flatten().sum()
}

fn check_exactly_once(out: &Path) {
    assert_eq!(
        ledger(out)
            .iter()
            .filter(|entry| entry["kind"] == "drop")
            .count() as u64,
        2 * PASSES
    );
    let written = ids(&rows(out.join("photoz")));
    let distinct: BTreeSet<_> = written.iter().collect();
    assert_eq!(distinct.len(), written.len(), "an id comes twice");
    assert!(counted(out, "rejected") >= PASSES);
    assert_eq!(
        written.len() as u64,
        counted(out, "read") - counted(out, "rejected")
    );
}

/// The bits of the redshifts of a pass, by the number of their rows in the catalog.
fn z_phot_of_pass(out: &Path, pass: u64) -> BTreeMap<u64, Option<u32>> {
    let mut found = BTreeMap::new();
    for drop in ["drop-0001", "drop-0002"] {
        let rows = rows(out.join(format!("photoz/pass-{pass:06}-{drop}")));
        let z_phot = floats(&rows, "z_phot").into_iter();
        for (id, z) in ids(&rows).iter().zip(z_phot) {
            let row = id.parse::<u64>().unwrap() - pass * IDS_OF_PASS;
            found.insert(row, z.map(f32::to_bits));
        }
    }
    found
}

/// Positions and redshifts below a folder, as bits.
fn redshifts(folder: impl AsRef<Path>) -> BTreeSet<[u64; 3]> {
    let rows = rows(folder);
    let degrees = |name| column(&rows, name).as_primitive::<Float64Type>().clone();
    let (ra, dec, z_phot) = (degrees("ra"), degrees("dec"), floats(&rows, "z_phot"));
    let predicted = (0..rows.num_rows()).filter_map(|row| {
        let z = u64::from(z_phot[row]?.to_bits());
        Some([ra.value(row).to_bits(), dec.value(row).to_bits(), z])
    });
    predicted.collect()
}

fn metrics(out: &Path) -> Value {
    Program::new(["status", &text(out), "--json"])
        .ends(0)
        .json()["metrics"]
        .clone()
}

#[test]
fn a_replay_that_is_killed_predicts_each_row_of_each_pass_once() {
    let (out, whole) = (folder(), folder());
    for _ in 0..4 {
        let before = ledger(out.path()).len();
        let mut running = replay(out.path()).start();
        wait_until("drops are committed", || {
            ledger(out.path()).len() > before + 2
        });
        running.kill();
        assert_eq!(running.wait().code, -9, "the replay took too little time");
    }
    replay(out.path()).ends(0);
    check_exactly_once(out.path());
    assert!(staged_files(out.path()).is_empty());
    Program::new(["verify", &text(out.path())]).ends(0);

    let json = replay(whole.path()).ends(0).json();
    assert_same(&committed(whole.path()), &committed(out.path()));
    assert_eq!(json["passes"], PASSES);
    assert_eq!(json["bytes"], PASSES * bytes_of_galaxies());
    assert_eq!(json["rows_read"], counted(out.path(), "read"));
    let memory = json["memory"].as_array().unwrap();
    assert!(!memory.is_empty() && memory.iter().all(|point| point[1].as_u64() > Some(1 << 20)));
}

#[test]
fn each_pass_has_the_predictions_of_the_first_and_of_a_run() {
    let (out, once) = (folder(), folder());
    replay(out.path()).ends(0);
    let first = z_phot_of_pass(out.path(), 0);
    assert!(first.len() > 250 && first.values().any(Option::is_some));
    for pass in 1..PASSES {
        assert_eq!(z_phot_of_pass(out.path(), pass), first, "pass {pass}");
    }
    run_catalog(survey(), &once)
        .with("--split-bytes 500kB")
        .ends(0);
    let of_pass = redshifts(out.path().join("photoz/pass-000000-drop-0001"));
    let of_run = redshifts(once.path().join("photoz/drop-0001"));
    assert!(of_run.len() > 100 && of_run.is_subset(&of_pass));
}

#[test]
fn metrics_count_the_spec_z_of_the_first_pass() {
    let (out, first) = (folder(), folder());
    replay(out.path()).ends(0);
    replay_bytes(first.path(), bytes_of_galaxies()).ends(0);
    let (all, of_first) = (metrics(out.path()), metrics(first.path()));
    assert!(of_first["all"]["n"].as_u64() > Some(50), "{of_first}");
    assert_eq!(all["all"], of_first["all"]);
}

#[test]
fn arguments_that_contradict_a_replay_are_usage_errors() {
    let out = folder();
    let limited = replay(out.path()).with("--limit 10").ends(2);
    limited.says(&["--bytes", "--limit"]);
    let inside = replay(&survey().join("out")).ends(2);
    inside.says(&[&text(survey()), "out"]);
    let unknown = replay(out.path()).with("--drop drop-0009").ends(2);
    unknown.says(&["--drop drop-0009", "no such drop"]);
    assert!(ledger(out.path()).is_empty());
}
