//! Measures the metrics: the restart on a committed output, the memory, and the update after a small drop.
//!
//! ```text
//! metrics make OUT 1000000      writes an output with a drop of a million predictions, each with a spec-z
//! metrics make OUT 1000000 23   the same, each with quantiles at 23 levels
//! metrics run OUT               restarts on the output, adds drops of 1,000 corrections, and prints JSON
//! ```
//! These are two commands so that writing the output does not affect the measured memory.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and its arguments"
)]
use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, RecordBatch},
    datatypes::{DataType, Field},
};
use connectors::{
    Ledger, Location, Output,
    ledger::{Entry, EntryKind, FileRecord, FlagCounts, LEVELS, RowCounts},
    part::Z_QUANTILES,
};
use operators::{Outcome, Publish, Published, Score, Scorer, Settled, Tally, score::newest};
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use timely::dataflow::operators::{Capture, Input, capture::Event};
use tokio::{runtime::Runtime, sync::Mutex};

/// Corrections per drop.
const CORRECTIONS: i64 = 1_000;
/// Number of drops of corrections that are timed.
const DROPS: usize = 21;
/// HEALPix cells of order 5 that the survey covers: 14,000 square degrees.
const TILES: u64 = 4_170;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", out, objects] => make(out, objects, "0"),
        ["make", out, objects, levels] => make(out, objects, levels),
        ["run", out] => run(BenchOutput::open(out)?),
        _ => bail!("usage: metrics make OUT OBJECTS [LEVELS], or metrics run OUT"),
    }
}

fn make(out: &str, objects: &str, levels: &str) -> Result<()> {
    let objects: i64 = objects.parse().context("OBJECTS must be a number")?;
    let levels: usize = levels.parse().context("LEVELS must be a number")?;
    let place = BenchOutput::open(out)?;
    let levels = (1..=levels).map(|place| place as f64 / (levels + 1) as f64);
    let ids: Vec<i64> = (0..objects).collect();
    place.commit("0000-all", &ids, &levels.collect::<Vec<_>>())?;
    Ok(())
}

/// An output and its ledger.
struct BenchOutput {
    runtime: Runtime,
    output: Output,
    ledger: Arc<Mutex<Ledger>>,
}

impl BenchOutput {
    fn open(out: &str) -> Result<Self> {
        let (runtime, location) = (Runtime::new()?, Location::open(out, &[])?);
        let ledger = runtime.block_on(Ledger::open(&location))?;
        Ok(Self {
            runtime,
            output: Output::new(location),
            ledger: Arc::new(Mutex::new(ledger)),
        })
    }

    /// Commits a drop of predictions with quantiles at these levels. The values depend on the name of the drop.
    fn commit(&self, drop: &str, ids: &[i64], levels: &[f64]) -> Result<u64> {
        let seed = drop.bytes().map(u64::from).sum();
        let bytes = parquet(ids, seed, levels)?;
        let path = format!("photoz/{drop}/part-0000-00000000.parquet");
        let files = vec![FileRecord {
            path: path.clone(),
            rows: ids.len() as u64,
            bytes: bytes.len() as u64,
            sha256: String::new(),
        }];
        let rows = ids.len() as u64;
        let entry = Entry {
            kind: EntryKind::Drop,
            drop: drop.to_owned(),
            files,
            rows: RowCounts {
                read: rows,
                written: rows,
                ..RowCounts::default()
            },
            settings: serde_json::json!({LEVELS: levels}),
            ..Entry::abandoned(drop, "bench")
        };
        self.runtime.block_on(async {
            self.output.stage(drop, &path, bytes).await?;
            let mut ledger = self.ledger.lock().await;
            let began = ledger.next();
            self.output.commit(&mut ledger, entry, began).await?;
            newest(&ledger).context("the drop is not in the ledger")
        })
    }
}

/// A pseudorandom number in [0, 1).
fn random(id: i64, seed: u64, which: u64) -> f64 {
    let mut bits = (id as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(seed.wrapping_mul(0xD134_2543_DE82_EF95))
        .wrapping_add(which.wrapping_mul(0xA076_1D64_78BD_642F));
    for _ in 0..3 {
        bits ^= bits >> 29;
        bits = bits.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    }
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// Predictions in the format of a run, with an error of about 0.01, over the whole sky and twelve half magnitudes.
fn parquet(ids: &[i64], seed: u64, levels: &[f64]) -> Result<Vec<u8>> {
    let floats = |of: &dyn Fn(i64) -> f64| -> ArrayRef {
        Arc::new(Float32Array::from_iter_values(
            ids.iter().map(|&id| of(id) as f32),
        ))
    };
    let z_spec = |id| 0.02 + 0.4 * random(id, 0, 1);
    let error = |id| {
        (1..=4)
            .map(|which| random(id, seed, 10 + which))
            .sum::<f64>()
            - 2.0
    };
    let cell = |id: i64| ((random(id, 0, 2) * TILES as f64) as i64) << 48 | (id & 0xffff);
    let cells = Int64Array::from_iter_values(ids.iter().map(|&id| cell(id)));
    let z_phot = |id| z_spec(id) + 0.017 * error(id);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("object_id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("_healpix_29", Arc::new(cells)),
        ("z_phot", floats(&z_phot)),
        ("z_spec", floats(&z_spec)),
        ("mag_r", floats(&|id| 13.0 + 6.0 * random(id, 0, 3))),
        ("z_flags", Arc::new(Int32Array::from(vec![0; ids.len()]))),
    ];
    if !levels.is_empty() {
        let of = |&id: &i64| {
            let levels = levels.iter();
            levels.map(move |level| (z_phot(id) + 0.03 * (level - 0.5)) as f32)
        };
        let values: ArrayRef = Arc::new(Float32Array::from_iter_values(ids.iter().flat_map(of)));
        let item = Arc::new(Field::new_list_field(DataType::Float32, false));
        let lists = FixedSizeListArray::try_new(item, levels.len() as i32, values, None)?;
        columns.push((Z_QUANTILES, Arc::new(lists)));
    }
    let rows = RecordBatch::try_from_iter(columns)?;
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(131_072));
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(groups.build()))?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}

/// The resident memory of this process, in bytes.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib
        .context("/proc/self/status has no VmRSS")?
        .parse::<u64>()?
        * 1024)
}

/// Waits for the next metrics and returns their number of objects.
fn next(
    worker: &mut timely::worker::Worker,
    events: &Receiver<Event<u64, Vec<Published>>>,
) -> Result<i64> {
    loop {
        worker.step_or_park(Some(Duration::from_millis(1)));
        for event in events.try_iter() {
            if let Event::Messages(_, published) = event {
                let published = published.first().context("the message has no metrics")?;
                let all = published.all.as_ref();
                return Ok(all.map_err(|reason| anyhow::anyhow!("{reason}"))?.n);
            }
        }
    }
}

fn run(place: BenchOutput) -> Result<()> {
    timely::execute_directly(move |worker| {
        let ledger = place.runtime.block_on(place.ledger.lock()).clone();
        let levels = ledger.entries().last().map(Entry::levels);
        let (first, levels) = (newest(&ledger), levels.unwrap_or_default());
        let scorer = Scorer {
            output: place.output.clone(),
            ledger: place.ledger.clone(),
            first: first.into_iter().collect(),
            runtime: place.runtime.handle().clone(),
        };
        let (before, began) = (resident()?, Instant::now());
        let (mut input, events) = worker.dataflow(|scope| {
            let (input, settled) = scope.new_input::<Vec<Settled>>();
            let metrics = settled.score(&scorer).publish(&scorer);
            (input, metrics.capture())
        });
        let objects = next(worker, &events)?;
        let restart = began.elapsed();
        let held = resident()?.saturating_sub(before);

        let mut millis = BTreeSet::new();
        for drop in 0..DROPS {
            let name = format!("{:04}-corrections", drop + 1);
            let ids: BTreeSet<i64> = (0..CORRECTIONS)
                .map(|at| (random(at, drop as u64, 7) * objects as f64) as i64)
                .collect();
            let ids: Vec<i64> = ids.into_iter().collect();
            let sequence = place.commit(&name, &ids, &levels)?;
            let committed = Instant::now();
            let (rows, tally) = (RowCounts::default(), Tally::default());
            input.send(Settled {
                drop: name,
                outcome: Outcome::Committed(sequence),
                rows,
                flags: FlagCounts::default(),
                files: 1,
                tally,
            });
            input.advance_to(drop as u64 + 1);
            next(worker, &events)?;
            millis.insert(committed.elapsed().as_micros());
        }
        let millis: Vec<f64> = millis
            .into_iter()
            .map(|micros| micros as f64 / 1e3)
            .collect();
        let median = millis[millis.len() / 2];
        let slowest = millis[millis.len() - 1];
        let held_then = resident()?.saturating_sub(before);
        let a_object = |bytes: u64| bytes as f64 / objects as f64;
        println!(
            "{}",
            serde_json::json!({
                "objects": objects,
                "restart_seconds": restart.as_secs_f64(),
                "bytes_an_object": a_object(held),
                "bytes_an_object_after_corrections": a_object(held_then),
                "corrections": CORRECTIONS,
                "milliseconds_median": median,
                "milliseconds_max": slowest,
            })
        );
        Ok(())
    })
}
