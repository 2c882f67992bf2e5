//! Retries in a watch: publishing committed drops, and metrics that could not be written.
//!
//! ```text
//! failed ── pause ── drop handed in again ── planned as committed ── published, or scored again
//!             ▲                                                                │
//!             └───────────────────── a longer pause ◄──────────────────────────┘ failed again
//! ```
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use connectors::{DropListing, Ledger};
use operators::{Published, Unfinished};
use tokio::sync::{
    Mutex,
    mpsc::{Sender, UnboundedReceiver},
};

use crate::{Observer, Stop, clock::clock};

/// The first pause; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked whether a pause is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Hands committed drops in again that are not published yet, or have no metrics.
pub(crate) struct Retries {
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The committed drops that are not published yet.
    pub unfinished: Unfinished,
    /// What became of the metrics.
    pub scored: UnboundedReceiver<Published>,
    /// The way to the planner.
    pub drops: Sender<DropListing>,
    /// Ends the watch.
    pub stop: Stop,
    /// Receives warnings.
    pub observer: Arc<dyn Observer>,
}

/// The time of the next try.
struct Due {
    at: Duration,
    pause: Duration,
}

impl Due {
    fn first() -> Self {
        Self {
            at: clock() + FIRST_PAUSE,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether it is time for a try. If it is, the next pause is longer.
    fn is_now(&mut self) -> bool {
        let is_now = clock() >= self.at;
        if is_now {
            self.pause = LONGEST_PAUSE.min(2 * self.pause);
            self.at = clock() + self.pause;
        }
        is_now
    }
}

impl Retries {
    /// Tries again until the watch is told to stop, or until nobody takes drops any more.
    pub async fn retry(mut self) {
        let (mut stop, drops) = (self.stop.clone(), self.drops.clone());
        tokio::select! {
            // An error means that the stopper is gone.
            _ = stop.wait_for(|&stop| stop) => (),
            () = drops.closed() => (),
            () = self.look() => (),
        }
    }

    /// Hands in drops when their pause is over, for ever.
    async fn look(&mut self) {
        let mut publishing: BTreeMap<String, Due> = BTreeMap::new();
        let mut scoring: Option<(String, Due)> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.hear(&mut scoring);
            if let Some((drop, due)) = &mut scoring
                && due.is_now()
            {
                self.hand_in(drop).await;
            }
            let unfinished = self.unfinished.all();
            publishing.retain(|attempt, _| unfinished.contains_key(attempt));
            for (attempt, drop) in unfinished {
                let due = publishing.entry(attempt.clone()).or_insert_with(|| {
                    self.observer
                        .warn(&format!("{drop}: publishing is tried again in {FIRST_PAUSE:?}, and then with growing pauses"));
                    Due::first()
                });
                if due.is_now() {
                    self.publish(&attempt, &drop).await;
                }
            }
        }
    }

    /// Receives the results of scoring. The newest entry counts.
    fn hear(&mut self, scoring: &mut Option<(String, Due)>) {
        while let Ok(Published { drop, all, .. }) = self.scored.try_recv() {
            match (all, scoring.as_mut()) {
                (Ok(_), _) => *scoring = None,
                (Err(_), Some((of_drop, _due))) => *of_drop = drop,
                (Err(_), None) => {
                    self.observer
                        .warn(&format!("the metrics are tried again in {FIRST_PAUSE:?}, and then with growing pauses"));
                    *scoring = Some((drop, Due::first()));
                }
            }
        }
    }

    /// Hands a drop in for publishing, if the ledger has its entry and the entry still stands.
    async fn publish(&self, attempt: &str, drop: &str) {
        {
            let mut ledger = self.ledger.lock().await;
            if ledger.refresh().await.is_err() {
                return;
            }
            let newest = ledger.newest(drop);
            if newest.is_none_or(|newest| newest.attempt != attempt) {
                self.unfinished.remove(attempt);
                return;
            }
        }
        self.hand_in(drop).await;
    }

    async fn hand_in(&self, drop: &str) {
        // Fails only if nobody takes drops any more, and then the watch is over.
        let _ = self.drops.send(DropListing::committed(drop)).await;
    }
}
