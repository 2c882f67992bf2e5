//! What happens before any row is read: the output is checked, what earlier runs left is ended, and the work is found.
use std::collections::HashSet;

use connectors::{Ledger, Unpublished};
use operators::{publish, score};

use crate::{
    Error, Observer, Plan, Work,
    todo::{Pending, Todo},
};

/// What is known when a run begins.
pub(super) struct Prepared {
    pub ledger: Ledger,
    pub pending: Vec<Pending>,
    /// The entries that are scored before any drop is settled: those whose metrics are missing, and the newest where there
    /// is a drop to come, whose metrics go on from there.
    pub first: Vec<u64>,
    /// What could not be published of earlier runs' drops.
    pub unpublished: Vec<Unpublished>,
}

impl Prepared {
    /// The work of a run.
    pub fn work(&self) -> Work {
        Work {
            drops: self.pending.len() as u64,
            bytes: self.pending.iter().map(|pending| pending.bytes).sum(),
        }
    }

    /// What is known to those who do not lead.
    pub fn nothing(plan: &Plan) -> Self {
        Self {
            ledger: Ledger::unread(plan.output.location()),
            pending: Vec::new(),
            first: Vec::new(),
            unpublished: Vec::new(),
        }
    }
}

/// Makes sure the output can take the job's results, ends what earlier runs left, and finds what is to be done: by a
/// watch, whatever will come.
pub(super) async fn prepare(
    plan: &Plan,
    observer: &dyn Observer,
    run: &str,
    watches: bool,
) -> Result<Prepared, Error> {
    // Before the catalog: the drop of a checkpoint is there when the checkpoint is.
    let checkpoints = plan.output.list_checkpoints().await;
    // Before anything is written: a mistyped URL should not leave an output behind.
    let listed_drops = plan.catalog.list_drops().await?;
    plan.output.check(run).await?;
    let mut ledger = Ledger::open(plan.output.location()).await?;
    plan.check_model(&ledger)?;
    let unpublished = plan
        .output
        .recover(&mut ledger, env!("CARGO_PKG_VERSION"))
        .await?;
    let drops = listed_drops.drops.iter();
    let names: HashSet<String> = drops.map(|drop| drop.listing.name.clone()).collect();
    let ours = plan.checkpoints();
    ours.sweep(checkpoints?, &ledger, |drop| names.contains(drop))
        .await?;
    let pending = match watches {
        true => Vec::new(),
        false => {
            let Todo {
                pending,
                changed,
                warnings,
            } = plan.todo(&ledger, listed_drops)?;
            for warning in warnings {
                observer.warn(&warning);
            }
            for changed in changed {
                observer.warn(&changed.to_string());
            }
            pending
        }
    };
    let mut first = publish::to_score(&plan.output, &ledger).await?;
    let newest = score::newest(&ledger).filter(|_| watches || !pending.is_empty());
    first.extend(newest.filter(|newest| first.last() != Some(newest)));
    Ok(Prepared {
        ledger,
        pending,
        first,
        unpublished,
    })
}
