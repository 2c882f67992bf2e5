//! Rounds: what belongs together, and when it is complete.
use std::collections::BTreeMap;

use timely::{
    ExchangeData,
    dataflow::{
        StreamVec,
        operators::{Capability, generic::Operator},
    },
    progress::Timestamp,
};

use super::{
    Rank,
    letter::{Letters, by_rank},
};

/// What belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// All items at a time. The round is over when the frontier has passed the time: timely tells all workers so, in two
    /// steps (the items are sent, and have been received).
    Time,
    /// The first items that the workers give at a time are a round, their second items are the next, and so on. The
    /// round is over when each worker's item has come, in one step; the time may go on. If a worker gives fewer items
    /// than others, the rounds that it has no part in are over when the frontier has passed the time.
    ///
    /// This is for loops in which all workers take part. It is faster than [`Round::Time`], the more so if a time has
    /// many rounds: timely then has nothing to tell.
    Item,
}

/// The rounds that are open: by time, and by the place of the items.
type Open<T, D> = BTreeMap<(T, u64), Held<T, D>>;

struct Held<T: Timestamp, D> {
    capability: Capability<T>,
    items: Vec<(Rank, D)>,
}

/// Collects the items of each round, and emits what `finish` makes of them. `finish` gets at least one item; items are in
/// rank order, and those of one rank in the order in which it gave them. `givers` ranks, the first, give items.
pub(super) fn collect<'s, T: Timestamp, D: ExchangeData, R: 'static>(
    letters: Letters<'s, T, D>,
    name: &str,
    round: Round,
    givers: usize,
    mut finish: impl FnMut(Vec<(Rank, D)>) -> R + 'static,
) -> StreamVec<'s, T, R> {
    letters.unary_frontier(by_rank(), name, move |_capability, _info| {
        let mut open: Open<T, D> = BTreeMap::new();
        let mut in_order = move |mut items: Vec<(Rank, D)>| {
            // A stable sort, so each rank's items stay in their order.
            items.sort_by_key(|(rank, _)| *rank);
            finish(items)
        };
        move |(input, frontier), output| {
            input.for_each(|time, letters| {
                for letter in letters.drain(..) {
                    let number = match round {
                        Round::Time => 0,
                        Round::Item => letter.number,
                    };
                    let key = (time.time().clone(), number);
                    let held = open.entry(key.clone()).or_insert_with(|| Held {
                        capability: time.retain(0),
                        items: Vec::with_capacity(givers),
                    });
                    held.items.push((letter.from(), letter.item));
                    // A rank has one item of a number.
                    let is_whole = round == Round::Item && held.items.len() == givers;
                    if is_whole && let Some(Held { capability, items }) = open.remove(&key) {
                        output.session(&capability).give(in_order(items));
                    }
                }
            });
            let is_over = |(time, _): &(T, u64)| !frontier.less_equal(time);
            for (_, Held { capability, items }) in open.extract_if(.., |key, _| is_over(key)) {
                output.session(&capability).give(in_order(items));
            }
        }
    })
}
