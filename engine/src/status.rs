//! `hubbleflow status`: what an output holds, by its ledger, and how good it is, by its metrics.
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use connectors::{
    Ledger, Location, Missing, Output, checkpoint,
    committed::{replaced_since, standing},
    ledger::{Entry, EntryKind, FlagCounts, RowCounts},
};
use operators::{
    Metrics,
    metrics::{Calibration, Numbers, Shift},
    publish,
    score::score_up_to,
};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{Error, OutputError, StoreOptions};

/// What an output holds.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The output.
    pub output: String,
    /// The newest number of the ledger.
    pub sequence: u64,
    /// The drops in the order of their newest entries.
    pub drops: Vec<DropStatus>,
    /// Rows of these drops by door.
    pub rows: RowCounts,
    /// Their written rows by flag, without the drops of engines that did not count them.
    pub flags: FlagCounts,
    /// What is wrong with the files of drops, and what to do.
    pub warnings: Vec<String>,
    /// Drops of the catalog that the next run takes; `None` if the catalog cannot be listed. A drop that was committed with a
    /// limit is taken again.
    pub pending: Option<Vec<String>>,
    /// Rows of drops in checkpoints: the next run with the same settings adopts them.
    pub rows_stored: BTreeMap<String, u64>,
    /// The metrics of what is committed.
    pub metrics: Option<Metrics>,
    /// Why the metrics are not known.
    pub metrics_unknown: Option<String>,
}

/// A committed drop, by its newest entry.
#[derive(Debug, Serialize)]
pub struct DropStatus {
    /// Its name.
    pub drop: String,
    /// The number of its entry.
    pub sequence: u64,
    /// Its rows by door.
    pub rows: RowCounts,
    /// Its written rows by flag. `None` if its engine did not count them.
    pub flags: Option<FlagCounts>,
    /// Its files.
    pub files: usize,
    /// Those that are gone: neither staged nor published. `None` if they cannot be listed, or a later entry has replaced this one.
    pub missing_files: Option<usize>,
    /// The model's whole id.
    pub model_id: String,
}

/// Reads the ledger of an output, up to the newest entry of the drop `as_of` if it is given.
///
/// # Errors
/// The store's; [`Error::Output`] if there is no ledger, or no such drop in the ledger.
pub async fn status(
    out: &str,
    as_of: Option<&str>,
    options: &StoreOptions,
) -> Result<Status, Error> {
    let output = Location::open(out, options)?;
    let ledger = Ledger::open(&output).await?;
    let entries = ledger.entries();
    let output = Output::new(output);
    let rows_stored = rows_stored(&output).await?;
    let sequence = match (as_of, entries.is_empty() && !rows_stored.is_empty()) {
        (None, true) => 0,
        _ => sequence_of(&ledger, out, as_of)?,
    };
    let (missing, warnings) = match output.missing(&ledger).await {
        Ok(missing) => {
            let warnings = missing.iter().map(Missing::to_string).collect();
            let counts = missing
                .into_iter()
                .map(|missing| (missing.drop, missing.files));
            (Some(counts.collect::<HashMap<_, _>>()), warnings)
        }
        Err(error) => (
            None,
            vec![format!("whether files are missing is not known: {error}")],
        ),
    };
    let (mut rows, mut flags, mut drops) =
        (RowCounts::default(), FlagCounts::default(), Vec::new());
    for entry in standing(entries, sequence).into_values() {
        rows += entry.rows;
        flags += entry.flags.clone().unwrap_or_default();
        let newest = ledger.newest(&entry.drop);
        let is_newest = newest.is_some_and(|newest| newest.sequence == entry.sequence);
        let missing = missing.as_ref().filter(|_| is_newest);
        drops.push(DropStatus {
            drop: entry.drop.clone(),
            sequence: entry.sequence,
            rows: entry.rows,
            flags: entry.flags.clone(),
            files: entry.files.len(),
            missing_files: missing.map(|missing| missing.get(&entry.drop).copied().unwrap_or(0)),
            model_id: entry.model_id.clone(),
        });
    }
    drops.sort_by_key(|drop| drop.sequence);
    let pending = pending(&ledger, options).await;
    let (metrics, metrics_unknown) = match metrics(&output, &ledger, sequence).await {
        Ok(metrics) => (metrics, None),
        Err(reason) => (None, Some(reason)),
    };
    Ok(Status {
        output: out.to_owned(),
        sequence,
        drops,
        rows,
        flags,
        warnings,
        pending,
        rows_stored,
        metrics,
        metrics_unknown,
    })
}

/// The rows of each drop in checkpoints.
async fn rows_stored(output: &Output) -> Result<BTreeMap<String, u64>, Error> {
    let mut all = BTreeMap::new();
    for drop in output.list_checkpoints().await?.drops(output) {
        let checkpoints = output.checkpoints(&drop).await?;
        all.insert(drop, checkpoint::rows_stored(checkpoints));
    }
    all.retain(|_, rows| *rows > 0);
    Ok(all)
}

/// The number of the newest entry of `as_of`, or of the newest at all.
///
/// # Errors
/// [`Error::Output`] if no drop is committed, [`Error::NoDrop`] if the ledger has no such drop.
pub fn sequence_of(ledger: &Ledger, out: &str, as_of: Option<&str>) -> Result<u64, Error> {
    let newest = ledger
        .entries()
        .last()
        .ok_or_else(|| OutputError::NoLedger {
            out: out.to_owned(),
        })?;
    let Some(drop) = as_of else {
        return Ok(newest.sequence);
    };
    let entry = ledger.newest(drop);
    entry
        .map(|entry| entry.sequence)
        .ok_or_else(|| Error::NoDrop {
            place: out.to_owned(),
            drop: drop.to_owned(),
            known: Vec::new(),
        })
}

/// The metrics of everything that was committed up to an entry, put together from the files, or made again if a file is
/// missing. `None` if no drop was committed.
///
/// # Errors
/// Why they are not known, for people.
pub async fn metrics(
    output: &Output,
    ledger: &Ledger,
    sequence: u64,
) -> Result<Option<Metrics>, String> {
    let entries = ledger.entries().iter().take(sequence as usize).rev();
    let Some(entry) = entries
        .into_iter()
        .find(|entry| entry.kind == EntryKind::Drop)
    else {
        return Ok(None);
    };
    let sequence = entry.sequence;
    let written = publish::read_whole(output, ledger, sequence).await;
    if let Some(metrics) = written.map_err(|error| error.to_string())? {
        return Ok(Some(metrics));
    }
    let replaced = replaced_since(ledger, sequence);
    let replaced = replaced.map(|(entry, by)| (entry.sequence, by.sequence));
    let (output, ledger, runtime) = (output.clone(), ledger.clone(), Handle::current());
    let made = move || score_up_to(&output, ledger, sequence, &runtime);
    let made = tokio::task::spawn_blocking(made).await;
    let made = made.expect("scoring does not panic: what cannot be read is an error");
    made.map(Some).map_err(|reason| match replaced {
        Some((entry, by)) => format!(
            "they were not written, and cannot be made again, since entry {entry} was replaced by {by}: {reason}"
        ),
        None => reason,
    })
}

/// The drops of the catalog of the newest entry that the ledger does not have, or has of a try alone.
async fn pending(ledger: &Ledger, options: &StoreOptions) -> Option<Vec<String>> {
    let entry = ledger
        .entries()
        .iter()
        .rev()
        .find(|entry| entry.kind == EntryKind::Drop)?;
    let catalog = Location::open(entry.settings.get("catalog")?.as_str()?, options).ok()?;
    let drop_by = serde_json::from_value(entry.settings.get("drop_by")?.clone()).ok()?;
    let drops = connectors::catalog::drops(&catalog, drop_by).await.ok()?;
    Some(
        drops
            .into_iter()
            .map(|drop| drop.name)
            .filter(|name| ledger.newest(name).is_none_or(Entry::is_try))
            .collect(),
    )
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} drops, ledger at {}",
            self.output,
            self.drops.len(),
            self.sequence
        )?;
        writeln!(
            f,
            "{:>8}  {:>10} {:>10} {:>10} {:>10}  {:12}  drop",
            "sequence", "read", "written", "learned", "rejected", "model"
        )?;
        for DropStatus {
            drop,
            sequence,
            rows,
            model_id,
            ..
        } in &self.drops
        {
            let RowCounts {
                read,
                written,
                learned,
                rejected,
            } = rows;
            writeln!(
                f,
                "{sequence:>8}  {read:>10} {written:>10} {learned:>10} {rejected:>10}  {model_id:.12}  {drop}"
            )?;
        }
        let RowCounts {
            read,
            written,
            learned,
            rejected,
        } = self.rows;
        write!(
            f,
            "{:>8}  {read:>10} {written:>10} {learned:>10} {rejected:>10}",
            "all"
        )?;
        if !self.flags.is_empty() {
            write!(f, "\nflagged: {}", self.flags)?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        match self.pending.as_deref() {
            _ if self.sequence == 0 => write!(f, "\npending: not known until a drop is committed"),
            None => write!(f, "\npending: the catalog cannot be listed"),
            Some([]) => write!(f, "\npending: none"),
            Some(names) => write!(f, "\npending: {}", names.join(", ")),
        }?;
        for (drop, rows) in &self.rows_stored {
            write!(f, "\n{drop}: {rows} rows are in checkpoints")?;
        }
        match (&self.metrics, &self.metrics_unknown) {
            (Some(metrics), _) => write!(
                f,
                "\nmetrics up to {}: {} objects with a spec-z\n{}",
                metrics.sequence,
                metrics.objects,
                list(&metrics.all) + &calibration(&metrics.calibration)
            ),
            (None, Some(reason)) => write!(f, "\nmetrics: not known: {reason}"),
            (None, None) => Ok(()),
        }
    }
}

/// The numbers, a line each, by their names in the metrics file.
fn list(numbers: &Numbers) -> String {
    let numbers = serde_json::to_value(numbers).expect("numbers are plain data");
    // Whole numbers as they are, the rest to a digit or two beyond what surveys quote.
    let value = |value: &serde_json::Value| match value.as_f64() {
        Some(number) if !value.is_i64() => format!("{number:.6}"),
        _ => value.to_string(),
    };
    let names = [
        "n",
        "bias",
        "bias_median",
        "sigma_nmad",
        "sigma_iqr",
        "outlier_fraction_0.05",
        "outlier_fraction_0.15",
        "mse",
        "mae",
        "r2",
    ];
    // Not every model has these.
    let more = [
        "coverage_68",
        "coverage_95",
        "crps",
        "calibrated_coverage_68",
        "calibrated_coverage_95",
    ];
    let more = more.into_iter().filter(|name| !numbers[name].is_null());
    let names = names.into_iter().chain(more);
    let lines = names.map(|name| format!("{name:>24}  {}", value(&numbers[name])));
    lines.collect::<Vec<_>>().join("\n")
}

/// The shifts that calibrate the intervals of all objects, a line each, if there are objects.
fn calibration(calibration: &Calibration) -> String {
    let Shift {
        n,
        shift_68,
        shift_95,
    } = calibration.all;
    let shifts = [("shift_68", shift_68), ("shift_95", shift_95)];
    let lines = shifts.map(|(name, shift)| {
        let shift = shift.map_or("null".to_owned(), |shift| format!("{shift:.4}"));
        format!("\n{name:>24}  {shift}")
    });
    match n {
        0 => String::new(),
        _ => lines.concat(),
    }
}
