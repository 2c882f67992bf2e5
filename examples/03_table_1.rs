//! Table 1 of the AstroMAE paper, on a catalog of one's own: every architecture, trained alike, scored alike.
//!
//! ```text
//! cargo run --release --example 03_table_1 -- CATALOG DIR [EPOCHS [SEEDS]]
//! ```
//! `CATALOG` is any catalog with spectra, as `hubbleflow sample CATALOG --px 32` makes one; models and logs go to `DIR`,
//! and a table that was stopped goes on. The paper's errors (Dolatpour Fathkouhi & Fox 2024, arXiv:2409.01825) are those on
//! 659,857 galaxies of the SDSS; they are printed beside those of your rows, which are another data set. What can be
//! compared is the order of the rows, not their numbers.
//!
//! Below the paper's rows stand the magnitudes alone, and three rows whose encoder is random and stays so: what cutouts and
//! pretraining are worth. Rows that learn on top of a frozen encoder or of the magnitudes alone take no time, and are
//! trained with `SEEDS` seeds, on one pretrained encoder of each kind; rows in which cutouts are learned, with one.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use engine::train::{
    EncoderStart, FinetuneArgs, Interval, PretrainArgs, Report, finetune, pretrain,
};
use models::Branch::{self, Encoder, Inception, Magnitude};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Rows of a step: few, since a catalog of one's own has fewer rows than the SDSS.
const BATCH: i64 = 64;

/// What the encoder of a row begins with.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// Random weights, which learn.
    Scratch,
    /// A pretrained encoder, which stays as it is.
    FineTuned,
    /// Random weights, which stay as they are.
    Random,
}

impl Start {
    fn name(self) -> &'static str {
        match self {
            Start::Scratch => "scratch",
            Start::FineTuned => "fine-tuned",
            Start::Random => "random, frozen",
        }
    }
}

/// A row of the table: its name, its preset, what feeds the head, and the paper's mean squared error.
type Row = (&'static str, &'static str, &'static [Branch], Option<f64>);

const FROM_SCRATCH: [Row; 6] = [
    (
        "plain-ViT-magnitude",
        "astromae-plain",
        &[Encoder, Magnitude],
        Some(0.00077),
    ),
    (
        "pcm-ViT-magnitude",
        "astromae",
        &[Encoder, Magnitude],
        Some(0.00057),
    ),
    (
        "Henghes et al. 2022",
        "astromae",
        &[Inception, Magnitude],
        Some(0.00058),
    ),
    ("plain-ViT", "astromae-plain", &[Encoder], Some(0.00097)),
    ("pcm-ViT", "astromae", &[Encoder], Some(0.00063)),
    ("Inception-only", "astromae", &[Inception], Some(0.00064)),
];

const FINE_TUNED: [Row; 8] = [
    (
        "plain-ViT-magnitude",
        "astromae-plain",
        &[Encoder, Magnitude],
        Some(0.00068),
    ),
    (
        "pcm-ViT-magnitude",
        "astromae",
        &[Encoder, Magnitude],
        Some(0.00060),
    ),
    (
        "plain-AstroMAE",
        "astromae-plain",
        &[Encoder, Inception, Magnitude],
        Some(0.00056),
    ),
    (
        "pcm-AstroMAE",
        "astromae",
        &[Encoder, Inception, Magnitude],
        Some(0.00053),
    ),
    ("plain-ViT", "astromae-plain", &[Encoder], Some(0.00086)),
    ("pcm-ViT", "astromae", &[Encoder], Some(0.00084)),
    (
        "plain-ViT-inception",
        "astromae-plain",
        &[Encoder, Inception],
        Some(0.00059),
    ),
    (
        "pcm-ViT-inception",
        "astromae",
        &[Encoder, Inception],
        Some(0.00059),
    ),
];

const NO_CUTOUTS: [Row; 1] = [("magnitude-only", "astromae", &[Magnitude], None)];

const RANDOM: [Row; 3] = [
    ("pcm-ViT-magnitude", "astromae", &[Encoder, Magnitude], None),
    (
        "pcm-AstroMAE",
        "astromae",
        &[Encoder, Inception, Magnitude],
        None,
    ),
    ("pcm-ViT", "astromae", &[Encoder], None),
];

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = || args.next();
    let usage = "give a catalog and a folder: 03_table_1 CATALOG DIR [EPOCHS [SEEDS]]";
    let (catalog, dir) = (
        next().context(usage)?,
        PathBuf::from(next().context(usage)?),
    );
    let epochs = next().map_or(Ok(20), |text| text.parse())?;
    let seeds: u64 = next().map_or(Ok(1), |text| text.parse())?;
    let table = Table {
        runtime: Runtime::new()?,
        catalog,
        dir,
        epochs,
    };
    println!("| encoder | architecture | MSE, each seed | MAE | the paper's MSE, on the SDSS |");
    println!("|---|---|---|---|---|");
    let rows = (FROM_SCRATCH.iter().map(|row| (Start::Scratch, row)))
        .chain(FINE_TUNED.iter().map(|row| (Start::FineTuned, row)))
        .chain(NO_CUTOUTS.iter().map(|row| (Start::Scratch, row)))
        .chain(RANDOM.iter().map(|row| (Start::Random, row)));
    for (start, row) in rows {
        let encodes = start == Start::Scratch && row.2.contains(&Encoder);
        let is_slow = encodes || row.2.contains(&Inception);
        let seeds = 0..if is_slow { 1 } else { seeds };
        let scores = seeds.map(|seed| table.row(start, row, seed));
        let scores: Vec<(f64, f64)> = scores.collect::<Result<_>>()?;
        let mse: Vec<String> = scores.iter().map(|(mse, _)| format!("{mse:.6}")).collect();
        let mae = scores.iter().map(|(_, mae)| mae).sum::<f64>() / scores.len() as f64;
        let paper = row.3.map_or(String::new(), |mse| format!("{mse:.5}"));
        let (start, name, mse) = (start.name(), row.0, mse.join(" "));
        println!("| {start} | {name} | {mse} | {mae:.5} | {paper} |");
    }
    Ok(())
}

struct Table {
    runtime: Runtime,
    catalog: String,
    dir: PathBuf,
    epochs: u64,
}

impl Table {
    /// Trains a row, unless an earlier table has: its mean squared and mean absolute error on the test rows.
    fn row(&self, start: Start, row: &Row, seed: u64) -> Result<(f64, f64)> {
        let (name, preset, branches, _) = row;
        let out = format!("{}-{name}-{seed}", start.name()).replace([' ', '.', ','], "-");
        let out = self.dir.join(out);
        let mut args = FinetuneArgs::new(&self.catalog, &out.display().to_string());
        args.train.preset = (*preset).to_owned();
        args.train.learn_preprocess = true;
        args.train.batch = BATCH;
        args.train.seed = seed;
        args.branches = branches.to_vec();
        args.epochs = self.epochs;
        // The paper's tenth of a small catalog would be too few rows to tell architectures apart.
        (args.training, args.validation, args.test) =
            (part(0.45, 0.75)?, part(0.75, 0.8)?, part(0.8, 1.0)?);
        args.encoder = Some(match start {
            Start::Scratch => EncoderStart::Scratch,
            Start::FineTuned | Start::Random => EncoderStart::Frozen,
        });
        if start == Start::FineTuned {
            args.pretrained = Some(self.encoder(preset)?);
        }
        let scores = match report(&out)? {
            Some(report) => report["test"].clone(),
            None => {
                let Report { test, .. } = self.runtime.block_on(finetune(&args, &[]))?;
                serde_json::to_value(test)?
            }
        };
        let number = |name: &str| {
            scores[name]
                .as_f64()
                .context("the test rows have no scores")
        };
        Ok((number("mse")?, number("mae")?))
    }

    /// The pretrained encoder of a preset.
    fn encoder(&self, preset: &str) -> Result<PathBuf> {
        let out = self.dir.join(format!("pretrained-{preset}"));
        let mut args = PretrainArgs::new(&self.catalog, &out.display().to_string());
        args.train.preset = preset.to_owned();
        args.train.learn_preprocess = true;
        args.train.batch = BATCH;
        args.epochs = self.epochs;
        (args.training, args.validation) = (part(0.0, 0.4)?, part(0.4, 0.45)?);
        if report(&out)?.is_none() {
            self.runtime.block_on(pretrain(&args, &[]))?;
        }
        Ok(out)
    }
}

fn part(from: f64, to: f64) -> Result<Interval> {
    format!("{from}:{to}").parse().map_err(anyhow::Error::msg)
}

/// The report of a training that is over.
fn report(out: &Path) -> Result<Option<Value>> {
    let Ok(log) = std::fs::read_to_string(out.join("log.jsonl")) else {
        return Ok(None);
    };
    let last: Value = serde_json::from_str(log.lines().last().unwrap_or("null"))?;
    Ok(last.get("report").cloned())
}
