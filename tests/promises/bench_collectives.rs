//! `bench collectives` times rounds between processes of its own.
use std::collections::BTreeSet;

use testkit::program::Program;

#[test]
fn every_collective_is_timed_in_clusters_of_real_processes() {
    let bench = "bench collectives --processes 1,3 --bytes 8,4096 --rounds 10 --json";
    let ended = Program::new(bench.split(' ')).ends(0);
    let timings: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let rows = timings["rows"].as_array().unwrap();
    let timed: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            assert!(row["median_us"].as_f64().unwrap() > 0.0, "{row}");
            let collective = row["collective"].as_str().unwrap();
            (
                row["processes"].as_u64().unwrap(),
                collective,
                row["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    // Ten collectives with messages of two sizes, and the barrier.
    assert_eq!((timed.len(), rows.len()), (42, 42));
    assert!(timed.contains(&(3, "allreduce", 8)));
}

#[test]
fn a_message_that_is_no_vector_is_a_usage_error() {
    let bench = Program::new(["bench", "collectives", "--bytes", "12"]);
    bench.ends(2).says(&["--bytes 12", "multiple of 8"]);
}
