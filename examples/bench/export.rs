//! Measures the time and the peak memory of an export.
//!
//! ```text
//! export make OUT 10000000           writes an output with ten million objects and twenty drops that correct or withdraw 1%
//! export make OUT 10000000 strings   writes the same output with string ids
//! export make OUT 10000000 quantiles writes the same output with 23 quantiles for each object
//! export run OUT TO 512MB            exports the output and prints JSON
//! export run OUT TO 512MB PREFIX     also writes the quantiles as an ensemble of qp
//! ```
//! These are two commands so that writing the output does not affect the measured memory.
#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and its arguments"
)]
use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result, bail};
use arrow::{
    array::{
        ArrayRef, FixedSizeListBuilder, Float32Array, Float32Builder, Float64Array, Int32Array,
        Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
    },
    datatypes::{Field, Metadata, Schema},
};
use connectors::{
    Ledger, Location, Output,
    ledger::{Entry, EntryKind, RowCounts},
    part::{
        DELETED, Folder, INTERVAL_BOUNDS, PartLabel, Piece, QUANTILE_LEVELS, Z_QUANTILES, finish,
        part_of,
    },
};
use hubbleflow::{
    export::{ExportSettings, export},
    units::HumanBytes,
};
use tokio::runtime::Runtime;

/// Approximate upper bound on the rows of a part.
const PART_ROWS: u64 = 1_000_000;
/// Number of drops of corrections.
const CORRECTIONS: i64 = 20;
/// A drop of corrections has one object of this many.
const CORRECTED_OF: i64 = 100;
/// One object of this many has a spec-z.
const WITH_SPECTRA_OF: i64 = 100;
/// Levels of the quantiles of an object.
const LEVELS: usize = 23;
/// A drop of corrections withdraws one of this many objects of the drop.
const WITHDRAWN_OF: i64 = 50;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = Runtime::new()?;
    match words.as_slice() {
        ["make", out, objects, rest @ ..] => {
            let objects = objects.parse().context("OBJECTS must be a number")?;
            let has = |what| rest.contains(&what);
            let kind = Kind {
                strings: has("strings"),
                quantiles: has("quantiles"),
            };
            runtime.block_on(make(out, objects, kind))
        }
        ["run", out, to, memory, qp @ ..] => {
            let memory: HumanBytes = memory.parse().map_err(anyhow::Error::msg)?;
            let began = Instant::now();
            let settings = ExportSettings {
                out,
                to,
                as_of: None,
                qp: qp.first().copied(),
                memory_bytes: memory.0,
            };
            let exported = runtime.block_on(export(&settings, &Vec::new()))?;
            let peak_bytes = peak()?;
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "{}",
                serde_json::json!({"exported": exported, "seconds": seconds, "peak_bytes": peak_bytes})
            );
            Ok(())
        }
        _ => bail!(
            "usage: export make OUT OBJECTS [strings] [quantiles], or export run OUT TO MEMORY [PREFIX]"
        ),
    }
}

/// The peak memory of this process, in bytes.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib
        .context("/proc/self/status has no VmHWM")?
        .parse::<u64>()?
        * 1024)
}

/// What the rows have.
#[derive(Clone, Copy)]
struct Kind {
    /// Their ids are strings.
    strings: bool,
    quantiles: bool,
}

async fn make(out: &str, objects: i64, kind: Kind) -> Result<()> {
    let location = Location::open(out, &[])?;
    let mut ledger = Ledger::open(&location).await?;
    let output = Output::new(location);
    commit(
        &output,
        &mut ledger,
        "0000-all",
        (0..objects).collect(),
        kind,
    )
    .await?;
    for number in 1..=CORRECTIONS {
        let first = number * 37 % CORRECTED_OF;
        let ids = (first..objects).step_by(CORRECTED_OF as usize).collect();
        let name = format!("{number:04}-corrections");
        commit(&output, &mut ledger, &name, ids, kind).await?;
    }
    Ok(())
}

/// Commits a drop of predictions in the format of a run.
async fn commit(
    output: &Output,
    ledger: &mut Ledger,
    drop: &str,
    ids: Vec<i64>,
    kind: Kind,
) -> Result<()> {
    let all = ids.len() as u64;
    let parts = all.div_ceil(PART_ROWS) as u32;
    let objects = object_ids(&ids, kind.strings);
    let mut by_part = vec![Vec::new(); parts as usize];
    for (row, &id) in ids.iter().enumerate() {
        by_part[part_of(&objects, row, parts) as usize].push(id);
    }
    let is_first = drop.starts_with("0000");
    let mut files = Vec::new();
    for (part, ids) in (0..).zip(by_part) {
        let piece = Piece {
            part,
            folder: Folder::Photoz,
            object: format!("{drop}.parquet"),
            object_index: 0,
            rows: rows(&ids, kind, is_first)?,
        };
        let label = PartLabel {
            drop: drop.to_owned(),
            part,
            model_id: "0123456789abcdef".repeat(4),
            reference_band: Some("r".to_owned()),
        };
        for file in finish(vec![piece], Vec::new(), u64::MAX, &label)?.files {
            output.stage(drop, &file.record.path, file.bytes).await?;
            files.push(file.record);
        }
    }
    let entry = Entry {
        kind: EntryKind::Drop,
        drop: drop.to_owned(),
        files,
        rows: RowCounts {
            read: all,
            written: all,
            ..RowCounts::default()
        },
        ..Entry::abandoned(drop, "bench")
    };
    let began = ledger.next();
    output.commit(ledger, entry, began).await?;
    Ok(())
}

fn object_ids(ids: &[i64], strings: bool) -> ArrayRef {
    if strings {
        let names = ids.iter().map(|id| format!("SDSS J{:012}", id * 7919));
        return Arc::new(StringArray::from_iter_values(names));
    }
    Arc::new(Int64Array::from_iter_values(ids.iter().map(|id| id * 7919)))
}

/// The rows of a piece in the schema of the part writer.
fn rows(ids: &[i64], kind: Kind, is_first: bool) -> Result<RecordBatch> {
    let random = |id: i64, which: u64| {
        let mut bits = (id as u64).wrapping_add(which << 40);
        for _ in 0..3 {
            bits = (bits ^ bits >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        }
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    };
    let withdrawn = |id: i64| !is_first && id / CORRECTED_OF % WITHDRAWN_OF == 0;
    let known = |id: i64, value: f64| (!withdrawn(id)).then_some(value);
    let doubles = |of: &dyn Fn(i64) -> f64| -> ArrayRef {
        let values = ids.iter().map(|&id| known(id, of(id)));
        Arc::new(values.collect::<Float64Array>())
    };
    let floats = |of: &dyn Fn(i64) -> f64| -> ArrayRef {
        let values = ids.iter().map(|&id| Some(known(id, of(id))? as f32));
        Arc::new(values.collect::<Float32Array>())
    };
    let spectra = ids.iter().map(|&id| {
        let is_known = id % WITH_SPECTRA_OF == 0;
        Some(known(id, 0.4 * random(id, 4)).filter(|_| is_known)? as f32)
    });
    let spectra = Arc::new(spectra.collect::<Float32Array>());
    let flags = ids
        .iter()
        .map(|&id| if withdrawn(id) { DELETED } else { 0 });
    let columns: [(&str, ArrayRef, bool); 9] = [
        ("object_id", object_ids(ids, kind.strings), false),
        ("ra", doubles(&|id| 360.0 * random(id, 1)), true),
        ("dec", doubles(&|id| 180.0 * random(id, 2) - 90.0), true),
        ("z_phot", floats(&|id| 0.4 * random(id, 3)), true),
        ("z_spec", spectra, true),
        ("__mag", floats(&|id| 13.0 + 6.0 * random(id, 5)), true),
        (
            "z_flags",
            Arc::new(Int32Array::from_iter_values(flags)),
            false,
        ),
        (
            "__row_group",
            Arc::new(UInt32Array::from(vec![0; ids.len()])),
            false,
        ),
        (
            "__row",
            Arc::new(UInt64Array::from_iter_values(0..ids.len() as u64)),
            false,
        ),
    ];
    let mut columns = columns.to_vec();
    let z_phot = |id| 0.4 * random(id, 3);
    if kind.quantiles {
        let of_ids = quantiles(ids.iter().map(|&id| known(id, z_phot(id))));
        columns.push((Z_QUANTILES, of_ids, true));
    }
    let widths = [-0.016, 0.016, -0.022, 0.022];
    for ((name, _level), width) in INTERVAL_BOUNDS.into_iter().zip(widths) {
        let bound: ArrayRef = match kind.quantiles {
            true => floats(&|id| z_phot(id) + width),
            // A model that gives one number gives no interval.
            false => Arc::new(Float32Array::new_null(ids.len())),
        };
        columns.push((name, bound, true));
    }
    with_levels(&RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The same rows; the field of quantiles says their levels.
fn with_levels(rows: &RecordBatch) -> Result<RecordBatch> {
    let levels = (1..=LEVELS).map(|level| level as f64 / (LEVELS + 1) as f64);
    let levels = serde_json::to_string(&levels.collect::<Vec<_>>())?;
    let described = |field: &Arc<Field>| match field.name() == Z_QUANTILES {
        true => {
            let levels = Metadata::from_iter([(QUANTILE_LEVELS, levels.as_str())]);
            Arc::new(field.as_ref().clone().with_metadata(levels))
        }
        false => field.clone(),
    };
    let schema = rows.schema();
    let fields: Vec<_> = schema.fields().iter().map(described).collect();
    Ok(rows.clone().with_schema(Arc::new(Schema::new(fields)))?)
}

/// Quantiles around a redshift; null where it is not known.
fn quantiles(redshifts: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    let mut lists = FixedSizeListBuilder::new(Float32Builder::new(), LEVELS as i32);
    for z in redshifts {
        for level in 1..=LEVELS {
            let width = 0.002 * (level as f64 - 12.0);
            lists
                .values()
                .append_value((z.unwrap_or(0.0) + width) as f32);
        }
        lists.append(z.is_some());
    }
    Arc::new(lists.finish())
}
