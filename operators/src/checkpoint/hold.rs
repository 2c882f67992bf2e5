//! Keeps bundles until their drop is complete, in memory as far as they fit.
use std::collections::BTreeMap;

use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Capability, generic::Operator},
};

use super::{Checkpointer, share, store::Kept};
use crate::{DropId, Flow, Parcel, parcel::Content, predictions::Bundle};

/// Emits the parcels of all bundles of a drop when the drop is complete.
pub(super) fn hold<'s>(kept: Flow<'s, Kept>, checkpointer: &Checkpointer) -> Flow<'s, Parcel> {
    let (held_bytes, workers) = (checkpointer.held_bytes, kept.scope().worker().peers());
    kept.unary_frontier(Pipeline, "Hold", move |_capability, _info| {
        let mut drops: BTreeMap<DropId, (Capability<DropId>, Held)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, data| {
                let (_, held) = drops
                    .entry(*time.time())
                    .or_insert_with(|| (time.retain(0), Held::default()));
                for kept in data.flat_map(|items| items.drain(..)) {
                    held.bytes += kept.bundle.bytes();
                    held.kept.push(kept);
                }
            });
            // `collect` uses a quarter of the bound.
            for (_, held) in drops.values_mut() {
                let share = share(held_bytes, held.parts(), workers);
                while held.bytes > share / 4 * 3 && held.put_away() {}
            }
            let all = |drops: &BTreeMap<DropId, (Capability<DropId>, Held)>| {
                drops.values().map(|(_, held)| held.bytes).sum::<u64>()
            };
            while all(&drops) > held_bytes / 4 * 3 {
                let heaviest = drops.values_mut().max_by_key(|(_, held)| held.bytes);
                if !heaviest.is_some_and(|(_, held)| held.put_away()) {
                    break;
                }
            }
            while let Some(first) = drops
                .first_entry()
                .filter(|first| !frontier.less_equal(first.key()))
            {
                let (capability, held) = first.remove();
                let parcels = held.kept.into_iter();
                let parcels = parcels.flat_map(|kept| parcels_of(kept.bundle));
                output.session(&capability).give_iterator(parcels);
            }
        }
    })
}

/// Bundles of a drop.
#[derive(Default)]
struct Held {
    kept: Vec<Kept>,
    /// Bytes of their rows in memory.
    bytes: u64,
}

impl Held {
    fn parts(&self) -> u32 {
        self.kept.last().map_or(1, |kept| kept.bundle.parts)
    }

    /// Frees the rows of the largest bundle that is stored. If there is none, frees a bundle that could not be stored, which
    /// fails the drop. Returns false if nothing can be freed.
    fn put_away(&mut self) -> bool {
        let may_go = |kept: &&mut Kept| {
            !kept.bundle.results.is_empty()
                && (kept.bundle.stored.is_some() || kept.error.is_some())
        };
        let heaviest = self.kept.iter_mut().filter(may_go);
        let Some(kept) = heaviest.max_by_key(|kept| (kept.error.is_none(), kept.bundle.bytes()))
        else {
            return false;
        };
        self.bytes -= kept.bundle.bytes();
        kept.bundle.results.clear();
        kept.bundle.failures.extend(kept.error.take());
        true
    }
}

/// The parcels of a bundle.
fn parcels_of(bundle: Bundle) -> Vec<Parcel> {
    let Bundle {
        drop,
        attempt,
        results,
        stored,
        failures,
        mut tally,
        ..
    } = bundle;
    let mut contents: Vec<(u32, Content)> = Vec::new();
    match stored {
        Some(checkpoint) if results.is_empty() => contents.extend(
            checkpoint
                .parts()
                .map(|stored| (stored.part, Content::Stored(stored))),
        ),
        _ => contents.extend(
            results
                .into_iter()
                .flat_map(|result| result.pieces)
                .map(|piece| (piece.part, Content::Rows(piece))),
        ),
    }
    // Failures travel to the first part.
    contents.extend(
        failures
            .into_iter()
            .map(|reason| (0, Content::Failed(reason))),
    );
    contents
        .into_iter()
        .map(|(part, content)| Parcel {
            drop: drop.clone(),
            attempt: attempt.clone(),
            part,
            content,
            tally: std::mem::take(&mut tally),
        })
        .collect()
}
