//! The rows that a worker keeps, and their quantiles.
//!
//! Quantiles lie beside the rows in one allocation an entry, in the order of the rows. Rows of models without quantiles
//! take no room for them.
use super::{
    quantiles::StoredQuantiles,
    row::{CommittedRow, ObjectKey},
};
use crate::metrics::Distribution;

/// A row, with the key of its object.
pub type KeyedRow = (ObjectKey, CommittedRow);

/// The place of the quantiles of a row that has none.
const NOWHERE: u32 = u32::MAX;

/// Rows of any entries in any order.
#[derive(Debug, Default)]
pub struct FreshRows {
    /// Each row, and where its quantiles begin.
    rows: Vec<(KeyedRow, u32)>,
    quantiles: Vec<f32>,
}

impl FreshRows {
    /// Adds a row, and its quantiles if it has some.
    pub fn push(&mut self, row: KeyedRow, quantiles: &[f32]) {
        let place = match quantiles {
            [] => NOWHERE,
            _ => u32::try_from(self.quantiles.len())
                .expect("invariant: a change has less than four billion quantiles in a worker"),
        };
        self.quantiles.extend_from_slice(quantiles);
        self.rows.push((row, place));
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &KeyedRow> {
        self.rows.iter().map(|(row, _)| row)
    }

    /// Sorts the rows by entry and object. Of rows of one entry and object one is kept; so are those that `are_new`.
    pub fn sort(&mut self, are_new: impl Fn(&KeyedRow) -> bool) {
        let by = |((key, row), _): &(KeyedRow, u32)| (row.entry, *key);
        self.rows.sort_unstable_by_key(by);
        self.rows.dedup_by_key(|row| by(row));
        self.rows.retain(|(row, _)| are_new(row));
    }

    /// The sorted rows of each entry.
    pub fn by_entry(&self) -> impl Iterator<Item = (u32, FreshOfEntry<'_>)> {
        let same = |((_, one), _): &(KeyedRow, u32), ((_, next), _): &(KeyedRow, u32)| {
            one.entry == next.entry
        };
        let chunks = self.rows.chunk_by(same);
        chunks.map(|rows| {
            let quantiles = &self.quantiles;
            (rows[0].0.1.entry, FreshOfEntry { rows, quantiles })
        })
    }
}

/// Rows of one entry, sorted by object.
#[derive(Clone, Copy, Debug)]
pub struct FreshOfEntry<'a> {
    rows: &'a [(KeyedRow, u32)],
    quantiles: &'a [f32],
}

/// The rows of an entry that are kept, sorted by object.
#[derive(Debug, Default)]
pub struct HeldRows {
    rows: Vec<KeyedRow>,
    stored: StoredQuantiles,
    /// The quantiles of each row. NaN stands for those of a row without quantiles.
    quantiles: Vec<f32>,
}

impl HeldRows {
    /// No rows yet. Their quantiles are stored in this way.
    pub fn new(stored: StoredQuantiles) -> Self {
        Self {
            stored,
            ..Self::default()
        }
    }

    /// Adds rows, which are not among the held rows.
    pub fn add(&mut self, fresh: FreshOfEntry<'_>) {
        let added = fresh.rows.iter().map(|(row, _)| *row);
        if self.stored.width() > 0 {
            self.merge_quantiles(fresh);
        }
        self.rows.reserve_exact(fresh.rows.len());
        self.rows.extend(added);
        self.rows.sort_unstable_by_key(|(key, _)| *key);
    }

    /// Puts the quantiles of added rows between those of the held rows, by object.
    fn merge_quantiles(&mut self, fresh: FreshOfEntry<'_>) {
        let width = self.stored.width();
        let none = vec![f32::NAN; width];
        let mut merged = Vec::with_capacity(self.quantiles.len() + width * fresh.rows.len());
        let held = self.rows.iter().zip(self.quantiles.chunks_exact(width));
        let mut held = held.peekable();
        for ((key, _), place) in fresh.rows {
            while let Some((_, of_held)) = held.next_if(|((held, _), _)| held < key) {
                merged.extend_from_slice(of_held);
            }
            merged.extend_from_slice(match *place {
                NOWHERE => &none,
                place => &fresh.quantiles[place as usize..][..width],
            });
        }
        held.for_each(|(_, of_held)| merged.extend_from_slice(of_held));
        self.quantiles = merged;
    }

    /// The rows.
    pub fn rows(&self) -> &[KeyedRow] {
        &self.rows
    }

    /// Whether the rows have quantiles.
    pub fn has_quantiles(&self) -> bool {
        self.stored.width() > 0
    }

    /// Whether a row of this object is held.
    pub fn holds(&self, key: ObjectKey) -> bool {
        self.place(key).is_some()
    }

    fn place(&self, key: ObjectKey) -> Option<usize> {
        self.rows.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    /// The distribution of the redshift of an object, if its row has quantiles.
    pub fn distribution(&self, key: ObjectKey) -> Option<Distribution<'_>> {
        let width = self.stored.width();
        if width == 0 {
            return None;
        }
        let values = &self.quantiles[self.place(key)? * width..][..width];
        let is_there = values.iter().any(|value| !value.is_nan());
        is_there.then(|| self.stored.distribution(values))
    }
}
