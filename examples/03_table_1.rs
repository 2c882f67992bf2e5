//! Reproduces Table 1 of the AstroMAE paper on your own catalog: all architectures, trained and scored in the same way.
//!
//! ```text
//! cargo run --release --example 03_table_1 -- CATALOG DIR [EPOCHS [SEEDS]]
//! ```
//! `CATALOG` is a catalog with spectra, for example from `hubbleflow sample CATALOG --px 32`. Models and logs are written to
//! `DIR`. If the command is stopped, run it again to continue. The errors of the paper (Dolatpour Fathkouhi & Fox 2024,
//! arXiv:2409.01825) were measured on 659,857 galaxies of the SDSS. They are printed beside the errors on your catalog. The
//! data sets differ, so compare the order of the rows, not the numbers.
//!
//! After the rows of the paper follow a row with magnitudes alone and three rows with a random, frozen encoder. They show the
//! value of cutouts and of pretraining. Rows with a frozen encoder or with magnitudes alone train fast and are trained with
//! `SEEDS` seeds, on one pretrained encoder per preset. Rows that learn from cutouts are trained with one seed.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hubbleflow::train::{
    EncoderStart, FinetuneSettings, HeadChoice, Interval, PretrainSettings, Report, finetune,
    pretrain,
};
use models::Branch::{self, Encoder, Inception, Magnitude};
use serde_json::Value;
use tokio::runtime::Runtime;

/// Rows of a training step. The number is small because your catalog has fewer rows than the SDSS.
const BATCH: i64 = 64;

/// The initial weights of the encoder of a row, and whether they are trained.
#[derive(Clone, Copy, PartialEq)]
enum EncoderSetup {
    /// Random weights, trained.
    Scratch,
    /// Pretrained weights, frozen.
    FineTuned,
    /// Random weights, frozen.
    Random,
}

impl EncoderSetup {
    fn name(self) -> &'static str {
        match self {
            EncoderSetup::Scratch => "scratch",
            EncoderSetup::FineTuned => "fine-tuned",
            EncoderSetup::Random => "random, frozen",
        }
    }
}

/// A row of the table: name, preset, branches that feed the head, and the mean squared error in the paper.
type PaperRow = (&'static str, &'static str, &'static [Branch], Option<f64>);

const FROM_SCRATCH: [PaperRow; 6] = [
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

const FINE_TUNED: [PaperRow; 8] = [
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

const NO_CUTOUTS: [PaperRow; 1] = [("magnitude-only", "astromae", &[Magnitude], None)];

const RANDOM: [PaperRow; 3] = [
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
    let table = TrainedTable {
        runtime: Runtime::new()?,
        catalog,
        dir,
        epochs,
    };
    println!("| encoder | architecture | MSE, each seed | MAE | the paper's MSE, on the SDSS |");
    println!("|---|---|---|---|---|");
    let rows = (FROM_SCRATCH.iter().map(|row| (EncoderSetup::Scratch, row)))
        .chain(FINE_TUNED.iter().map(|row| (EncoderSetup::FineTuned, row)))
        .chain(NO_CUTOUTS.iter().map(|row| (EncoderSetup::Scratch, row)))
        .chain(RANDOM.iter().map(|row| (EncoderSetup::Random, row)));
    for (start, row) in rows {
        let encodes = start == EncoderSetup::Scratch && row.2.contains(&Encoder);
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

struct TrainedTable {
    runtime: Runtime,
    catalog: String,
    dir: PathBuf,
    epochs: u64,
}

impl TrainedTable {
    /// Trains a row unless it is trained already. Returns the mean squared and the mean absolute error on the test rows.
    fn row(&self, start: EncoderSetup, row: &PaperRow, seed: u64) -> Result<(f64, f64)> {
        let (name, preset, branches, _) = row;
        let out = format!("{}-{name}-{seed}", start.name()).replace([' ', '.', ','], "-");
        let out = self.dir.join(out);
        let mut args = FinetuneSettings::new(&self.catalog, &out);
        args.train.preset = (*preset).to_owned();
        args.train.learn_preprocess = true;
        args.train.batch = BATCH;
        args.train.seed = seed;
        args.branches = branches.to_vec();
        args.epochs = self.epochs;
        // A tenth of a small catalog, as in the paper, is too few test rows to tell architectures apart.
        (args.training, args.validation, args.test) =
            (part(0.45, 0.75)?, part(0.75, 0.8)?, part(0.8, 1.0)?);
        // The paper's networks give one redshift.
        args.head = Some(HeadChoice::Point);
        args.encoder = Some(match start {
            EncoderSetup::Scratch => EncoderStart::Scratch,
            EncoderSetup::FineTuned | EncoderSetup::Random => EncoderStart::Frozen,
        });
        if start == EncoderSetup::FineTuned {
            args.pretrained = Some(self.encoder(preset)?);
        }
        let scores = match report(&out)? {
            Some(report) => report["test"].clone(),
            None => {
                let Report { test, .. } = self.runtime.block_on(finetune(&args, &[], &()))?;
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
        let mut args = PretrainSettings::new(&self.catalog, &out);
        args.train.preset = preset.to_owned();
        args.train.learn_preprocess = true;
        args.train.batch = BATCH;
        args.epochs = self.epochs;
        (args.training, args.validation) = (part(0.0, 0.4)?, part(0.4, 0.45)?);
        if report(&out)?.is_none() {
            self.runtime.block_on(pretrain(&args, &[], &()))?;
        }
        Ok(out)
    }
}

fn part(from: f64, to: f64) -> Result<Interval> {
    format!("{from}:{to}").parse().map_err(anyhow::Error::msg)
}

/// The report of a training that has ended.
fn report(out: &Path) -> Result<Option<Value>> {
    let Ok(log) = std::fs::read_to_string(out.join("log.jsonl")) else {
        return Ok(None);
    };
    let last: Value = serde_json::from_str(log.lines().last().unwrap_or("null"))?;
    Ok(last.get("report").cloned())
}
