//! What is to be done: the drops of the catalog that the ledger does not have, in order, handed to the dataflow.
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use connectors::{
    DropListing, DropPlan, Error as ConnectorError, Ledger, Sighting, Sightings,
    galaxy::{IdKind, KeptTypes},
    ledger::Entry,
    sighting::ignored_line,
};
use operators::{Outcome, Progress, Settled, feed::Feeder};
use serde::Serialize;
use tokio::sync::{
    Mutex,
    mpsc::{Receiver, UnboundedReceiver},
};

use crate::{Error, changed::Changed, job::Plan, settings::Bytes};

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

/// What there is to do.
#[derive(Default)]
pub struct Todo {
    /// The drops to take, in order.
    pub pending: Vec<Pending>,
    /// The drops that are not what was committed any more.
    pub changed: Vec<Changed>,
    /// What else the user should know: an empty catalog, files that are ignored.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Whether a drop is one of those that were asked for.
    pub fn wants(&self, listing: &DropListing) -> bool {
        self.drops.is_empty() || self.drops.contains(&listing.name)
    }

    /// Whether the whole catalog is one drop.
    pub fn is_one_drop(&self) -> bool {
        self.catalog.drop_by() == connectors::DropBy::All
    }

    /// Whether a drop with this newest entry is to be taken: those that are not committed, or all, with `--again`.
    pub fn is_pending(&self, entry: Option<&Entry>) -> bool {
        entry.is_none_or(|entry| self.again || (entry.is_try() && self.limit.is_none()))
    }

    /// What has changed in a drop since it was committed as its newest entry.
    pub fn changed(&self, entry: Option<&Entry>, sighting: &Sighting) -> Option<Changed> {
        Changed::since(entry?, sighting, &self.catalog.location().url)
    }

    /// The drops to take, in order, and those that have changed since they were committed.
    ///
    /// # Errors
    /// [`Error::Usage`] where a drop that was asked for is not among the `sightings`.
    pub fn todo(&self, ledger: &Ledger, sightings: Sightings) -> Result<Todo, Error> {
        self.check_names(&sightings.drops)?;
        let mut todo = Todo {
            warnings: self.warnings(&sightings),
            ..Todo::default()
        };
        for sighting in sightings.drops {
            if !self.wants(&sighting.listing) {
                continue;
            }
            let entry = ledger.newest(&sighting.listing.name);
            if !self.is_pending(entry) {
                todo.changed.extend(self.changed(entry, &sighting));
            } else if !sighting.is_drop() {
                let name = &sighting.listing.name;
                let warning = format!("{name} holds no Parquet object and is no drop");
                todo.warnings.push(warning);
                todo.warnings.extend(sighting.ignored_line());
            } else {
                todo.warnings.extend(sighting.ignored_line());
                todo.pending.push(Pending {
                    bytes: sighting.bytes(),
                    listing: sighting.listing,
                    replaces: entry.map(|entry| entry.sequence),
                });
            }
        }
        Ok(todo)
    }

    /// What is wrong with the catalog as a whole.
    fn warnings(&self, sightings: &Sightings) -> Vec<String> {
        let url = &self.catalog.location().url;
        let pattern = if url.contains(['*', '?', '[']) {
            " (`*`, `?` and `[` stand for themselves: give the prefix, and --drop for some of its drops)"
        } else {
            ""
        };
        let empty = sightings.drops.is_empty().then(|| {
            format!("{url} holds no drop: no folder and no Parquet object; check the URL{pattern}")
        });
        let beside = ignored_line(&sightings.ignored).map(|line| format!("{url}: {line}"));
        empty.into_iter().chain(beside).collect()
    }

    /// Makes sure that the drops that were asked for are there.
    fn check_names(&self, sightings: &[Sighting]) -> Result<(), Error> {
        let there = |drop: &str| {
            sightings
                .iter()
                .any(|sighting| sighting.listing.name == drop)
        };
        let Some(missing) = self.drops.iter().find(|drop| !there(drop)) else {
            return Ok(());
        };
        let names: Vec<&str> = sightings
            .iter()
            .map(|sighting| sighting.listing.name.as_str())
            .collect();
        let (catalog, there) = (&self.catalog.location().url, names.join(", "));
        Err(Error::Usage(format!(
            "{catalog} has no drop {missing}; it has: {there}"
        )))
    }

    /// Refuses to mix the predictions of two models.
    ///
    /// # Errors
    /// [`Error::Output`] naming both models.
    pub fn check_model(&self, ledger: &Ledger) -> Result<(), Error> {
        let predicted = ledger.entries().iter().rev().find(|entry| entry.predicts());
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

    /// Plans one drop, from its footers. One that cannot be read is planned as failed.
    /// `kept` are the types of kept columns that are known.
    async fn plan_drop(
        &self,
        listing: &DropListing,
        attempt: &str,
        began: u64,
        kept: &KeptTypes,
    ) -> DropPlan {
        let planned = async {
            let (split_bytes, batch) = (self.split_bytes, self.batch);
            let catalog = &self.catalog;
            let mut plan = catalog
                .plan(listing, attempt, began, split_bytes, batch)
                .await?;
            let mut untyped = plan.untyped();
            untyped.retain(|column| !kept.contains_key(column));
            if !untyped.is_empty() {
                plan.know(&catalog.kept_types(&listing.name, untyped).await?);
            }
            plan.know(kept);
            Ok::<_, ConnectorError>(plan)
        };
        planned
            .await
            .unwrap_or_else(|error| DropPlan::failed(listing, attempt, began, error.to_string()))
    }

    /// The types of kept columns, for a drop that does not say them: those it is asked to have, else those of other drops.
    fn kept_types(&self, ledger: &Ledger, drop: &str) -> KeptTypes {
        let known = self.keep.iter().filter_map(|column| {
            let (known, _) = ledger.kept_type(drop, column)?;
            Some((column.clone(), known.to_owned()))
        });
        let mut known: KeptTypes = known.collect();
        known.extend(self.kept_types.clone());
        known
    }

    /// Fails a drop whose ids or kept columns are not of the catalog's types, or that comes after another run's predictions with another model.
    fn check(&self, ledger: &Ledger, listing: &DropListing, plan: DropPlan) -> DropPlan {
        if plan.failure.is_some() {
            return plan;
        }
        let ids = ledger.check_ids(&listing.name, plan.id_kind);
        let types = ids.and_then(|()| ledger.check_kept(&listing.name, &plan.keep));
        match types.map_err(Error::from).and(self.check_model(ledger)) {
            Ok(()) => plan,
            Err(error) => DropPlan::failed(listing, &plan.attempt, plan.began, error.to_string()),
        }
    }
}

/// Hands drops to the dataflow, a few at a time, until all are settled.
pub struct Planner {
    /// What is to be done.
    pub plan: Arc<Plan>,
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The drops, from whoever knows which are to be taken.
    pub drops: Receiver<DropListing>,
    /// The way into the dataflow.
    pub feeder: Feeder,
    /// What comes out of it.
    pub settled: UnboundedReceiver<Settled>,
    /// How far it is.
    pub progress: Progress,
    /// This run: the first part of its attempts' names.
    pub run: String,
    /// Attempts so far.
    pub attempts: u64,
}

impl Planner {
    /// Takes the drops through. Ends when there are no more to come and the last is settled, or when the dataflow is gone.
    pub async fn take(mut self) {
        // What is out, and of how many rows.
        let mut out: Vec<(DropListing, u64)> = Vec::new();
        let mut again: VecDeque<DropListing> = VecDeque::new();
        let (mut left, mut more) = (self.plan.limit, true);
        loop {
            let room = out.len() < DROPS_AT_ONCE && left != Some(0);
            let repeated = if room { again.pop_front() } else { None };
            let next = match repeated {
                Some(listing) => Some(listing),
                None => tokio::select! {
                    next = self.drops.recv(), if room && more => {
                        more = next.is_some();
                        next
                    }
                    settled = self.settled.recv(), if !out.is_empty() => {
                        let Some(settled) = settled else { return };
                        let place = out.iter().position(|(listing, _)| listing.name == settled.drop);
                        if let Some((listing, rows)) = place.map(|place| out.remove(place))
                            && settled.outcome == Outcome::Abandoned
                        {
                            // No row of the drop was taken.
                            left = left.map(|left| left + rows);
                            again.push_back(listing);
                        }
                        None
                    }
                    else => return,
                },
            };
            if let Some(listing) = next {
                let plan = self.plan_next(&listing, &mut left).await;
                out.push((listing, plan.rows));
                if !self.feeder.put(plan) {
                    return;
                }
            }
        }
    }

    /// Plans a drop as a new attempt; `left` rows may still be taken.
    async fn plan_next(&mut self, listing: &DropListing, left: &mut Option<u64>) -> DropPlan {
        let attempt = format!("{}-{:06}", self.run, self.attempts);
        self.attempts += 1;
        let (began, overtaken, kept) = {
            let ledger = self.ledger.lock().await;
            let entry = ledger.newest(&listing.name);
            let overtaken = entry.filter(|_| !self.plan.is_pending(entry));
            let kept = self.plan.kept_types(&ledger, &listing.name);
            let overtaken = overtaken.map(|entry| entry.sequence);
            (ledger.next(), overtaken, kept)
        };
        let mut plan = match overtaken {
            // Another run has committed it since it was handed in.
            Some(sequence) => DropPlan::overtaken(listing, &attempt, sequence),
            None => {
                // Its footers may be long in coming: others are committed meanwhile.
                let plan = self.plan.plan_drop(listing, &attempt, began, &kept);
                let plan = plan.await;
                self.plan.check(&*self.ledger.lock().await, listing, plan)
            }
        };
        if let Some(left) = left {
            plan.limit(*left);
            *left -= plan.rows;
        }
        let bytes = plan.inputs.iter().map(|input| input.bytes).sum();
        self.progress.plan(plan.rows, bytes);
        plan
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
    /// The drops that are not what was committed any more.
    pub changed: Vec<Changed>,
    /// What else the user should know: an empty catalog, files that are ignored.
    pub warnings: Vec<String>,
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

impl DropPreview {
    fn of(plan: DropPlan, bytes: u64, replaces: Option<u64>) -> Self {
        Self {
            drop: plan.name,
            objects: plan.inputs.len(),
            bytes,
            rows: plan.rows,
            splits: plan.splits.count(),
            parts: plan.parts,
            replaces,
            failure: plan.failure,
        }
    }
}

/// The types of the first drop that says them, and that drop.
#[derive(Default)]
struct First {
    ids: Option<(IdKind, String)>,
    kept: BTreeMap<String, (String, String)>,
}

impl First {
    /// Makes sure that a drop has the types of those before it.
    fn agree(&mut self, plan: &DropPlan) -> Result<(), ConnectorError> {
        let drop = &plan.name;
        if let Some(here) = plan.id_kind {
            let (there, other) = self.ids.get_or_insert_with(|| (here, drop.clone()));
            if here != *there {
                return Err(ConnectorError::mixed_ids(drop, here, *there, other));
            }
        }
        for (column, here) in plan.keep.iter().filter(|(_, here)| *here != "Null") {
            let first = || (here.clone(), drop.clone());
            let (there, other) = self.kept.entry(column.clone()).or_insert_with(first);
            if here != there {
                let types = [here.as_str(), there.as_str()];
                return Err(ConnectorError::mixed_kept(drop, column, types, other));
            }
        }
        Ok(())
    }
}

impl Plan {
    /// Plans the pending drops and writes nothing.
    ///
    /// # Errors
    /// As [`Plan::todo`] and [`Plan::check_model`], or the store's.
    pub async fn preview(&self) -> Result<Preview, Error> {
        let ledger = Ledger::open(self.output.location()).await?;
        self.check_model(&ledger)?;
        let (mut drops, mut left, mut first) = (Vec::new(), self.limit, First::default());
        let Todo {
            pending,
            changed,
            warnings,
        } = self.todo(&ledger, self.catalog.sightings().await?)?;
        for Pending {
            listing,
            bytes,
            replaces,
        } in pending
        {
            if left == Some(0) {
                break;
            }
            let kept = self.kept_types(&ledger, &listing.name);
            let plan = self.plan_drop(&listing, "", ledger.next(), &kept).await;
            let mut plan = self.check(&ledger, &listing, plan);
            // A run finds this out when it commits the second of them.
            if let Err(mixed) = first.agree(&plan) {
                plan = DropPlan::failed(&listing, "", plan.began, mixed.to_string());
            }
            if let Some(left) = &mut left {
                plan.limit(*left);
                *left -= plan.rows;
            }
            drops.push(DropPreview::of(plan, bytes, replaces));
        }
        let (catalog, output) = (
            self.catalog.location().url.clone(),
            self.output.location().url.clone(),
        );
        Ok(Preview {
            catalog,
            output,
            drops,
            changed,
            warnings,
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
        )?;
        self.warnings
            .iter()
            .try_for_each(|warning| write!(f, "\nwarning: {warning}"))?;
        self.changed
            .iter()
            .try_for_each(|changed| write!(f, "\nwarning: {changed}"))
    }
}
