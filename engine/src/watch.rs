//! `hubbleflow watch`: drops are handed in as they arrive, each when it is whole.
//!
//! ```text
//! seen ── whole? ── handed in ── settled ──┬─► committed ── as it was? ── reported once
//!          _SUCCESS, or unchanged          └─► failed ───── changed? ──── whole?
//!          for --settle
//! ```
//! One listing of the catalog a poll tells all of it; of a drop nothing is kept but a fingerprint of what it held.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use connectors::{DropListing, Error, Ledger, Sighting};
use operators::{Outcome, Settled};
use tokio::sync::{
    Mutex,
    mpsc::{Sender, UnboundedReceiver},
};

use crate::{changed::Changed, clock::clock, job::Plan, observe::Observer, signals::Stop};

/// How a catalog is watched, and until when.
#[derive(Clone, Debug)]
pub struct Watch {
    /// How long to wait between two listings.
    pub poll: Duration,
    /// How long nothing may have changed in a drop without `_SUCCESS` before it is taken for whole.
    pub settle: Duration,
    /// Ends the watch, when what is in flight is settled.
    pub stop: Stop,
}

/// Hands the drops of a catalog to the planner as they arrive.
pub(crate) struct Watcher {
    /// How.
    pub watch: Watch,
    /// What is taken.
    pub plan: Arc<Plan>,
    /// What is committed.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The way to the planner.
    pub drops: Sender<DropListing>,
    /// What has become of them.
    pub settled: UnboundedReceiver<Settled>,
    /// Who tells the user.
    pub observer: Observer,
}

/// A drop as it was seen last.
struct Seen {
    /// Of what it held.
    fingerprint: u64,
    /// Since when it holds that.
    since: Duration,
    /// Its fingerprint when it was handed in last.
    tried: Option<u64>,
    /// Whether it was handed in and is not settled.
    is_out: bool,
    /// The entry since which it is known to have changed.
    reported: Option<u64>,
}

impl Watcher {
    /// Polls until it is told to stop, or until nobody takes drops any more.
    pub async fn watch(mut self) {
        let (mut stop, drops) = (self.watch.stop.clone(), self.drops.clone());
        tokio::select! {
            // An error says that whoever could have told it is gone.
            _ = stop.wait_for(|&stop| stop) => (),
            () = drops.closed() => (),
            () = self.poll() => (),
        }
    }

    /// Polls for ever. That the catalog cannot be listed is said when it begins, and when it is over.
    async fn poll(&mut self) {
        let (mut seen, mut failing) = (HashMap::new(), None);
        loop {
            let failure = self
                .look(&mut seen)
                .await
                .err()
                .map(|error| error.to_string());
            match &failure {
                Some(error) if failing.is_none() => self.observer.warn(&format!(
                    "{error}; looking again every {:?}",
                    self.watch.poll
                )),
                None if failing.is_some() => self.observer.warn("the store answers again"),
                _ => (),
            }
            failing = failure;
            tokio::time::sleep(self.watch.poll).await;
        }
    }

    /// Looks once: reports what has changed, and hands in what is whole.
    async fn look(&mut self, seen: &mut HashMap<String, Seen>) -> Result<(), Error> {
        // Before the listing: a drop is compared with a listing that is younger than its entry.
        while let Ok(settled) = self.settled.try_recv() {
            if let Some(drop) = seen.get_mut(&settled.drop) {
                // One that was abandoned is taken in again by the planner itself.
                drop.is_out = settled.outcome == Outcome::Abandoned;
            }
        }
        let sightings = self.plan.catalog.sightings().await?;
        let names: HashSet<&str> = sightings
            .iter()
            .map(|sighting| sighting.listing.name.as_str())
            .collect();
        seen.retain(|name, drop| drop.is_out || names.contains(name.as_str()));
        let (whole, suspects) = self.sort(seen, &sightings).await;
        self.report(seen, &suspects).await?;
        for sighting in whole {
            if let Some(drop) = seen.get_mut(&sighting.listing.name) {
                (drop.tried, drop.is_out) = (Some(sighting.fingerprint), true);
            }
            // Waits while enough drops are in flight; where nobody takes them any more, the watch is over.
            let _ = self.drops.send(sighting.listing.clone()).await;
        }
        Ok(())
    }

    /// The drops that are whole and to be taken, and those that seem to have changed since they were committed.
    async fn sort<'a>(
        &self,
        seen: &mut HashMap<String, Seen>,
        sightings: &'a [Sighting],
    ) -> (Vec<&'a Sighting>, Vec<&'a Sighting>) {
        let (mut whole, mut suspects) = (Vec::new(), Vec::new());
        let (now, ledger) = (clock(), self.ledger.lock().await);
        let wanted = |sighting: &&Sighting| {
            self.plan.wants(&sighting.listing) && !sighting.objects.is_empty()
        };
        for sighting in sightings.iter().filter(wanted) {
            let drop = seen
                .entry(sighting.listing.name.clone())
                .or_insert_with(|| Seen::new(sighting, now));
            drop.look(sighting, now);
            let entry = ledger.newest(&sighting.listing.name);
            if drop.is_out {
                continue;
            } else if self.plan.is_pending(entry) {
                if drop.is_to_be_taken(sighting, now, self.watch.settle) {
                    whole.push(sighting);
                }
            } else if self
                .plan
                .changed(entry, sighting)
                .is_some_and(|changed| drop.is_news(&changed))
            {
                suspects.push(sighting);
            }
        }
        (whole, suspects)
    }

    /// Reports the drops that have changed, unless another run has taken them in again since.
    async fn report(
        &self,
        seen: &mut HashMap<String, Seen>,
        suspects: &[&Sighting],
    ) -> Result<(), Error> {
        if suspects.is_empty() {
            return Ok(());
        }
        let mut ledger = self.ledger.lock().await;
        ledger.refresh().await?;
        for sighting in suspects {
            let name = &sighting.listing.name;
            let changed = self.plan.changed(ledger.newest(name), sighting);
            if let (Some(changed), Some(drop)) = (changed, seen.get_mut(name)) {
                drop.reported = Some(changed.sequence);
                self.observer.warn(&changed.to_string());
            }
        }
        Ok(())
    }
}

impl Seen {
    fn new(sighting: &Sighting, now: Duration) -> Self {
        Self {
            fingerprint: sighting.fingerprint,
            since: now,
            tried: None,
            is_out: false,
            reported: None,
        }
    }

    fn look(&mut self, sighting: &Sighting, now: Duration) {
        if self.fingerprint != sighting.fingerprint {
            (self.fingerprint, self.since) = (sighting.fingerprint, now);
        }
    }

    /// Whether it is whole, and not as it was when it failed.
    fn is_to_be_taken(&self, sighting: &Sighting, now: Duration, settle: Duration) -> bool {
        let is_whole = sighting.is_whole || now - self.since >= settle;
        is_whole && self.tried != Some(self.fingerprint)
    }

    fn is_news(&self, changed: &Changed) -> bool {
        self.reported != Some(changed.sequence)
    }
}
