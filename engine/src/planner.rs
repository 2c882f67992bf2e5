//! Hands drops to the dataflow, a few at a time.
use std::{collections::VecDeque, sync::Arc};

use connectors::{DropListing, DropPlan, Ledger, checkpoint::PlannedDrop};
use operators::{Outcome, Progress, Settled, feed::Feeder};
use tokio::sync::{
    Mutex,
    mpsc::{Receiver, UnboundedReceiver},
};

use crate::{Observer, Stop, plan::Plan};

/// Drops whose rows are on their way at once: the next is planned and read while the last is written.
const DROPS_AT_ONCE: usize = 4;

/// Hands drops to the dataflow, a few at a time, until all are settled.
pub struct Planner {
    /// The plan of the job.
    pub plan: Arc<Plan>,
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The drops, from whoever knows which are to be taken.
    pub drops: Receiver<DropListing>,
    /// The way into the dataflow.
    pub feeder: Feeder,
    /// The drops that are settled.
    pub settled: UnboundedReceiver<Settled>,
    /// Counts the planned rows and bytes.
    pub progress: Progress,
    /// This run: the first part of its attempts' names.
    pub run: String,
    /// Attempts so far.
    pub attempts: u64,
    /// Receives what is adopted.
    pub observer: Arc<dyn Observer>,
    /// Ends the run early.
    pub stop: Stop,
}

impl Planner {
    /// Takes the drops through. Ends when there are no more to come and the last is settled, or when the dataflow is gone.
    /// Returns whether all drops were taken through.
    pub async fn take(mut self) -> bool {
        // What is out, and of how many rows.
        let mut out: Vec<(DropListing, u64)> = Vec::new();
        let mut again: VecDeque<DropListing> = VecDeque::new();
        let (mut left, mut more) = (self.plan.limit_rows, true);
        loop {
            let is_stopped = *self.stop.borrow();
            let may_take = left != Some(0) && !is_stopped;
            let is_all = !more && again.is_empty();
            if out.is_empty() && (is_all || !may_take) {
                return is_all || !is_stopped;
            }
            let room = out.len() < DROPS_AT_ONCE && may_take;
            let repeated = if room { again.pop_front() } else { None };
            let next = match repeated {
                Some(listing) => Some(listing),
                None => tokio::select! {
                    next = self.drops.recv(), if room && more => {
                        more = next.is_some();
                        next
                    }
                    // An error means that nobody can stop the run any more.
                    Ok(()) = self.stop.changed(), if !is_stopped => None,
                    settled = self.settled.recv(), if !out.is_empty() => {
                        let Some(settled) = settled else {
                            return false;
                        };
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
                },
            };
            if let Some(listing) = next {
                let drop = self.plan_next(&listing, &mut left).await;
                out.push((listing, drop.plan.rows));
                if !self.feeder.put(drop) {
                    return false;
                }
            }
        }
    }

    /// Plans a drop as a new attempt; `left` rows may still be taken.
    async fn plan_next(&mut self, listing: &DropListing, left: &mut Option<u64>) -> PlannedDrop {
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
        self.adopt(plan).await
    }

    /// Takes over what earlier tries have stored of a drop.
    async fn adopt(&self, plan: DropPlan) -> PlannedDrop {
        if plan.rows == 0 || self.plan.again {
            return plan.into();
        }
        let drop = match self.plan.checkpoints().find(&plan.name).await {
            Ok(found) => PlannedDrop::adopting(plan, found),
            Err(error) => {
                let warning = format!("{error}; the rows are predicted again");
                self.observer.warn(&warning);
                plan.into()
            }
        };
        let (rows, adopted) = (drop.plan.rows, drop.adopted.rows());
        if adopted > 0 {
            self.observer.adopted(&drop.plan.name, adopted, rows);
        }
        drop
    }
}
