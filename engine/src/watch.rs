//! `hubbleflow watch`: hands in each drop when it is complete.
//!
//! ```text
//! seen ── whole? ── handed in ── settled ──┬─► committed ── as it was? ── reported once
//!          _SUCCESS, or unchanged          └─► failed ───── changed? ──── whole?
//!          for --settle
//! ```
//! Listings of the whole catalog take a hundredth of the time, unless a listing takes more than three seconds: the whole
//! catalog is listed every five minutes at least. In between, each poll looks for new names, and at the drops that are
//! not taken yet.
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

/// Listing the whole catalog, and the work on the listing, take one part in this number of the time.
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
    /// A drop without `_SUCCESS` is complete when nothing in it has changed for this long.
    pub settle: Duration,
    /// Ends the watch after the drops in flight are settled.
    pub stop: Stop,
}

/// Hands the drops of a catalog to the planner as they arrive.
pub(crate) struct Watcher {
    /// How.
    pub watch: Watch,
    /// The plan of the job.
    pub plan: Arc<Plan>,
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The way to the planner.
    pub drops: Sender<DropListing>,
    /// The results of the drops.
    pub settled: UnboundedReceiver<Settled>,
    /// Receives warnings.
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
    /// Hash of the names, sizes and ETags of its objects.
    fingerprint: u64,
    /// When the fingerprint changed last.
    since: Duration,
    /// Its fingerprint when the watch handed it in last.
    tried: Option<u64>,
    /// Whether the watch has handed it in and it is not settled yet.
    is_out: bool,
    /// Whether the watch waits for it to be complete.
    is_open: bool,
    /// The entry after which it changed, if the change was reported.
    reported: Option<u64>,
}

impl Watcher {
    /// Polls until it is told to stop, or until nobody takes drops any more.
    pub async fn watch(mut self) {
        let (mut stop, drops) = (self.watch.stop.clone(), self.drops.clone());
        tokio::select! {
            // An error means that the stopper is gone.
            _ = stop.wait_for(|&stop| stop) => (),
            () = drops.closed() => (),
            () = self.poll() => (),
        }
    }

    /// Polls for ever. Warns when the catalog can no longer be listed, and when it can be listed again.
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
                // The planner itself takes an abandoned drop again.
                drop.is_out = settled.outcome == Outcome::Abandoned;
            }
        }
        let began = clock();
        let lists_all = began >= view.list_at;
        let listed_drops = if lists_all {
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
            let sorted = self.sort(&ledger, &mut view.seen, &listed_drops);
            if lists_all {
                // Without the wait for the ledger, which a large drop may hold long.
                let took = (listed - began) + (clock() - locked);
                let pause = (took * LISTING_SHARE).min(LISTING_PAUSE_MAX);
                view.list_at = clock() + pause.max(self.watch.poll);
            }
            sorted
        };
        self.report(&mut view.seen, &suspects).await?;
        for listed_drop in whole {
            if let Some(drop) = view.seen.get_mut(&listed_drop.listing.name) {
                (drop.tried, drop.is_out, drop.is_open) =
                    (Some(listed_drop.fingerprint), true, false);
            }
            if let Some(line) = listed_drop.ignored_line() {
                self.observer.warn(&line);
            }
            // Waits while enough drops are in flight. An error means that nobody takes drops any more: the watch is over.
            let _ = self.drops.send(listed_drop.listing.clone()).await;
        }
        Ok(())
    }

    /// Lists the whole catalog.
    async fn list_all(&self, view: &mut View) -> Result<Vec<ListedDrop>, Error> {
        let listed_drops = self.plan.catalog.list_drops().await?;
        if view.ignored != listed_drops.ignored {
            if let Some(line) = ignored_line(&listed_drops.ignored) {
                self.observer.warn(&line);
            }
            view.ignored = listed_drops.ignored;
        }
        let drops = listed_drops.drops;
        view.known = drops
            .iter()
            .map(|listed_drop| listed_drop.listing.name.clone())
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
        let mut listed_drops = Vec::new();
        if now < view.look_until {
            listed_drops = catalog.list_new_drops(&view.known).await?;
            let names = listed_drops
                .iter()
                .map(|listed_drop| listed_drop.listing.name.clone());
            view.known.extend(names);
        }
        let is_new = |name: &str| {
            listed_drops
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
                Some(listed_drop) => listed_drops.push(listed_drop),
                None => {
                    view.seen.remove(&name);
                }
            }
        }
        listed_drops.sort_by(|a, b| a.listing.name.cmp(&b.listing.name));
        Ok(listed_drops)
    }

    /// The drops that are complete and should be taken, and the drops that seem to have changed since they were committed.
    fn sort<'a>(
        &self,
        ledger: &Ledger,
        seen: &mut HashMap<String, Seen>,
        listed_drops: &'a [ListedDrop],
    ) -> (Vec<&'a ListedDrop>, Vec<&'a ListedDrop>) {
        let (mut whole, mut suspects) = (Vec::new(), Vec::new());
        let now = clock();
        let wanted = |listed_drop: &&ListedDrop| {
            self.plan.wants(&listed_drop.listing) && listed_drop.is_drop()
        };
        for listed_drop in listed_drops.iter().filter(wanted) {
            let drop = seen
                .entry(listed_drop.listing.name.clone())
                .or_insert_with(|| Seen::new(listed_drop, now));
            drop.look(listed_drop, now);
            let entry = ledger.newest(&listed_drop.listing.name);
            if drop.is_out {
                continue;
            }
            let is_pending = self.plan.is_pending(entry);
            let can_be_taken = listed_drop.listing.fault.is_none();
            drop.is_open = is_pending && can_be_taken && drop.tried != Some(drop.fingerprint);
            if is_pending {
                if drop.is_to_be_taken(listed_drop, now, self.watch.settle) {
                    whole.push(listed_drop);
                }
            } else if self
                .plan
                .changed(entry, listed_drop)
                .is_some_and(|changed| drop.is_news(&changed))
            {
                suspects.push(listed_drop);
            }
        }
        (whole, suspects)
    }

    /// Reports the drops that have changed, unless another run has taken them again since.
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
        for listed_drop in suspects {
            let name = &listed_drop.listing.name;
            let changed = self.plan.changed(ledger.newest(name), listed_drop);
            if let (Some(changed), Some(drop)) = (changed, seen.get_mut(name)) {
                drop.reported = Some(changed.sequence);
                self.observer.warn(&changed.to_string());
            }
        }
        Ok(())
    }
}

impl Seen {
    fn new(listed_drop: &ListedDrop, now: Duration) -> Self {
        Self {
            fingerprint: listed_drop.fingerprint,
            since: now,
            tried: None,
            is_out: false,
            is_open: true,
            reported: None,
        }
    }

    fn look(&mut self, listed_drop: &ListedDrop, now: Duration) {
        if self.fingerprint != listed_drop.fingerprint {
            (self.fingerprint, self.since) = (listed_drop.fingerprint, now);
        }
    }

    /// Whether it is complete, and has changed since it failed.
    fn is_to_be_taken(&self, listed_drop: &ListedDrop, now: Duration, settle: Duration) -> bool {
        // Seen twice with the same content: a copy in progress changes the content.
        let is_unchanged = now > self.since;
        let is_whole = (listed_drop.is_whole && is_unchanged) || now - self.since >= settle;
        is_whole && self.tried != Some(self.fingerprint)
    }

    fn is_news(&self, changed: &Changed) -> bool {
        self.reported != Some(changed.sequence)
    }
}
