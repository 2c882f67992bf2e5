//! `hubbleflow watch`: drops are handed in as they arrive, each when it is whole.
//!
//! ```text
//! seen ── whole? ── handed in ── settled ──┬─► committed ── as it was? ── reported once
//!          _SUCCESS, or unchanged          └─► failed ───── changed? ──── whole?
//!          for --settle
//! ```
//! Listings of the whole catalog take a hundredth of the time at most: the larger the catalog, the rarer the listing. In
//! between, each poll looks for new names, and at the drops that are not taken yet.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use connectors::{DropListing, Error, Ledger, ListedDrop, listed_drop::ignored_line};
use operators::{Outcome, Settled};
use tokio::sync::{
    Mutex,
    mpsc::{Sender, UnboundedReceiver},
};

use crate::{Observer, Stop, changed::Changed, clock::clock, plan::Plan};

/// Of the time, listings of the whole catalog, and what is made of them, take one part in this number.
const LISTING_SHARE: u32 = 100;
/// Upper bound on the pause between two listings of the whole catalog.
const LISTING_PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long new names are looked for after a child of a local catalog came or went: its files may come later.
const LOOK_AFTER_CHANGE: Duration = Duration::from_secs(60);
/// Drops that are not taken yet and looked at in each poll.
const OPEN_DROPS_MAX: usize = 100;

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
    pub observer: Arc<dyn Observer>,
}

/// The catalog as it was seen last.
#[derive(Default)]
struct View {
    /// The drops.
    seen: HashMap<String, Seen>,
    /// Names of all drops, wanted or not.
    known: HashSet<String>,
    /// When to list the whole catalog again.
    list_at: Duration,
    /// When a child of a local catalog last came or went, and until when new names are looked for since.
    children: Option<SystemTime>,
    look_until: Duration,
    /// Files beside the drops that were reported as ignored.
    ignored: Vec<String>,
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
    /// Whether it is to be taken, and not whole yet.
    is_open: bool,
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
        let (mut view, mut failing) = (View::default(), None);
        loop {
            let failure = self
                .look(&mut view)
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
    async fn look(&mut self, view: &mut View) -> Result<(), Error> {
        // Before the listing: a drop is compared with a listing that is younger than its entry.
        while let Ok(settled) = self.settled.try_recv() {
            if let Some(drop) = view.seen.get_mut(&settled.drop) {
                // One that was abandoned is taken in again by the planner itself.
                drop.is_out = settled.outcome == Outcome::Abandoned;
            }
        }
        let began = clock();
        let lists_all = began >= view.list_at;
        let sightings = if lists_all {
            self.list_all(view).await?
        } else if self.plan.is_one_drop() {
            Vec::new()
        } else {
            self.list_new(view).await?
        };
        let listed = clock();
        let (whole, suspects) = {
            let ledger = self.ledger.lock().await;
            let locked = clock();
            let sorted = self.sort(&ledger, &mut view.seen, &sightings);
            if lists_all {
                // Without the wait for the ledger, which a large drop may hold long.
                let took = (listed - began) + (clock() - locked);
                let pause = (took * LISTING_SHARE).min(LISTING_PAUSE_MAX);
                view.list_at = clock() + pause.max(self.watch.poll);
            }
            sorted
        };
        self.report(&mut view.seen, &suspects).await?;
        for sighting in whole {
            if let Some(drop) = view.seen.get_mut(&sighting.listing.name) {
                (drop.tried, drop.is_out, drop.is_open) = (Some(sighting.fingerprint), true, false);
            }
            if let Some(line) = sighting.ignored_line() {
                self.observer.warn(&line);
            }
            // Waits while enough drops are in flight; where nobody takes them any more, the watch is over.
            let _ = self.drops.send(sighting.listing.clone()).await;
        }
        Ok(())
    }

    /// Lists the whole catalog.
    async fn list_all(&self, view: &mut View) -> Result<Vec<ListedDrop>, Error> {
        let sightings = self.plan.catalog.list_drops().await?;
        if view.ignored != sightings.ignored {
            if let Some(line) = ignored_line(&sightings.ignored) {
                self.observer.warn(&line);
            }
            view.ignored = sightings.ignored;
        }
        let drops = sightings.drops;
        view.known = drops
            .iter()
            .map(|sighting| sighting.listing.name.clone())
            .collect();
        let known = &view.known;
        view.seen
            .retain(|name, drop| drop.is_out || known.contains(name));
        Ok(drops)
    }

    /// Lists the drops that came since the last look, and those that are not taken yet.
    async fn list_new(&self, view: &mut View) -> Result<Vec<ListedDrop>, Error> {
        let (catalog, now) = (&self.plan.catalog, clock());
        let children = catalog.children_changed();
        if children.is_none() || children != view.children {
            (view.children, view.look_until) = (children, now + LOOK_AFTER_CHANGE);
        }
        let mut sightings = Vec::new();
        if now < view.look_until {
            sightings = catalog.list_new_drops(&view.known).await?;
            let names = sightings
                .iter()
                .map(|sighting| sighting.listing.name.clone());
            view.known.extend(names);
        }
        let is_new = |name: &str| {
            sightings
                .iter()
                .any(|new: &ListedDrop| new.listing.name == name)
        };
        let open = view
            .seen
            .iter()
            .filter(|(name, drop)| drop.is_open && !is_new(name));
        let open: Vec<String> = open
            .map(|(name, _)| name.clone())
            .take(OPEN_DROPS_MAX)
            .collect();
        for name in open {
            match catalog.list_drop(&name).await? {
                Some(sighting) => sightings.push(sighting),
                None => {
                    view.seen.remove(&name);
                }
            }
        }
        sightings.sort_by(|a, b| a.listing.name.cmp(&b.listing.name));
        Ok(sightings)
    }

    /// The drops that are whole and to be taken, and those that seem to have changed since they were committed.
    fn sort<'a>(
        &self,
        ledger: &Ledger,
        seen: &mut HashMap<String, Seen>,
        sightings: &'a [ListedDrop],
    ) -> (Vec<&'a ListedDrop>, Vec<&'a ListedDrop>) {
        let (mut whole, mut suspects) = (Vec::new(), Vec::new());
        let now = clock();
        let wanted =
            |sighting: &&ListedDrop| self.plan.wants(&sighting.listing) && sighting.is_drop();
        for sighting in sightings.iter().filter(wanted) {
            let drop = seen
                .entry(sighting.listing.name.clone())
                .or_insert_with(|| Seen::new(sighting, now));
            drop.look(sighting, now);
            let entry = ledger.newest(&sighting.listing.name);
            if drop.is_out {
                continue;
            }
            let is_pending = self.plan.is_pending(entry);
            let can_be_taken = sighting.listing.fault.is_none();
            drop.is_open = is_pending && can_be_taken && drop.tried != Some(drop.fingerprint);
            if is_pending {
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
        suspects: &[&ListedDrop],
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
    fn new(sighting: &ListedDrop, now: Duration) -> Self {
        Self {
            fingerprint: sighting.fingerprint,
            since: now,
            tried: None,
            is_out: false,
            is_open: true,
            reported: None,
        }
    }

    fn look(&mut self, sighting: &ListedDrop, now: Duration) {
        if self.fingerprint != sighting.fingerprint {
            (self.fingerprint, self.since) = (sighting.fingerprint, now);
        }
    }

    /// Whether it is whole, and not as it was when it failed.
    fn is_to_be_taken(&self, sighting: &ListedDrop, now: Duration, settle: Duration) -> bool {
        // Two looks at the same content: a copy that is going on changes it.
        let is_unchanged = now > self.since;
        let is_whole = (sighting.is_whole && is_unchanged) || now - self.since >= settle;
        is_whole && self.tried != Some(self.fingerprint)
    }

    fn is_news(&self, changed: &Changed) -> bool {
        self.reported != Some(changed.sequence)
    }
}
