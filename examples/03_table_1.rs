//! Table 1 of the AstroMAE paper, on a catalog of one's own: every architecture, trained alike, scored alike.
//!
//! ```text
//! cargo run --release --example 03_table_1 -- CATALOG DIR [EPOCHS [SEEDS]]
//! ```
//! `CATALOG` is any catalog with spectra, as `hubbleflow sample CATALOG --px 32` makes one; models and logs go to `DIR`,
//! and a table that was stopped goes on. The paper's errors (Dolatpour Fathkouhi & Fox 2024, arXiv:2409.01825) are those on
//! 659,857 galaxies of the SDSS; they are printed beside those of your rows, which are another data set. What can be
//! compared is the order of the rows, not their numbers.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use engine::train::{
    EncoderStart, FinetuneArgs, Interval, PretrainArgs, Report, finetune, pretrain,
};
use models::Branch::{self, Encoder, Inception, Magnitude};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A row of the table: what feeds the head, with which encoder, and the paper's mean squared error.
type Row = (&'static str, &'static str, &'static [Branch], f64);

const FROM_SCRATCH: [Row; 6] = [
    (
        "plain-ViT-magnitude",
        "astromae-plain",
        &[Encoder, Magnitude],
        0.00077,
    ),
    (
        "pcm-ViT-magnitude",
        "astromae",
        &[Encoder, Magnitude],
        0.00057,
    ),
    (
        "Henghes et al. 2022",
        "astromae",
        &[Inception, Magnitude],
        0.00058,
    ),
    ("plain-ViT", "astromae-plain", &[Encoder], 0.00097),
    ("pcm-ViT", "astromae", &[Encoder], 0.00063),
    ("Inception-only", "astromae", &[Inception], 0.00064),
];

const FINE_TUNED: [Row; 8] = [
    (
        "plain-ViT-magnitude",
        "astromae-plain",
        &[Encoder, Magnitude],
        0.00068,
    ),
    (
        "pcm-ViT-magnitude",
        "astromae",
        &[Encoder, Magnitude],
        0.00060,
    ),
    (
        "plain-AstroMAE",
        "astromae-plain",
        &[Encoder, Inception, Magnitude],
        0.00056,
    ),
    (
        "pcm-AstroMAE",
        "astromae",
        &[Encoder, Inception, Magnitude],
        0.00053,
    ),
    ("plain-ViT", "astromae-plain", &[Encoder], 0.00086),
    ("pcm-ViT", "astromae", &[Encoder], 0.00084),
    (
        "plain-ViT-inception",
        "astromae-plain",
        &[Encoder, Inception],
        0.00059,
    ),
    (
        "pcm-ViT-inception",
        "astromae",
        &[Encoder, Inception],
        0.00059,
    ),
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
    let seeds = next().map_or(Ok(1), |text| text.parse())?;
    let table = Table {
        runtime: Runtime::new()?,
        catalog,
        dir,
        epochs,
    };
    println!(
        "| from | architecture | seed | MSE | MAE | the paper's MSE, on the SDSS |\n|---|---|---|---|---|---|"
    );
    for seed in 0..seeds {
        for (row, pretrained) in FROM_SCRATCH
            .iter()
            .map(|row| (row, false))
            .chain(FINE_TUNED.iter().map(|row| (row, true)))
        {
            let (name, _, _, paper) = row;
            let (mse, mae) = table.row(row, pretrained, seed)?;
            let from = if pretrained { "fine-tuned" } else { "scratch" };
            println!("| {from} | {name} | {seed} | {mse:.6} | {mae:.5} | {paper:.5} |");
        }
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
    fn row(&self, row: &Row, pretrained: bool, seed: u64) -> Result<(f64, f64)> {
        let (name, preset, branches, _) = row;
        let from = if pretrained { "tuned" } else { "scratch" };
        let out = self
            .dir
            .join(format!("{from}-{}-{seed}", name.replace([' ', '.'], "-")));
        let mut args = FinetuneArgs::new(&self.catalog, &out.display().to_string());
        args.train.preset = (*preset).to_owned();
        args.train.learn_preprocess = true;
        args.train.seed = seed;
        args.branches = branches.to_vec();
        args.epochs = self.epochs;
        // Half of the objects pretrain; the paper's tenth of a small catalog would be too few to tell rows apart.
        (args.training, args.validation, args.test) =
            (part(0.5, 0.85)?, part(0.85, 0.9)?, part(0.9, 1.0)?);
        if pretrained {
            args.pretrained = Some(self.encoder(preset, seed)?);
            args.encoder = Some(EncoderStart::Frozen);
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
    fn encoder(&self, preset: &str, seed: u64) -> Result<PathBuf> {
        let out = self.dir.join(format!("pretrained-{preset}-{seed}"));
        let mut args = PretrainArgs::new(&self.catalog, &out.display().to_string());
        args.train.preset = preset.to_owned();
        args.train.learn_preprocess = true;
        args.train.seed = seed;
        args.epochs = self.epochs;
        (args.training, args.validation) = (part(0.0, 0.45)?, part(0.45, 0.5)?);
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
