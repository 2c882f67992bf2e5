//! Collects items by key until their drop is complete, or until they weigh too much to keep.
use std::collections::BTreeMap;

use timely::dataflow::{
    channels::pact::ParallelizationContract,
    operators::{Capability, generic::Operator},
};

use crate::{DropId, Flow};

/// Items of one key and drop.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<K, I> {
    /// The key that the items share.
    pub key: K,
    /// The items, in the order in which they came.
    pub items: Vec<I>,
    /// Whether the drop is complete, so that no more items of this key follow.
    pub complete: bool,
}

struct Held<K, I> {
    capability: Capability<DropId>,
    groups: BTreeMap<K, (Vec<I>, u64)>,
}

/// Emits the items of each key as one group when their drop is complete. While all held items together weigh more than
/// `limit`, the heaviest group is emitted early.
///
/// ```
/// use hubbleflow_operators::gather::gather;
/// use timely::dataflow::{channels::pact::Pipeline, operators::{Inspect, ToStream}};
///
/// timely::example(|scope| {
///     let words = ["dust", "dawn", "star"].to_stream(scope).container::<Vec<_>>();
///     gather(words, Pipeline, "Initials", |word| word.chars().next(), |_| 1, u64::MAX).inspect(|group| {
///         let words = if group.key == Some('d') { vec!["dust", "dawn"] } else { vec!["star"] };
///         assert_eq!(group.items, words);
///     });
/// });
/// ```
pub fn gather<'s, K: Ord + Clone + 'static, I: 'static>(
    items: Flow<'s, I>,
    pact: impl ParallelizationContract<DropId, Vec<I>>,
    name: &str,
    key: impl Fn(&I) -> K + 'static,
    weight: impl Fn(&I) -> u64 + 'static,
    limit: u64,
) -> Flow<'s, Group<K, I>> {
    items.unary_frontier(pact, name, move |_capability, _info| {
        let mut drops: BTreeMap<DropId, Held<K, I>> = BTreeMap::new();
        let mut held = 0;
        move |(input, frontier), output| {
            input.for_each_time(|time, data| {
                let drop = drops.entry(*time.time()).or_insert_with(|| Held {
                    capability: time.retain(0),
                    groups: BTreeMap::new(),
                });
                for item in data.flat_map(|items| items.drain(..)) {
                    held += weight(&item);
                    let (items, bytes) = drop.groups.entry(key(&item)).or_default();
                    *bytes += weight(&item);
                    items.push(item);
                }
            });
            while held > limit {
                let Some((drop, key, bytes)) = heaviest(&drops) else {
                    break;
                };
                held -= bytes;
                let drop = drops
                    .get_mut(&drop)
                    .expect("invariant: the heaviest group belongs to a held drop");
                let (items, _) = drop
                    .groups
                    .remove(&key)
                    .expect("invariant: the heaviest group is held");
                output.session(&drop.capability).give(Group {
                    key,
                    items,
                    complete: false,
                });
            }
            while let Some(first) = drops
                .first_entry()
                .filter(|first| !frontier.less_equal(first.key()))
            {
                let Held { capability, groups } = first.remove();
                held -= groups.values().map(|(_, bytes)| bytes).sum::<u64>();
                let groups = groups.into_iter().map(|(key, (items, _))| Group {
                    key,
                    items,
                    complete: true,
                });
                output.session(&capability).give_iterator(groups);
            }
        }
    })
}

fn heaviest<K: Ord + Clone, I>(drops: &BTreeMap<DropId, Held<K, I>>) -> Option<(DropId, K, u64)> {
    let groups = drops.iter().flat_map(|(drop, held)| {
        held.groups
            .iter()
            .map(move |(key, (_, bytes))| (*drop, key, *bytes))
    });
    groups
        .max_by_key(|(_, _, bytes)| *bytes)
        .map(|(drop, key, bytes)| (drop, key.clone(), bytes))
}
