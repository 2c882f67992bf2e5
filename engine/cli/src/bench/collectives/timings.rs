//! What rounds took, as a table.
use serde::{Deserialize, Serialize};

use crate::bench::machine::Machine;

/// What all clusters took.
#[derive(Clone, Debug, Serialize)]
pub struct Timings {
    /// What they ran on.
    pub machine: Machine,
    /// A row for each cluster, collective and size.
    pub rows: Vec<Row>,
}

/// What the rounds of a collective took. A round takes as long as the rank that takes the longest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The number of processes, with one worker each.
    pub processes: usize,
    /// The collective.
    pub collective: String,
    /// The bytes of a message; 0 for a barrier.
    pub bytes: u64,
    /// The rounds that were timed.
    pub rounds: usize,
    /// The median of the rounds, in microseconds.
    pub median_us: f64,
    /// The 10th percentile.
    pub low_us: f64,
    /// The 90th percentile.
    pub high_us: f64,
    /// Bytes of a message by the median.
    pub bytes_per_second: f64,
}

impl Timings {
    /// No timings yet, of this machine.
    pub fn here() -> Self {
        Self {
            machine: Machine::here(),
            rows: Vec::new(),
        }
    }
}

impl Row {
    /// The row of rounds that took these seconds.
    pub fn of(processes: usize, collective: String, bytes: u64, mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |tenths: usize| {
            let place = seconds.len().saturating_sub(1) * tenths / 10;
            seconds.get(place).copied().unwrap_or_default()
        };
        Self {
            processes,
            collective,
            bytes,
            rounds: seconds.len(),
            median_us: 1e6 * at(5),
            low_us: 1e6 * at(1),
            high_us: 1e6 * at(9),
            bytes_per_second: bytes as f64 / at(5).max(1e-9),
        }
    }
}

impl std::fmt::Display for Timings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}; a worker a process, TCP on 127.0.0.1", self.machine)?;
        writeln!(
            f,
            "{:>9} {:<18} {:>9} {:>6} {:>12} {:>12} {:>12} {:>9}",
            "processes", "collective", "bytes", "rounds", "median µs", "10% µs", "90% µs", "MB/s"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:>9} {:<18} {:>9} {:>6} {:>12.1} {:>12.1} {:>12.1} {:>9.1}",
                row.processes,
                row.collective,
                row.bytes,
                row.rounds,
                row.median_us,
                row.low_us,
                row.high_us,
                1e-6 * row.bytes_per_second
            )?;
        }
        Ok(())
    }
}
