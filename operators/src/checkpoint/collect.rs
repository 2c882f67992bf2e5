//! Collects the results of splits into bundles, which are stored together.
use std::{collections::BTreeMap, time::Duration};

use connectors::{Split, checkpoint::SplitResult, part::Piece};
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Capability, generic::Operator},
};

use super::{Checkpointer, share};
use crate::{
    DropId, Flow, Predictions, Tally,
    predictions::{Bundle, ChunkResult},
};

/// How often a worker looks whether it is time to store results.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Collects results into bundles. A bundle is closed and stored when the interval is over, when it exceeds its share of
/// memory, or when the process is about to leave. The last bundle of a complete drop is not stored.
pub(super) fn collect<'s>(
    predictions: Flow<'s, Predictions>,
    checkpointer: &Checkpointer,
) -> Flow<'s, Collected> {
    let (checkpointer, workers) = (checkpointer.clone(), predictions.scope().worker().peers());
    let scope = predictions.scope();
    predictions.unary_frontier(Pipeline, "Collect", move |_capability, info| {
        let activator = scope.activator_for(info.address);
        let mut drops: BTreeMap<DropId, (Capability<DropId>, DropResults)> = BTreeMap::new();
        let mut look_at = Duration::ZERO;
        move |(input, frontier), output| {
            let now = (checkpointer.clock)();
            input.for_each_time(|time, data| {
                let (capability, results) = drops
                    .entry(*time.time())
                    .or_insert_with(|| (time.retain(0), DropResults::default()));
                for predictions in data.flat_map(|items| items.drain(..)) {
                    if let Some(collected) = results.take(predictions, now) {
                        output.session(capability).give(collected);
                    }
                }
            });
            for (capability, results) in drops.values_mut() {
                let share = share(checkpointer.held_bytes, results.parts, workers);
                if let Some(full) = results.full(&checkpointer, share / 4, now) {
                    output.session(capability).give(full);
                }
            }
            while let Some(first) = drops
                .first_entry()
                .filter(|first| !frontier.less_equal(first.key()))
            {
                let (capability, mut results) = first.remove();
                let rest = Collected {
                    bundle: results.bundle(),
                    to_store: false,
                };
                output.session(&capability).give(rest);
            }
            // Wake up regularly: a checkpoint may be due while no results come.
            if !drops.is_empty() && now >= look_at {
                look_at = now + LOOK_EVERY;
                activator.activate_after(LOOK_EVERY);
            }
        }
    })
}

/// A bundle, and whether it is to be stored.
pub(super) struct Collected {
    pub bundle: Bundle,
    pub to_store: bool,
}

/// Results of a drop that are in no bundle yet.
#[derive(Default)]
struct DropResults {
    drop: String,
    attempt: String,
    parts: u32,
    /// Splits whose chunks have all come.
    whole: Vec<SplitResult>,
    /// Splits with chunks still to come.
    open: BTreeMap<u64, OpenSplit>,
    whole_bytes: u64,
    open_bytes: u64,
    /// When the first split in `whole` was completed.
    since: Duration,
    ended: u64,
    tally: Tally,
}

/// A split whose last chunk has not come yet.
struct OpenSplit {
    split: Split,
    pieces: Vec<Piece>,
    /// Whether all chunks that came are in `pieces`.
    is_whole: bool,
}

impl DropResults {
    /// Adds results. Returns a bundle that is passed on as it is: its results are stored already, or its split has failed.
    fn take(&mut self, predictions: Predictions, now: Duration) -> Option<Collected> {
        let bundle = match predictions {
            Predictions::Chunk(chunk) => return self.take_chunk(chunk, now),
            Predictions::Adopted(bundle) => bundle,
        };
        self.parts = bundle.parts;
        if bundle.stored.is_some() {
            let to_store = false;
            return Some(Collected { bundle, to_store });
        }
        (self.drop, self.attempt) = (bundle.drop, bundle.attempt);
        self.tally += bundle.tally;
        for result in bundle.results {
            self.add_whole(result, now);
        }
        None
    }

    fn take_chunk(&mut self, chunk: ChunkResult, now: Duration) -> Option<Collected> {
        let ChunkResult {
            split,
            is_last,
            pieces,
            tally,
        } = chunk;
        (self.drop, self.attempt) = (split.drop.clone(), split.attempt.clone());
        self.parts = split.parts;
        let number = split.number;
        let open = self.open.entry(number).or_insert_with(|| OpenSplit {
            split,
            pieces: Vec::new(),
            is_whole: true,
        });
        let failure = match pieces {
            Ok(pieces) => {
                self.open_bytes += pieces.iter().map(Piece::bytes).sum::<u64>();
                open.pieces.extend(pieces);
                None
            }
            Err(reason) => {
                open.is_whole = false;
                Some(reason)
            }
        };
        self.tally += tally;
        if is_last && let Some(open) = self.open.remove(&number) {
            let result = open.result();
            self.open_bytes -= result.bytes();
            self.ended += 1;
            self.add_whole(result, now);
        }
        failure.map(|reason| Collected {
            bundle: Bundle {
                drop: self.drop.clone(),
                attempt: self.attempt.clone(),
                parts: self.parts,
                failures: vec![reason],
                ..Bundle::default()
            },
            to_store: false,
        })
    }

    fn add_whole(&mut self, result: SplitResult, now: Duration) {
        if self.whole.is_empty() {
            self.since = now;
        }
        self.whole_bytes += result.bytes();
        self.whole.push(result);
    }

    /// A bundle to store, if it is time to store one.
    fn full(
        &mut self,
        checkpointer: &Checkpointer,
        limit: u64,
        now: Duration,
    ) -> Option<Collected> {
        let every = checkpointer.every;
        let is_due = !every.is_zero() && now >= self.since + every;
        let is_heavy = self.whole_bytes > limit;
        let is_time = is_due || is_heavy || checkpointer.shutdown.is_asked();
        if is_time && !self.whole.is_empty() {
            return Some(self.bundle_to_store());
        }
        if self.open_bytes <= limit {
            return None;
        }
        // A split that is too large is stored before it is complete. These rows cannot be adopted.
        for open in self.open.values_mut() {
            open.is_whole = false;
            self.whole.push(SplitResult {
                split: open.split.clone(),
                is_whole: false,
                pieces: std::mem::take(&mut open.pieces),
            });
        }
        self.open_bytes = 0;
        Some(self.bundle_to_store())
    }

    fn bundle_to_store(&mut self) -> Collected {
        Collected {
            bundle: self.bundle(),
            to_store: true,
        }
    }

    /// All results that are in no bundle, as a bundle.
    fn bundle(&mut self) -> Bundle {
        self.whole_bytes = 0;
        Bundle {
            drop: self.drop.clone(),
            attempt: self.attempt.clone(),
            parts: self.parts,
            results: std::mem::take(&mut self.whole),
            stored: None,
            failures: Vec::new(),
            ended: std::mem::take(&mut self.ended),
            tally: std::mem::take(&mut self.tally),
        }
    }
}

impl OpenSplit {
    fn result(self) -> SplitResult {
        SplitResult {
            split: self.split,
            is_whole: self.is_whole,
            pieces: self.pieces,
        }
    }
}
