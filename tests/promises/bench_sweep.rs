//! `bench sweep` runs whole runs at many settings, counts what they take, and leaves nothing behind.
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    processes::{children, wait_until},
    program::Program,
    python::run_script,
    survey::{long_survey, model, survey},
    tree::{folder, text},
};

/// Bytes of a galaxy as the small model takes it: five bands of 32 pixels a side, and five magnitudes.
const GALAXY_BYTES: f64 = 20_500.0;

/// A sweep of a catalog with the small model, whose temporary files are in a folder of its own.
fn sweep(catalog: &Path, flags: &str, temporary: &TempDir) -> Program {
    let sweep = ["bench", "sweep", &text(catalog), "--model", &text(model())];
    let sweep = Program::new(sweep).with(flags);
    sweep.env("TMPDIR", &text(temporary.path()))
}

fn is_empty(folder: &TempDir) -> bool {
    fs::read_dir(folder.path()).unwrap().next().is_none()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is not a number"))
}

/// The files that a sweep writes.
fn files(place: &TempDir) -> [PathBuf; 2] {
    ["runs.csv", "page.html"].map(|name| place.path().join(name))
}

/// Two splits, two batches and two numbers of processes around the defaults of `run`: four points, twice each.
#[test]
fn one_setting_at_a_time_is_varied_and_every_run_is_counted() {
    let (place, temporary) = (folder(), folder());
    let [csv, html] = files(&place);
    let flags = format!(
        "--split-bytes 100kB,25MB --batch 32,128 --processes 1,2 --repeats 2 --price-per-machine-hour 3.6 --json \
         --csv {} --html {} -- --threads 1 --device cpu --precision fp32",
        text(&csv),
        text(&html)
    );
    let ended = sweep(survey(), &flags, &temporary).ends(0);
    ended.says(&["4 points, 2 runs each", "round 2 of 2, point 4 of 4"]);
    assert!(is_empty(&temporary), "a run left its output");
    let json = ended.json();
    let settings = |of: &Value| ["split_bytes", "batch", "processes"].map(|name| of[name].clone());
    let points = json["points"].as_array().unwrap();
    let found: Vec<_> = points.iter().map(settings).collect();
    let expected = [
        [25_000_000, 128, 1],
        [100_000, 128, 1],
        [25_000_000, 32, 1],
        [25_000_000, 128, 2],
    ];
    assert_eq!(json!(found), json!(expected));
    assert_eq!(settings(&json["base"]), settings(&points[0]));
    for point in points {
        let runs = point["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2);
        runs.iter()
            .for_each(|run| assert_figures(run, &point["processes"]));
        let walls = [&runs[0], &runs[1]].map(|run| number(&run["wall_seconds"]));
        let spread = &point["spread"]["wall_seconds"];
        let ends = ["min", "max"].map(|end| number(&spread[end]));
        assert_eq!(ends, [walls[0].min(walls[1]), walls[0].max(walls[1])]);
        assert_eq!(number(&spread["median"]), f64::midpoint(walls[0], walls[1]));
    }
    assert_read_by_others(&csv, points);
    assert_page(&fs::read_to_string(html).unwrap());
}

/// Asserts that the figures of a run are what they are said to be.
fn assert_figures(run: &Value, processes: &Value) {
    let of = |name: &str| number(&run[name]);
    let (wall, galaxies) = (of("wall_seconds"), of("galaxies"));
    assert!(galaxies > 250.0 && galaxies < of("rows_read"), "{run}");
    assert!((of("galaxies_per_second") - galaxies / wall).abs() < 1e-6);
    let bits = galaxies * GALAXY_BYTES * 8.0;
    assert!((of("bits_per_second") * wall / bits - 1.0).abs() < 1e-9);
    // A thread in each process, as `--threads 1` asks for.
    assert_eq!(run["model_threads"], *processes);
    let (busy, threads) = (of("model_busy_seconds"), of("model_threads"));
    assert!(busy > 0.0 && busy < wall * threads, "{run}");
    let idle = 1.0 - busy / (wall * threads);
    assert!((of("model_idle_share") - idle).abs() < 1e-9);
    assert!(of("cpu_seconds") > 0.02, "{run}");
    // libtorch is in memory, once for each process.
    assert!(of("peak_rss_bytes") > 5e7 * number(processes), "{run}");
    assert!((of("cost_by_machine_hour") - wall * 1e-3).abs() < 1e-9);
    assert_eq!(run["cost_by_gb_second"], Value::Null);
    assert_eq!([&run["device"], &run["precision"]], ["cpu", "fp32"]);
}

/// Asserts that pyarrow reads a line for each run, with the numbers of the JSON.
fn assert_read_by_others(csv: &Path, points: &[Value]) {
    let read = run_script(".venv", "readers.py", ["csv", &text(csv)]);
    let lines: Value = serde_json::from_str(&read).unwrap();
    let lines = lines.as_array().unwrap();
    assert_eq!(lines.len(), 8);
    for (place, line) in lines.iter().enumerate() {
        let (round, point) = (place / 4, &points[place % 4]);
        assert_eq!(line["repeat"], round + 1);
        assert_eq!(line["error"], Value::Null);
        let run = &point["runs"][round];
        for name in ["split_bytes", "batch", "processes"] {
            assert_eq!(line[name], point[name], "{name} of line {place}");
        }
        for name in ["wall_seconds", "bits_per_second", "galaxies", "device"] {
            assert_eq!(line[name], run[name], "{name} of line {place}");
        }
    }
}

/// Asserts that the page needs nothing else, and has its plots and tables.
fn assert_page(page: &str) {
    // Four figures by each of three settings.
    assert_eq!(page.matches("<svg ").count(), 12);
    for shown in [
        "<h2>Wall time by batch</h2>",
        "<h2>Throughput by split size</h2>",
        "<h2>Peak memory of all processes by processes</h2>",
        "Cost (machine): wall time / 3600 s × $3.6",
        "<h2>What CAI has published</h2>",
        "arXiv:2501.06249",
    ] {
        assert!(page.contains(shown), "no {shown}");
    }
    assert!(!page.contains("by data size"), "one size is no plot");
    assert!(!page.contains("Failed runs"));
    for link in ["http:", "https:", "src=", "href=", "@import", "<script"] {
        assert!(!page.contains(link), "the page needs a resource: {link}");
    }
}

#[test]
fn a_size_is_the_first_rows_of_the_catalog_and_a_size_that_is_not_there_fails_alone() {
    let (place, temporary) = (folder(), folder());
    let [csv, html] = files(&place);
    let flags = format!(
        "--sizes 2050kB,100MB,all --split-bytes 25MB --batch 128 --processes 1 --repeats 1 --json --csv {} --html {}",
        text(&csv),
        text(&html)
    );
    let ended = sweep(survey(), &flags, &temporary).ends(3);
    let reason = "--sizes 100 MB is 4878 rows of 20500 bytes";
    ended.says(&["FAILED", reason, "give a larger catalog"]);
    let points = ended.json()["points"].take();
    let read = |place: usize| points[place]["runs"][0]["rows_read"].clone();
    assert_eq!([read(0), read(1)], [json!(100), Value::Null]);
    assert!(number(&read(2)) > 300.0);
    let error = points[1]["runs"][0]["error"].as_str().unwrap();
    assert!(error.contains(reason), "{error}");
    let page = fs::read_to_string(html).unwrap();
    assert!(page.contains("<h2>Failed runs</h2>") && page.contains(reason));
    assert!(page.contains("<h2>Wall time by data size</h2>"));
    assert!(fs::read_to_string(csv).unwrap().contains(reason));
    assert!(is_empty(&temporary));
}

#[test]
fn a_sweep_whose_runs_all_fail_has_failed() {
    let (catalog, temporary) = (folder(), folder());
    fs::create_dir(catalog.path().join("drop")).unwrap();
    fs::write(catalog.path().join("drop/a.parquet"), "no Parquet").unwrap();
    let flags = "--split-bytes 25MB --batch 32,128 --processes 1 --repeats 1";
    let ended = sweep(catalog.path(), flags, &temporary).ends(1);
    ended.says(&["FAILED", "a.parquet"]);
    assert!(ended.stdout.contains("1 of 1 failed"), "{}", ended.stdout);
}

#[test]
fn arguments_that_no_run_takes_are_refused() {
    let temporary = folder();
    for (flags, said) in [
        ("--batch 0", "--batch"),
        ("--batch 32,x", "--batch"),
        ("--processes 0", "--processes"),
        ("--sizes 0", "all, 500MB or 1GB"),
        ("--split-bytes 25parsecs", "parsecs"),
        ("--repeats 0", "--repeats"),
        ("--price-per-machine-hour free", "a price in dollars"),
        // What the sweep itself sets, and what no run knows.
        ("--repeats 1 -- --batch 64", "--batch"),
        ("--repeats 1 -- --local 2", "--local"),
        ("--repeats 1 -- --colour blue", "--colour"),
    ] {
        let ended = sweep(survey(), flags, &temporary).ends(2);
        ended.says(&[said]);
        assert_eq!(ended.stdout, "", "{flags}");
    }
    let nowhere = folder().path().join("no/page.html");
    let flags = format!("--repeats 1 --html {}", text(&nowhere));
    let ended = sweep(survey(), &flags, &temporary).ends(1);
    ended.says(&["page.html"]);
    assert!(!ended.stderr.contains("round 1"), "{}", ended.stderr);
}

#[test]
fn a_sweep_that_is_told_to_end_ends_its_run_and_removes_its_output() {
    let (place, temporary) = (folder(), folder());
    let [csv, _] = files(&place);
    let flags = format!(
        "--split-bytes 25MB --batch 32,128 --processes 2 --repeats 50 --csv {}",
        text(&csv)
    );
    let mut running = sweep(long_survey(), &flags, &temporary).start();
    running.wait_for_message("round 1 of 50, point 2 of 2");
    // A supervisor, and the two processes of its cluster.
    let sweep = running.id();
    let all = || -> Vec<u32> {
        let supervisor = children(sweep);
        let cluster = supervisor.iter().flat_map(|&run| children(run));
        cluster.chain(supervisor.iter().copied()).collect()
    };
    wait_until("a cluster runs", || all().len() == 3);
    let all = all();
    running.signal("TERM");
    assert!(running.has_ended_within(Duration::from_secs(20)));
    let ended = running.ends(143);
    ended.says(&["SIGTERM: ending within 10 s"]);
    for process in all {
        assert!(!Path::new(&format!("/proc/{process}")).exists());
    }
    assert!(is_empty(&temporary), "an output is left");
    // What was measured is shown and written.
    assert!(ended.stdout.contains("galaxies/s"), "{}", ended.stdout);
    assert!(fs::read_to_string(csv).unwrap().lines().count() >= 3);
}
