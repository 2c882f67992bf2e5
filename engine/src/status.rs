//! `hubbleflow status`: what an output holds, by its ledger.
use std::fmt;

use connectors::{Ledger, Location, ledger::Kind, ledger::Rows};
use serde::Serialize;

use crate::{Error, job::StoreOptions};

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
    pub rows: Rows,
    /// Drops of the catalog that are not committed; none where the catalog cannot be listed.
    pub pending: Option<Vec<String>>,
}

/// A committed drop, by its newest entry.
#[derive(Debug, Serialize)]
pub struct DropStatus {
    /// Its name.
    pub drop: String,
    /// The number of its entry.
    pub sequence: u64,
    /// Its rows by door.
    pub rows: Rows,
    /// Its files.
    pub files: usize,
    /// The model's whole id.
    pub model_id: String,
}

/// Reads the ledger of an output, up to the newest entry of a drop where `as_of` names one.
///
/// # Errors
/// The store's, or [`Error::Output`] where there is no ledger or no such drop in it.
pub async fn status(
    out: &str,
    as_of: Option<&str>,
    options: &StoreOptions,
) -> Result<Status, Error> {
    let output = Location::open(out, options)?;
    let ledger = Ledger::open(&output).await?;
    let entries = ledger.entries();
    if entries.is_empty() {
        return Err(Error::Output(format!(
            "{out} has no ledger: nothing is committed there; check the URL"
        )));
    }
    let last = match as_of {
        None => entries.len(),
        Some(drop) => match ledger.newest(drop) {
            Some(entry) => entry.sequence as usize,
            None => return Err(Error::Output(format!("{out} holds no drop {drop}"))),
        },
    };
    let entries = &entries[..last];
    let is_newest = |sequence: u64, drop: &str| {
        !entries.iter().any(|later| {
            later.kind == Kind::Drop && later.drop == drop && later.sequence > sequence
        })
    };
    let mut rows = Rows::default();
    let mut drops = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Drop) {
        if is_newest(entry.sequence, &entry.drop) {
            rows += entry.rows;
            drops.push(DropStatus {
                drop: entry.drop.clone(),
                sequence: entry.sequence,
                rows: entry.rows,
                files: entry.files.len(),
                model_id: entry.model_id.clone(),
            });
        }
    }
    let pending = pending(&ledger, options).await;
    Ok(Status {
        output: out.to_owned(),
        sequence: last as u64,
        drops,
        rows,
        pending,
    })
}

/// The drops of the catalog of the newest entry that the ledger does not have.
async fn pending(ledger: &Ledger, options: &StoreOptions) -> Option<Vec<String>> {
    let entry = ledger
        .entries()
        .iter()
        .rev()
        .find(|entry| entry.kind == Kind::Drop)?;
    let catalog = Location::open(entry.settings.get("catalog")?.as_str()?, options).ok()?;
    let drop_by = serde_json::from_value(entry.settings.get("drop_by")?.clone()).ok()?;
    let drops = connectors::catalog::drops(&catalog, drop_by).await.ok()?;
    Some(
        drops
            .into_iter()
            .map(|drop| drop.name)
            .filter(|name| ledger.newest(name).is_none())
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
            let Rows {
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
        let Rows {
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
        match self.pending.as_deref() {
            None => write!(f, "\npending: the catalog cannot be listed"),
            Some([]) => write!(f, "\npending: none"),
            Some(names) => write!(f, "\npending: {}", names.join(", ")),
        }
    }
}
