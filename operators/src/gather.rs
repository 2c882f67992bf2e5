//! Collects items by key until their drop is complete.
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
}

struct Held<K, I> {
    capability: Capability<DropId>,
    groups: BTreeMap<K, Vec<I>>,
}

/// Emits the items of each key as one group when their drop is complete.
///
/// ```
/// use hubbleflow_operators::gather::gather;
/// use timely::dataflow::{channels::pact::Pipeline, operators::{Inspect, ToStream}};
///
/// timely::example(|scope| {
///     let words = ["dust", "dawn", "star"].to_stream(scope).container::<Vec<_>>();
///     gather(words, Pipeline, "Initials", |word| word.chars().next()).inspect(|group| {
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
) -> Flow<'s, Group<K, I>> {
    items.unary_frontier(pact, name, move |_capability, _info| {
        let mut drops: BTreeMap<DropId, Held<K, I>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_time(|time, data| {
                let drop = drops.entry(*time.time()).or_insert_with(|| Held {
                    capability: time.retain(0),
                    groups: BTreeMap::new(),
                });
                for item in data.flat_map(|items| items.drain(..)) {
                    drop.groups.entry(key(&item)).or_default().push(item);
                }
            });
            while let Some(first) = drops
                .first_entry()
                .filter(|first| !frontier.less_equal(first.key()))
            {
                let Held { capability, groups } = first.remove();
                let groups = groups.into_iter();
                let groups = groups.map(|(key, items)| Group { key, items });
                output.session(&capability).give_iterator(groups);
            }
        }
    })
}
