//! What is to be done: the drops of the catalog that the ledger does not have, in order, handed to the dataflow.
use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use connectors::{
    DropListing, DropPlan, Error as ConnectorError, Ledger,
    ledger::{Entry, Kind},
};
use operators::{Outcome, Progress, Settled, feed::Feeder};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc::UnboundedReceiver};

use crate::{Error, job::Plan, settings::Bytes};

/// Drops whose rows are on their way at once: the next is planned and read while the last is written.
const DROPS_AT_ONCE: usize = 4;

/// A drop and what the ledger says of it.
pub struct Pending {
    /// The drop.
    pub listing: DropListing,
    /// The bytes of its objects.
    pub bytes: u64,
    /// Its entry, where it is committed and taken in again.
    pub replaces: Option<u64>,
}

impl Plan {
    /// The drops to take, in order: those that are not committed, or all that were asked for, with `--again`.
    ///
    /// # Errors
    /// [`Error::Usage`] where a drop that was asked for is not there, or the store's.
    pub async fn pending(&self, ledger: &Ledger) -> Result<Vec<Pending>, Error> {
        let listings = self.catalog.drops().await?;
        let names: HashSet<&str> = listings
            .iter()
            .map(|listing| listing.name.as_str())
            .collect();
        if let Some(missing) = self
            .drops
            .iter()
            .find(|drop| !names.contains(drop.as_str()))
        {
            let there = listings
                .iter()
                .map(|listing| listing.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            let catalog = &self.catalog.location().url;
            return Err(Error::Usage(format!(
                "{catalog} has no drop {missing}; it has: {there}"
            )));
        }
        let wanted =
            |listing: &DropListing| self.drops.is_empty() || self.drops.contains(&listing.name);
        let mut pending = Vec::new();
        for listing in listings.iter().filter(|listing| wanted(listing)) {
            let entry = ledger.newest(&listing.name);
            if entry.is_none_or(|entry| self.again || (is_try(entry) && self.limit.is_none())) {
                let objects = self.catalog.objects(listing).await?;
                if objects.is_empty() {
                    tracing::warn!("{} holds no .parquet object and is no drop", listing.name);
                    continue;
                }
                let bytes = objects.iter().map(|object| object.bytes).sum();
                pending.push(Pending {
                    listing: listing.clone(),
                    bytes,
                    replaces: entry.map(|entry| entry.sequence),
                });
            }
        }
        Ok(pending)
    }

    /// Refuses to mix the predictions of two models, or ids of two types.
    ///
    /// # Errors
    /// [`Error::Output`] naming both models.
    pub fn check_model(&self, ledger: &Ledger) -> Result<(), Error> {
        let predicted = ledger
            .entries()
            .iter()
            .rev()
            .find(|entry| entry.kind == Kind::Drop && entry.rows.written > 0);
        match predicted {
            Some(entry) if entry.model_id != self.model_id && !self.model_change => {
                Err(Error::Output(format!(
                    "{} holds predictions of model {:.12} (drop {}), and this is model {:.12}; choose another --out, or give --model-change to go on with this one",
                    self.output.location().url,
                    entry.model_id,
                    entry.drop,
                    self.model_id
                )))
            }
            _ => Ok(()),
        }
    }

    /// Plans one drop. One that cannot be read is planned as failed.
    async fn plan_drop(&self, ledger: &Ledger, listing: &DropListing, attempt: &str) -> DropPlan {
        let planned = self
            .catalog
            .plan(listing, attempt, ledger.next(), self.split_bytes)
            .await;
        let checked = planned.and_then(|plan| {
            let of_catalog = ledger
                .entries()
                .iter()
                .find_map(|entry| Some((entry.object_id?, &entry.drop)));
            match (plan.id_kind, of_catalog) {
                (Some(here), Some((there, drop))) if here != there => Err(ConnectorError::Mixed {
                    drop: listing.name.clone(),
                    reason: format!(
                        "object_id is {here}, and {there} in drop {drop}; a catalog has one type"
                    ),
                }),
                _ => Ok(plan),
            }
        });
        checked.unwrap_or_else(|error| DropPlan::failed(listing, attempt, error.to_string()))
    }
}

/// Whether an entry is of a first try with `--limit`.
fn is_try(entry: &Entry) -> bool {
    entry
        .settings
        .get("limit")
        .is_some_and(|limit| !limit.is_null())
}

/// Hands drops to the dataflow, a few at a time, until all are settled.
pub struct Planner {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The way into the dataflow.
    pub feeder: Feeder,
    /// What comes out of it.
    pub settled: UnboundedReceiver<Settled>,
    /// How far it is.
    pub progress: Progress,
    /// This run: the first part of its attempts' names.
    pub run: String,
}

impl Planner {
    /// Takes the drops through. Ends when the last is settled, or when the dataflow is gone.
    pub async fn take(mut self, drops: Vec<DropListing>) {
        let mut waiting: VecDeque<DropListing> = drops.into();
        let mut out: Vec<DropListing> = Vec::new();
        let (mut attempts, mut left) = (0_u64, self.plan.limit);
        loop {
            while out.len() < DROPS_AT_ONCE && left != Some(0) {
                let Some(listing) = waiting.pop_front() else {
                    break;
                };
                let attempt = format!("{}-{attempts:06}", self.run);
                attempts += 1;
                let mut plan = {
                    let ledger = self.ledger.lock().await;
                    self.plan.plan_drop(&ledger, &listing, &attempt).await
                };
                if let Some(left) = &mut left {
                    plan.limit(*left);
                    *left -= plan.rows;
                }
                self.progress
                    .plan(plan.rows, plan.inputs.iter().map(|input| input.bytes).sum());
                out.push(listing);
                if !self.feeder.put(plan) {
                    return;
                }
            }
            if out.is_empty() {
                return;
            }
            let Some(settled) = self.settled.recv().await else {
                return;
            };
            let Some(place) = out.iter().position(|listing| listing.name == settled.drop) else {
                continue;
            };
            let listing = out.remove(place);
            if settled.outcome == Outcome::Abandoned {
                waiting.push_front(listing);
            }
        }
    }
}

/// What a run would do.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// The catalog.
    pub catalog: String,
    /// Where the predictions would go.
    pub output: String,
    /// The drops that would be taken, in order.
    pub drops: Vec<DropPreview>,
}

/// A drop that would be taken.
#[derive(Debug, Serialize)]
pub struct DropPreview {
    /// Its name.
    pub drop: String,
    /// Its objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that would be taken.
    pub rows: u64,
    /// Splits they are read in.
    pub splits: usize,
    /// Parts that would be written.
    pub parts: u32,
    /// The entry that would be superseded.
    pub replaces: Option<u64>,
    /// Why it cannot be read.
    pub failure: Option<String>,
}

impl Plan {
    /// Plans the pending drops and writes nothing.
    ///
    /// # Errors
    /// As [`Plan::pending`] and [`Plan::check_model`].
    pub async fn preview(&self) -> Result<Preview, Error> {
        let ledger = Ledger::open(self.output.location()).await?;
        self.check_model(&ledger)?;
        let (mut drops, mut left) = (Vec::new(), self.limit);
        for Pending {
            listing,
            bytes,
            replaces,
        } in self.pending(&ledger).await?
        {
            if left == Some(0) {
                break;
            }
            let mut plan = self.plan_drop(&ledger, &listing, "").await;
            if let Some(left) = &mut left {
                plan.limit(*left);
                *left -= plan.rows;
            }
            let (objects, splits) = (plan.inputs.len(), plan.splits.len());
            let DropPlan {
                name: drop,
                rows,
                parts,
                failure,
                ..
            } = plan;
            drops.push(DropPreview {
                drop,
                objects,
                bytes,
                rows,
                splits,
                parts,
                replaces,
                failure,
            });
        }
        let (catalog, output) = (
            self.catalog.location().url.clone(),
            self.output.location().url.clone(),
        );
        Ok(Preview {
            catalog,
            output,
            drops,
        })
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} -> {}: {} drops to take",
            self.catalog,
            self.output,
            self.drops.len()
        )?;
        writeln!(
            f,
            "{:>12} {:>8} {:>8} {:>8} {:>6}  drop",
            "rows", "bytes", "objects", "splits", "parts"
        )?;
        for preview in &self.drops {
            let DropPreview {
                drop,
                objects,
                bytes,
                rows,
                splits,
                parts,
                ..
            } = preview;
            let bytes = Bytes(*bytes).to_string();
            write!(
                f,
                "{rows:>12} {bytes:>8} {objects:>8} {splits:>8} {parts:>6}  {drop}"
            )?;
            match (&preview.failure, preview.replaces) {
                (Some(failure), _) => writeln!(f, ": CANNOT BE READ: {failure}")?,
                (None, Some(sequence)) => writeln!(f, " (again: supersedes {sequence})")?,
                (None, None) => writeln!(f)?,
            }
        }
        write!(
            f,
            "{:>12} rows in all",
            self.drops.iter().map(|drop| drop.rows).sum::<u64>()
        )
    }
}
