//! Whether a committed drop is still what was committed.
use std::{collections::BTreeMap, fmt};

use connectors::{Input, ListedDrop, etag::differ, ledger::Entry};
use serde::Serialize;

/// A drop whose objects are others than those that were committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The drop.
    pub drop: String,
    /// Its newest entry.
    pub sequence: u64,
    /// Objects that were replaced.
    pub replaced: Vec<String>,
    /// Objects that came.
    pub added: Vec<String>,
    /// Objects that are gone.
    pub removed: Vec<String>,
}

impl Changed {
    /// The objects of a drop of the catalog at `url` that differ from the committed drop, or `None` if nothing changed.
    pub fn since(entry: &Entry, listed_drop: &ListedDrop, url: &str) -> Option<Self> {
        // Another catalog, a copy say, gives other ETags to the same objects.
        let same_place = entry.settings["catalog"] == url;
        let mut inputs: BTreeMap<&str, &Input> = entry
            .inputs
            .iter()
            .map(|input| (input.path.as_str(), input))
            .collect();
        let mut changed = Self {
            drop: entry.drop.clone(),
            sequence: entry.sequence,
            replaced: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
        };
        for object in &listed_drop.objects {
            let Some(input) = inputs.remove(object.path.as_str()) else {
                changed.added.push(object.path.clone());
                continue;
            };
            let etags = object.etag.as_ref().zip(input.etag.as_ref());
            let other_etag = same_place && etags.is_some_and(|(now, then)| differ(now, then));
            if other_etag || object.bytes != input.bytes {
                changed.replaced.push(object.path.clone());
            }
        }
        changed.removed = inputs.into_keys().map(str::to_owned).collect();
        let kinds = [&changed.replaced, &changed.added, &changed.removed];
        let is_as_it_was = kinds.into_iter().all(Vec::is_empty);
        (!is_as_it_was).then_some(changed)
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("replaced", &self.replaced),
            ("added", &self.added),
            ("removed", &self.removed),
        ];
        let kinds = kinds.into_iter().filter_map(|(what, objects)| {
            let first = objects.first()?;
            Some(match objects.len() {
                1 => format!("{first} was {what}"),
                count => format!("{count} objects were {what}, as {first}"),
            })
        });
        let (drop, what) = (&self.drop, kinds.collect::<Vec<_>>().join("; "));
        write!(
            f,
            "drop {drop} changed after it was committed as {} ({what}); run --drop {drop} --again takes it in again",
            self.sequence
        )
    }
}
