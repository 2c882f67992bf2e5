//! The same work some times over, after a warm-up.
use std::time::Duration;

use hubbleflow::{clock::clock, units::HumanBytes};
use serde::Serialize;

use super::{machine::Machine, table::table, usage::usage};
use crate::Error;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// Galaxies that went through.
    pub galaxies: u64,
    /// Their bytes, as stored or as sent.
    pub bytes: u64,
}

/// What work takes, whole process and all threads.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// What was done, and by how many.
    pub what: String,
    /// Rounds that were timed.
    pub rounds: usize,
    /// Galaxies of each.
    pub galaxies_per_round: u64,
    /// By the clock, in the median round.
    pub galaxies_per_second: f64,
    /// By the clock, in the median round.
    pub bytes_per_second: f64,
    /// The slowest round less the fastest, by the median one.
    pub spread: f64,
    /// Of all threads, in the timed rounds.
    pub cpu_seconds: f64,
    /// That the timed rounds took.
    pub wall_seconds: f64,
    /// The most memory that the process held.
    pub peak_rss_bytes: u64,
    /// What it was timed on.
    pub machine: Machine,
}

impl Timing {
    /// Times `round`, after one that does not count.
    pub(super) fn of(
        what: String,
        rounds: usize,
        mut round: impl FnMut() -> Result<Work, Error>,
    ) -> Result<Self, Error> {
        let mut work = round()?;
        let (cpu, mut walls) = (usage().cpu, Vec::with_capacity(rounds));
        for _ in 0..rounds {
            let began = clock();
            work = round()?;
            walls.push(clock() - began);
        }
        let cpu = usage().cpu - cpu;
        walls.sort();
        let median = walls[walls.len() / 2].as_secs_f64();
        let spread = (walls[walls.len() - 1] - walls[0]).as_secs_f64();
        Ok(Self {
            what,
            rounds,
            galaxies_per_round: work.galaxies,
            galaxies_per_second: work.galaxies as f64 / median,
            bytes_per_second: work.bytes as f64 / median,
            spread: spread / median,
            cpu_seconds: cpu.as_secs_f64(),
            wall_seconds: walls.iter().sum::<Duration>().as_secs_f64(),
            peak_rss_bytes: usage().peak_rss_bytes,
            machine: Machine::here(),
        })
    }
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rounds = format!(
            "{} of {} galaxies, spread {:.1}%",
            self.rounds,
            self.galaxies_per_round,
            100.0 * self.spread
        );
        let rows = [
            ("machine", self.machine.to_string()),
            ("what", self.what.clone()),
            ("rounds", rounds),
            (
                "galaxies a second",
                format!("{:.0}", self.galaxies_per_second),
            ),
            (
                "bytes a second",
                HumanBytes(self.bytes_per_second as u64).to_string(),
            ),
            ("wall time", format!("{:.2} s", self.wall_seconds)),
            ("CPU time", format!("{:.2} s", self.cpu_seconds)),
            ("peak memory", HumanBytes(self.peak_rss_bytes).to_string()),
        ];
        table(f, &rows)
    }
}
