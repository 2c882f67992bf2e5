//! An index of a ledger, to find entries by drop and by attempt without a search of the whole ledger.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    galaxy::{IdKind, kept::UNTYPED},
    ledger::entry::{Entry, EntryKind},
};

/// The entries in the order of their numbers, and indexes of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LedgerIndex {
    entries: Vec<Entry>,
    /// The places of the entries of each committed drop, the oldest first.
    by_drop: HashMap<String, Vec<usize>>,
    /// The place of the first entry of each attempt.
    by_attempt: HashMap<String, usize>,
    /// The type of the ids of each drop that has ids, by the place of the drop's newest entry.
    ids: BTreeMap<usize, IdKind>,
    /// For each kept column, the places of the newest entries of drops that have values of the column.
    kept: HashMap<String, BTreeSet<usize>>,
}

impl LedgerIndex {
    /// Appends an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        let place = self.entries.len();
        self.by_attempt
            .entry(entry.attempt.clone())
            .or_insert(place);
        if entry.kind == EntryKind::Drop {
            let places = self.by_drop.entry(entry.drop.clone()).or_default();
            let before = places.last().copied();
            places.push(place);
            if let Some(before) = before {
                self.forget(before);
            }
            self.ids.extend(entry.object_id.map(|kind| (place, kind)));
            for (column, _) in entry.keep.iter().filter(|(_, kind)| *kind != UNTYPED) {
                self.kept.entry(column.clone()).or_default().insert(place);
            }
        }
        self.entries.push(entry);
    }

    /// Removes an entry that is no longer the newest of its drop.
    fn forget(&mut self, place: usize) {
        self.ids.remove(&place);
        for column in self.entries[place].keep.keys() {
            if let Some(places) = self.kept.get_mut(column) {
                places.remove(&place);
            }
        }
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries that committed a drop, the oldest first.
    pub(crate) fn of_drop(&self, drop: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        let places = self.by_drop.get(drop).map_or(&[][..], Vec::as_slice);
        places.iter().map(|&place| &self.entries[place])
    }

    /// The first entry of an attempt.
    pub(crate) fn of_attempt(&self, attempt: &str) -> Option<&Entry> {
        let place = self.by_attempt.get(attempt)?;
        self.entries.get(*place)
    }

    /// The type of the ids of the first other drop that has ids, and the name of that drop.
    pub(crate) fn ids_of_others(&self, drop: &str) -> Option<(IdKind, &str)> {
        // A drop has one newest entry, so this loop ends after two entries.
        self.ids
            .iter()
            .map(|(&place, &kind)| (kind, self.entries[place].drop.as_str()))
            .find(|(_kind, other)| *other != drop)
    }

    /// The type of a kept column in the newest entry of another drop that has the column, and the name of that drop.
    pub(crate) fn kept_by_others(&self, drop: &str, column: &str) -> Option<(&str, &str)> {
        let places = self.kept.get(column)?.iter().rev();
        let mut others = places.map(|&place| &self.entries[place]);
        let other = others.find(|entry| entry.drop != drop)?;
        Some((other.keep.get(column)?, &other.drop))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn entry(drop: &str, attempt: &str, ids: Option<IdKind>) -> Entry {
        Entry {
            kind: EntryKind::Drop,
            drop: drop.to_owned(),
            object_id: ids,
            ..Entry::abandoned(attempt, "0")
        }
    }

    #[test]
    fn the_ids_of_a_drop_are_those_of_its_newest_entry() {
        let mut index = LedgerIndex::default();
        index.push(entry("a", "1", Some(IdKind::Int64)));
        assert_eq!(index.ids_of_others("a"), None);
        assert_eq!(index.ids_of_others("b"), Some((IdKind::Int64, "a")));
        index.push(entry("b", "2", None));
        index.push(entry("c", "3", Some(IdKind::String)));
        index.push(entry("a", "4", Some(IdKind::String)));
        assert_eq!(index.ids_of_others("a"), Some((IdKind::String, "c")));
        assert_eq!(index.ids_of_others("c"), Some((IdKind::String, "a")));
        // A drop that was committed again without ids has no type of ids.
        index.push(entry("a", "5", None));
        assert_eq!(index.ids_of_others("c"), None);
        let attempts: Vec<_> = index.of_drop("a").map(|entry| &*entry.attempt).collect();
        assert_eq!(attempts, ["1", "4", "5"]);
        assert_eq!(index.of_attempt("3").unwrap().drop, "c");
    }

    /// Regression: each of these calls searched the whole ledger, and `ids_of_others` searched it once for each entry.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test measures time")]
    fn no_question_about_a_drop_searches_the_ledger() {
        let mut index = LedgerIndex::default();
        for number in 0..20_000 {
            let name = format!("{number}");
            index.push(entry(&name, &name, None));
        }
        // All drops are committed again: none of the first 20,000 entries is the newest of its drop.
        for number in 0..20_000 {
            index.push(entry(
                &format!("{number}"),
                &format!("again-{number}"),
                Some(IdKind::Int64),
            ));
        }
        let began = Instant::now();
        for number in 0..20_000 {
            let name = format!("{number}");
            assert_eq!(
                index.of_drop(&name).next_back().unwrap().attempt,
                format!("again-{name}")
            );
            assert_eq!(index.of_attempt(&name).unwrap().drop, name);
            assert_eq!(index.ids_of_others(&name).unwrap().0, IdKind::Int64);
        }
        // By search it takes minutes; this takes milliseconds.
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    }
}
