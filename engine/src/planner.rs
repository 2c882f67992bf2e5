//! Hands drops to the dataflow, a few at a time.
use std::{collections::VecDeque, sync::Arc};

use connectors::{DropListing, DropPlan, Ledger};
use operators::{Outcome, Progress, Settled, feed::Feeder};
use tokio::sync::{
    Mutex,
    mpsc::{Receiver, UnboundedReceiver},
};

use crate::plan::Plan;

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
}

impl Planner {
    /// Takes the drops through. Ends when there are no more to come and the last is settled, or when the dataflow is gone.
    pub async fn take(mut self) {
        // What is out, and of how many rows.
        let mut out: Vec<(DropListing, u64)> = Vec::new();
        let mut again: VecDeque<DropListing> = VecDeque::new();
        let (mut left, mut more) = (self.plan.limit_rows, true);
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
