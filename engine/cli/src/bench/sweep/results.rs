//! What all points of a sweep took, as JSON and as a table.
use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    figures::{Figures, Rates},
    points::{Point, short_bytes},
    spread::Spread,
};
use crate::bench::machine::Machine;

/// A figure by its name, and how it is read.
type Measured = (&'static str, fn(&Figures) -> Option<f64>);

/// The figures whose spread is shown.
const MEASURED: [Measured; 8] = [
    ("wall_seconds", |of| Some(of.wall_seconds)),
    ("galaxies_per_second", |of| Some(of.galaxies_per_second)),
    ("bits_per_second", |of| Some(of.bits_per_second)),
    ("cpu_seconds", |of| Some(of.cpu_seconds)),
    ("peak_rss_bytes", |of| of.peak_rss_bytes.map(|it| it as f64)),
    ("model_idle_share", |of| Some(of.model_idle_share)),
    ("cost_by_machine_hour", |of| of.cost_by_machine_hour),
    ("cost_by_gb_second", |of| of.cost_by_gb_second),
];

/// What all points took.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The catalog.
    pub catalog: String,
    /// The model's directory.
    pub model: String,
    /// What the runs ran on.
    pub machine: Machine,
    /// How figures are made.
    #[serde(flatten)]
    pub rates: Rates,
    /// How often each point is run.
    pub repeats: u32,
    /// The point around which one factor at a time is varied.
    pub base: Point,
    /// What each point took, in the order of the first runs.
    pub points: Vec<PointResult>,
}

/// What the runs of a point took.
#[derive(Clone, Debug, Serialize)]
pub struct PointResult {
    /// The settings.
    #[serde(flatten)]
    pub point: Point,
    /// The runs, in order.
    pub runs: Vec<Run>,
    /// Of each figure the median and the ends; figures that no run has are left out.
    pub spread: BTreeMap<&'static str, Spread>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Run {
    /// It went through.
    Done(Figures),
    /// It did not, for this reason.
    Failed {
        /// Why.
        error: String,
    },
}

impl PointResult {
    /// A point that is not run yet.
    pub(super) fn new(point: Point) -> Self {
        Self {
            point,
            runs: Vec::new(),
            spread: BTreeMap::new(),
        }
    }

    /// Adds a run.
    pub(super) fn add(&mut self, run: Run) {
        self.runs.push(run);
        let measured = MEASURED.into_iter().filter_map(|(name, of)| {
            let spread = Spread::of(self.figures().filter_map(of))?;
            Some((name, spread))
        });
        self.spread = measured.collect();
    }

    /// The figures of the runs that went through.
    pub(super) fn figures(&self) -> impl Iterator<Item = &Figures> {
        self.runs.iter().filter_map(|run| match run {
            Run::Done(figures) => Some(figures),
            Run::Failed { .. } => None,
        })
    }

    /// The spread of a figure, by its name.
    pub(super) fn of(&self, name: &str) -> Option<Spread> {
        self.spread.get(name).copied()
    }

    /// How many runs failed, in words; nothing if none did.
    pub(super) fn failures(&self) -> String {
        match self.runs.len() - self.figures().count() {
            0 => String::new(),
            failed => format!("{failed} of {} failed", self.runs.len()),
        }
    }
}

impl Sweep {
    /// 0 if every run went through, 3 if some did, and 1 if none did.
    pub(super) fn exit_code(&self) -> u8 {
        let done = |point: &PointResult| point.figures().count();
        let runs: usize = self.points.iter().map(|point| point.runs.len()).sum();
        let done: usize = self.points.iter().map(done).sum();
        match done {
            done if done == runs => 0,
            0 => 1,
            _ => 3,
        }
    }

    /// What the runs have in common: where the model ran, and in which arithmetic.
    pub(super) fn device(&self) -> String {
        let first = self.points.iter().find_map(|point| point.figures().next());
        first.map_or_else(String::new, |of| format!("{} {}", of.device, of.precision))
    }
}

/// The names of the columns of a table of points; costs only where there is a price.
pub(super) fn columns(rates: &Rates) -> Vec<&'static str> {
    let mut columns = vec![
        "size",
        "split",
        "batch",
        "processes",
        "galaxies",
        "wall s",
        "min–max",
        "galaxies/s",
        "Mbit/s",
        "CPU s",
        "peak MB",
        "idle %",
    ];
    let machine = rates.price_per_machine_hour.map(|_| "$ (machine)");
    columns.extend(machine);
    columns.extend(rates.price_per_gb_second.map(|_| "$ (GB s)"));
    columns.push("");
    columns
}

/// The cells of a point in such a table, medians except where said.
pub(super) fn cells(of: &PointResult, rates: &Rates) -> Vec<String> {
    let number = |name: &str, scale: f64, decimals: usize| {
        let median = of.of(name).map(|spread| spread.median * scale);
        median.map_or_else(|| "–".to_owned(), |it| format!("{it:.decimals$}"))
    };
    let ends = of.of("wall_seconds");
    let ends = ends.map(|Spread { min, max, .. }| format!("{min:.2}–{max:.2}"));
    let galaxies = of.figures().next().map(|figures| figures.galaxies);
    let dash = || "–".to_owned();
    let point = &of.point;
    let mut cells = vec![
        point.size.to_string(),
        short_bytes(point.split_bytes),
        point.batch.to_string(),
        point.processes.to_string(),
        galaxies.map_or_else(dash, |it| it.to_string()),
        number("wall_seconds", 1.0, 2),
        ends.unwrap_or_else(dash),
        number("galaxies_per_second", 1.0, 0),
        number("bits_per_second", 1e-6, 1),
        number("cpu_seconds", 1.0, 1),
        number("peak_rss_bytes", 1e-6, 0),
        number("model_idle_share", 100.0, 0),
    ];
    let machine = rates.price_per_machine_hour;
    cells.extend(machine.map(|_| number("cost_by_machine_hour", 1.0, 6)));
    let memory = rates.price_per_gb_second;
    cells.extend(memory.map(|_| number("cost_by_gb_second", 1.0, 6)));
    cells.push(of.failures());
    cells
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}; {}", self.machine, self.device())?;
        writeln!(
            f,
            "medians of {} runs, each in a process of its own; a galaxy is {} bytes to the model; idle: of the model's threads",
            self.repeats, self.rates.bytes_per_galaxy
        )?;
        let head = columns(&self.rates).into_iter().map(str::to_owned);
        let points = self.points.iter();
        let points = points.map(|point| cells(point, &self.rates));
        let rows: Vec<Vec<String>> = std::iter::once(head.collect()).chain(points).collect();
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, &width)| format!("{cell:>width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sweep::points::DataSize;

    fn point(runs: &[bool]) -> PointResult {
        let mut result = PointResult::new(Point {
            size: DataSize::All,
            split_bytes: 25_000_000,
            batch: 128,
            processes: 1,
        });
        for (place, is_done) in runs.iter().enumerate() {
            result.add(match is_done {
                true => Run::Done(figures(10.0 + place as f64)),
                false => Run::Failed {
                    error: "no disk".to_owned(),
                },
            });
        }
        result
    }

    fn figures(wall_seconds: f64) -> Figures {
        Figures {
            rows_read: 1000,
            galaxies: 1000,
            wall_seconds,
            galaxies_per_second: 1000.0 / wall_seconds,
            bits_per_second: 1e6,
            cpu_seconds: 15.0,
            peak_rss_bytes: None,
            model_busy_seconds: 15.0,
            model_threads: 2,
            model_idle_share: 0.25,
            cost_by_machine_hour: None,
            cost_by_gb_second: None,
            device: "cpu".to_owned(),
            precision: "fp32".to_owned(),
        }
    }

    fn sweep(points: &[&[bool]]) -> Sweep {
        let points: Vec<_> = points.iter().map(|runs| point(runs)).collect();
        Sweep {
            catalog: "sky".to_owned(),
            model: "bundled".to_owned(),
            machine: Machine::here(),
            rates: Rates {
                bytes_per_galaxy: 20_500,
                price_per_machine_hour: None,
                price_per_gb_second: None,
            },
            repeats: 2,
            base: points[0].point,
            points,
        }
    }

    #[test]
    fn the_exit_code_says_whether_all_runs_went_through() {
        for (points, code) in [
            (&[&[true, true][..], &[true, true]][..], 0),
            (&[&[true, false], &[true, true]], 3),
            (&[&[false, false], &[true, true]], 3),
            (&[&[false, false], &[false]], 1),
        ] {
            assert_eq!(sweep(points).exit_code(), code, "{points:?}");
        }
    }

    #[test]
    fn a_table_shows_medians_and_failures() {
        let text = sweep(&[&[true, true, true], &[false, true]]).to_string();
        let lines: Vec<&str> = text.lines().collect();
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        assert_eq!(
            words(3),
            [
                "all",
                "25",
                "MB",
                "128",
                "1",
                "1000",
                "11.00",
                "10.00–12.00",
                "91",
                "1.0",
                "15.0",
                "–",
                "25"
            ]
        );
        assert!(lines[4].ends_with("1 of 2 failed"), "{}", lines[4]);
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn the_spread_leaves_out_what_failed_and_what_is_not_known() {
        let point = point(&[true, false, true]);
        let wall = point.of("wall_seconds");
        let expected = Spread {
            median: 11.0,
            min: 10.0,
            max: 12.0,
        };
        assert_eq!(wall, Some(expected));
        assert_eq!(point.of("peak_rss_bytes"), None);
    }
}
