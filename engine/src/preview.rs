//! `hubbleflow plan`: what a run would do.
use std::{collections::BTreeMap, fmt};

use connectors::{
    DropPlan, Error as ConnectorError, Ledger,
    checkpoint::Adopted,
    galaxy::{FileKind, IdKind},
};
use serde::Serialize;

use crate::{
    Error,
    changed::Changed,
    plan::Plan,
    todo::{Pending, Todo},
    units::HumanBytes,
};

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
    /// What its rows are for; `None` if it cannot be read.
    pub kind: Option<FileKind>,
    /// Its objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that would be taken.
    pub rows: u64,
    /// Of them, rows that are in checkpoints of earlier tries. A run with the same settings adopts them.
    pub rows_stored: u64,
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
    fn of(plan: DropPlan, rows_stored: u64, bytes: u64, replaces: Option<u64>) -> Self {
        Self {
            kind: plan.failure.is_none().then_some(plan.kind),
            drop: plan.name,
            objects: plan.inputs.len(),
            bytes,
            rows: plan.rows,
            rows_stored,
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
        let (mut drops, mut left, mut first) = (Vec::new(), self.limit_rows, First::default());
        let Todo {
            pending,
            changed,
            warnings,
        } = self.todo(&ledger, self.catalog.list_drops().await?)?;
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
            let rows_stored = self.rows_stored(&plan).await?;
            drops.push(DropPreview::of(plan, rows_stored, bytes, replaces));
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

impl Plan {
    /// The rows of a drop that a run may adopt.
    async fn rows_stored(&self, plan: &DropPlan) -> Result<u64, Error> {
        if self.again || plan.rows == 0 {
            return Ok(0);
        }
        let mut checkpoints = self.output.checkpoints(&plan.name).await?;
        checkpoints.retain(|checkpoint| checkpoint.model_id() == self.model_id);
        Ok(Adopted::rows_max(&plan.splits, checkpoints))
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
            "{:>12} {:>8} {:>8} {:>8} {:>6}  {:8}  drop",
            "rows", "bytes", "objects", "splits", "parts", "kind"
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
            let bytes = HumanBytes(*bytes).to_string();
            let kind = match preview.kind {
                Some(FileKind::Galaxies) => "galaxies",
                Some(FileKind::SpecZ) => "spec-z",
                None => "-",
            };
            write!(
                f,
                "{rows:>12} {bytes:>8} {objects:>8} {splits:>8} {parts:>6}  {kind:8}  {drop}"
            )?;
            match (&preview.failure, preview.replaces) {
                (Some(failure), _) => writeln!(f, ": CANNOT BE READ: {failure}")?,
                (None, Some(sequence)) => writeln!(f, " (again: supersedes {sequence})")?,
                (None, None) if preview.rows_stored > 0 => {
                    writeln!(f, " ({} rows are in checkpoints)", preview.rows_stored)?;
                }
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
