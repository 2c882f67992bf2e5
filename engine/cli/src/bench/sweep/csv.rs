//! A line for each run, as CSV by RFC 4180. Lines are written as runs end, so a sweep that is ended early leaves its runs.
use std::{fs::File, io::Write, path::Path};

use super::{
    figures::Figures,
    points::{DataSize, Point},
    results::Run,
};
use crate::Error;

/// The columns: settings, figures, and why a run failed.
const COLUMNS: [&str; 20] = [
    "size_bytes",
    "split_bytes",
    "batch",
    "processes",
    "repeat",
    "rows_read",
    "galaxies",
    "wall_seconds",
    "galaxies_per_second",
    "bits_per_second",
    "cpu_seconds",
    "peak_rss_bytes",
    "model_busy_seconds",
    "model_threads",
    "model_idle_share",
    "cost_by_machine_hour",
    "cost_by_gb_second",
    "device",
    "precision",
    "error",
];

/// A file of runs.
pub(super) struct Csv {
    file: File,
    name: String,
}

impl Csv {
    /// Makes the file, or empties it, and writes the names of the columns.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::create(path).map_err(|source| Error::io(name.clone(), source))?;
        let mut csv = Self { file, name };
        csv.write(&COLUMNS.map(str::to_owned))?;
        Ok(csv)
    }

    /// Writes a run. `repeat` counts from 1.
    pub fn add(&mut self, point: &Point, repeat: u32, run: &Run) -> Result<(), Error> {
        self.write(&cells(point, repeat, run))
    }

    fn write(&mut self, cells: &[String]) -> Result<(), Error> {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        let written = writeln!(self.file, "{}", cells.join(","));
        written.map_err(|source| Error::io(self.name.clone(), source))
    }
}

fn cells(point: &Point, repeat: u32, run: &Run) -> [String; 20] {
    let size = match point.size {
        DataSize::All => String::new(),
        DataSize::Bytes(bytes) => bytes.to_string(),
    };
    let settings = [
        size,
        point.split_bytes.to_string(),
        point.batch.to_string(),
        point.processes.to_string(),
        repeat.to_string(),
    ];
    let (figures, error) = match run {
        Run::Done(figures) => (figure_cells(figures), String::new()),
        Run::Failed { error } => (Default::default(), error.clone()),
    };
    let mut all = settings.into_iter().chain(figures).chain([error]);
    std::array::from_fn(|_| all.next().unwrap_or_default())
}

fn figure_cells(of: &Figures) -> [String; 14] {
    let money = |cost: Option<f64>| cost.map_or_else(String::new, |cost| cost.to_string());
    let peak = of.peak_rss_bytes;
    [
        of.rows_read.to_string(),
        of.galaxies.to_string(),
        of.wall_seconds.to_string(),
        of.galaxies_per_second.to_string(),
        of.bits_per_second.to_string(),
        of.cpu_seconds.to_string(),
        peak.map_or_else(String::new, |bytes| bytes.to_string()),
        of.model_busy_seconds.to_string(),
        of.model_threads.to_string(),
        of.model_idle_share.to_string(),
        money(of.cost_by_machine_hour),
        money(of.cost_by_gb_second),
        of.device.clone(),
        of.precision.clone(),
    ]
}

/// A cell, in quotes if a reader would take it apart.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_of_several_lines_is_one_cell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.csv");
        let point = Point {
            size: DataSize::Bytes(7),
            split_bytes: 25_000_000,
            batch: 64,
            processes: 2,
        };
        let error = "ended with 3:\n\"drop\" failed, twice".to_owned();
        let mut csv = Csv::create(&path).unwrap();
        csv.add(&point, 2, &Run::Failed { error }).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let (head, row) = text.split_once('\n').unwrap();
        assert_eq!(head, COLUMNS.join(","));
        let expected =
            "7,25000000,64,2,2,,,,,,,,,,,,,,,\"ended with 3:\n\"\"drop\"\" failed, twice\"\n";
        assert_eq!(row, expected);
    }
}
