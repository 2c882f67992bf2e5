//! What one run took, and how each figure is counted.
use serde::{Deserialize, Serialize};

use super::measure::Ended;

/// Lines of what a failed run told that are shown.
const REASON_LINES_MAX: usize = 8;

/// How figures are made of measurements.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rates {
    /// Bytes of a galaxy as the model takes it: float32 pixels of its cutout, and its magnitudes.
    pub bytes_per_galaxy: u64,
    /// What an hour of this machine costs, in dollars.
    pub price_per_machine_hour: Option<f64>,
    /// What a gigabyte of memory costs a second, in dollars.
    pub price_per_gb_second: Option<f64>,
}

/// What one run took.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Rows that it read.
    pub rows_read: u64,
    /// Rows that it wrote.
    pub galaxies: u64,
    /// By the clock, from the start of its first process to its end.
    pub wall_seconds: f64,
    /// Galaxies by wall seconds.
    pub galaxies_per_second: f64,
    /// Bits of the galaxies as the model takes them, by wall seconds.
    pub bits_per_second: f64,
    /// Of all cores, for all of its processes.
    pub cpu_seconds: f64,
    /// The most that all of its processes held at one moment. `None` if the system does not say.
    pub peak_rss_bytes: Option<u64>,
    /// Seconds in which threads of the model had a batch, of all of its processes.
    pub model_busy_seconds: f64,
    /// Threads of the model, of all of its processes.
    pub model_threads: u64,
    /// The share of wall seconds times threads of the model in which the threads had no batch.
    pub model_idle_share: f64,
    /// Wall seconds at the price of the machine.
    pub cost_by_machine_hour: Option<f64>,
    /// Wall seconds times the most memory, at the price of memory.
    pub cost_by_gb_second: Option<f64>,
    /// Where the model ran.
    pub device: String,
    /// Its arithmetic.
    pub precision: String,
}

/// What a run says of itself.
#[derive(Deserialize)]
struct Summary {
    rows_read: u64,
    rows_written: u64,
    infer_seconds: f64,
    model_threads: u64,
    device: String,
    precision: String,
}

impl Figures {
    /// The figures of a run on this number of processes.
    ///
    /// # Errors
    /// Why there are none: the run failed, or a drop of it.
    pub(super) fn of(ended: &Ended, processes: u32, rates: &Rates) -> Result<Self, String> {
        if !ended.status.success() {
            let told = last_lines(&ended.told);
            return Err(format!("the run ended with {}:\n{told}", ended.status));
        }
        let last = ended.result.lines().last().unwrap_or_default();
        let summary: Summary = serde_json::from_str(last)
            .map_err(|error| format!("the run printed no summary ({error}): {last}"))?;
        let wall = ended.wall.as_secs_f64();
        let galaxies = summary.rows_written as f64;
        let threads = summary.model_threads * u64::from(processes);
        let busy_max = wall * threads as f64;
        let memory = ended.peak_rss_bytes.map(|bytes| bytes as f64 / 1e9);
        Ok(Self {
            rows_read: summary.rows_read,
            galaxies: summary.rows_written,
            wall_seconds: wall,
            galaxies_per_second: galaxies / wall,
            bits_per_second: galaxies * rates.bytes_per_galaxy as f64 * 8.0 / wall,
            cpu_seconds: ended.cpu.as_secs_f64(),
            peak_rss_bytes: ended.peak_rss_bytes,
            model_busy_seconds: summary.infer_seconds,
            model_threads: threads,
            model_idle_share: 1.0 - summary.infer_seconds / busy_max,
            cost_by_machine_hour: rates
                .price_per_machine_hour
                .map(|price| wall / 3600.0 * price),
            cost_by_gb_second: rates
                .price_per_gb_second
                .zip(memory)
                .map(|(price, gb)| wall * gb * price),
            device: summary.device,
            precision: summary.precision,
        })
    }
}

fn last_lines(told: &str) -> String {
    let lines: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(REASON_LINES_MAX)..].join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

    use super::*;

    fn ended(code: i32) -> Ended {
        let summary = r#"{"rows_read": 1010, "rows_written": 1000, "infer_seconds": 6.0, "model_threads": 1,
            "device": "cpu", "precision": "fp32", "seconds": 3.9}"#;
        Ended {
            status: ExitStatus::from_raw(code << 8),
            wall: Duration::from_secs(4),
            cpu: Duration::from_secs(7),
            peak_rss_bytes: Some(500_000_000),
            result: format!("a line before\n{}\n", summary.replace('\n', " ")),
            told: "drop: FAILED: it is empty\n\n1 drops failed\n".to_owned(),
        }
    }

    const RATES: Rates = Rates {
        bytes_per_galaxy: 20_500,
        price_per_machine_hour: Some(0.9),
        price_per_gb_second: Some(0.5),
    };

    #[test]
    fn figures_follow_from_wall_time_and_the_summary() {
        let figures = Figures::of(&ended(0), 2, &RATES).unwrap();
        assert_eq!((figures.rows_read, figures.galaxies), (1010, 1000));
        assert_eq!(figures.galaxies_per_second, 250.0);
        // Bits by wall time, not a sum of the rates of processes.
        assert_eq!(figures.bits_per_second, 250.0 * 20_500.0 * 8.0);
        // Two threads for four seconds, of which they were busy for six.
        assert_eq!(figures.model_threads, 2);
        assert_eq!(figures.model_idle_share, 0.25);
        assert_eq!(figures.cost_by_machine_hour, Some(0.001));
        assert_eq!(figures.cost_by_gb_second, Some(1.0));
    }

    #[test]
    fn a_run_that_fails_has_no_figures_but_its_reason() {
        let reason = Figures::of(&ended(3), 1, &RATES).unwrap_err();
        assert!(reason.contains("exit status: 3"), "{reason}");
        assert!(reason.contains("drop: FAILED: it is empty"), "{reason}");
        let silent = Ended {
            result: String::new(),
            ..ended(0)
        };
        let reason = Figures::of(&silent, 1, &RATES).unwrap_err();
        assert!(reason.contains("no summary"), "{reason}");
    }

    #[test]
    fn without_a_price_nothing_has_a_cost() {
        let free = Rates {
            price_per_machine_hour: None,
            price_per_gb_second: None,
            ..RATES
        };
        let figures = Figures::of(&ended(0), 1, &free).unwrap();
        let costs = [figures.cost_by_machine_hour, figures.cost_by_gb_second];
        assert_eq!(costs, [None, None]);
    }
}
