//! Which rows are current: of each object the last, found in bounded memory.
//!
//! ```text
//! ids of all files ── those with keys in a range ── sorted by (id, row) ── of each object all rows but the last are cleared
//! ```
//! Rows are numbered through all files, in the order in which they supersede each other: by the names of their drops. A
//! pass reads the ids of all files and holds those from a key on. If they outgrow the bound, it lets go of the upper half of
//! those it holds, and a later pass takes them. Ids are compared as they are: the key of an integer is a permutation of it, and
//! strings are kept beside their hash.
use std::ops::RangeInclusive;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int64Type, UInt64Type},
};
use connectors::{Output, part::id_hash};
use futures::TryStreamExt;

use super::source::{Source, misread};
use crate::Error;

/// One bit a row: whether it is current.
pub(super) struct CurrentRows(Vec<u64>);

impl CurrentRows {
    fn all(rows: u64) -> Self {
        Self(vec![u64::MAX; rows.div_ceil(64) as usize])
    }

    fn clear(&mut self, row: u64) {
        self.0[(row / 64) as usize] &= !(1 << (row % 64));
    }

    /// Whether no later row is of the same object.
    pub(super) fn holds(&self, row: u64) -> bool {
        self.0[(row / 64) as usize] >> (row % 64) & 1 == 1
    }
}

/// Finds the current rows of files. The ids in memory take `bytes_max`, and the answer a bit for each row.
pub(super) async fn current_rows(
    output: &Output,
    files: &[Source],
    bytes_max: usize,
) -> Result<CurrentRows, Error> {
    let rows = files.last().map_or(0, |file| file.first_row + file.rows);
    let mut current = CurrentRows::all(rows);
    let mut first = 0;
    loop {
        let mut ids = Ids::new(first..=u64::MAX, rows, bytes_max);
        for file in files {
            ids.read(output, file, &mut current).await?;
        }
        ids.settle(&mut current);
        first = match ids.range.end().checked_add(1) {
            Some(next) => next,
            None => return Ok(current),
        };
    }
}

/// A row by its object.
#[derive(Clone, Copy)]
struct Slot {
    key: u64,
    row: u64,
    /// Where the id begins, if ids are strings.
    text_at: u64,
}

/// The ids in a range of keys.
struct Ids {
    range: RangeInclusive<u64>,
    slots: Vec<Slot>,
    /// Strings, each behind its length in four bytes; the first is empty, and stands for all integers.
    texts: Vec<u8>,
    bytes_max: usize,
}

impl Ids {
    fn new(range: RangeInclusive<u64>, rows: u64, bytes_max: usize) -> Self {
        let slots = (bytes_max / size_of::<Slot>()).min(rows as usize);
        Self {
            range,
            slots: Vec::with_capacity(slots),
            texts: vec![0; 4],
            bytes_max,
        }
    }

    /// Adds the ids of a file.
    async fn read(
        &mut self,
        output: &Output,
        file: &Source,
        current: &mut CurrentRows,
    ) -> Result<(), Error> {
        let rows = file
            .file
            .open(output)
            .await?
            .read(&["object_id"], |_| true)?;
        let (mut rows, mut row) = (std::pin::pin!(rows), file.first_row);
        while let Some(batch) = rows.try_next().await? {
            self.add(&batch, row)
                .map_err(|reason| misread(output, &file.file, reason))?;
            row += batch.num_rows() as u64;
            if self.bytes() > self.bytes_max {
                self.make_room(current);
            }
        }
        file.check_end(output, row)
    }

    fn add(&mut self, batch: &RecordBatch, first_row: u64) -> Result<(), &'static str> {
        let ids = batch
            .column_by_name("object_id")
            .ok_or("there is no column object_id")?;
        if let Some(ids) = ids.as_primitive_opt::<Int64Type>() {
            let ids = ids.values().iter().map(|&id| id as u64);
            self.add_integers(ids, first_row);
        } else if let Some(ids) = ids.as_primitive_opt::<UInt64Type>() {
            self.add_integers(ids.values().iter().copied(), first_row);
        } else if let Some(texts) = ids.as_string_opt::<i32>() {
            for place in 0..texts.len() {
                let key = id_hash(texts, place);
                if self.range.contains(&key) {
                    let text_at = self.texts.len() as u64;
                    push_text(&mut self.texts, texts.value(place).as_bytes());
                    let row = first_row + place as u64;
                    self.slots.push(Slot { key, row, text_at });
                }
            }
        } else {
            return Err("object_id is neither an integer nor a string");
        }
        Ok(())
    }

    fn add_integers(&mut self, ids: impl Iterator<Item = u64>, first_row: u64) {
        let keys = ids.map(permuted).zip(first_row..);
        let within = keys.filter(|(key, _)| self.range.contains(key));
        self.slots.extend(within.map(|(key, row)| Slot {
            key,
            row,
            text_at: 0,
        }));
    }

    /// What it takes, with the copy of the texts that [`Ids::settle`] makes.
    fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + 2 * self.texts.len()
    }

    fn text(&self, slot: &Slot) -> &[u8] {
        let (len, rest) = self.texts[slot.text_at as usize..].split_at(4);
        let len = u32::from_le_bytes(len.try_into().expect("the length has four bytes"));
        &rest[..len as usize]
    }

    /// Sorts the rows by their objects, and lets go of those that are superseded.
    fn settle(&mut self, current: &mut CurrentRows) {
        let mut slots = std::mem::take(&mut self.slots);
        let order = |a: &Slot, b: &Slot| {
            let ids = a.key.cmp(&b.key);
            let ids = ids.then_with(|| self.text(a).cmp(self.text(b)));
            ids.then(a.row.cmp(&b.row))
        };
        slots.sort_unstable_by(order);
        let mut kept = 0;
        for place in 0..slots.len() {
            let slot = slots[place];
            let next = slots.get(place + 1);
            if next.is_some_and(|next| next.key == slot.key && self.text(next) == self.text(&slot))
            {
                current.clear(slot.row);
            } else {
                slots[kept] = slot;
                kept += 1;
            }
        }
        slots.truncate(kept);
        self.slots = slots;
        self.drop_texts();
    }

    /// Drops the texts of no row.
    fn drop_texts(&mut self) {
        let mut texts = vec![0; 4];
        let mut slots = std::mem::take(&mut self.slots);
        for slot in slots.iter_mut().filter(|slot| slot.text_at > 0) {
            let text_at = texts.len() as u64;
            push_text(&mut texts, self.text(slot));
            slot.text_at = text_at;
        }
        (self.slots, self.texts) = (slots, texts);
    }

    /// Lets go of superseded rows, and of the upper half of the objects until half of the bound is free, or a single object
    /// is left.
    fn make_room(&mut self, current: &mut CurrentRows) {
        self.settle(current);
        while self.bytes() > self.bytes_max / 2 && self.slots.len() > 1 {
            let last = self.slots[self.slots.len() / 2 - 1].key;
            let within = self.slots.partition_point(|slot| slot.key <= last);
            if within == self.slots.len() {
                // Strings of one hash stay together.
                return;
            }
            self.slots.truncate(within);
            self.drop_texts();
            self.range = *self.range.start()..=last;
        }
    }
}

fn push_text(texts: &mut Vec<u8>, text: &[u8]) {
    texts.extend((text.len() as u32).to_le_bytes());
    texts.extend(text);
}

/// The finalizer of SplitMix64: a permutation, so no two ids have one key, and each pass meets keys of its range in all files.
fn permuted(id: u64) -> u64 {
    let id = (id ^ id >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let id = (id ^ id >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    id ^ id >> 31
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use arrow::array::{ArrayRef, StringArray, UInt64Array};
    use proptest::prelude::*;

    use super::*;

    /// The rows that passes over these ids find current with this much memory, and the number of passes.
    fn found(ids: &ArrayRef, bytes_max: usize) -> (Vec<usize>, usize) {
        let rows = ids.len() as u64;
        let (mut current, mut first, mut passes) = (CurrentRows::all(rows), 0, 0);
        loop {
            passes += 1;
            let mut held = Ids::new(first..=u64::MAX, rows, bytes_max);
            for (number, from) in (0..ids.len()).step_by(10).enumerate() {
                let ids = ids.slice(from, 10.min(ids.len() - from));
                let batch = RecordBatch::try_from_iter([("object_id", ids)]).unwrap();
                held.add(&batch, 10 * number as u64).unwrap();
                if held.bytes() > bytes_max {
                    held.make_room(&mut current);
                }
            }
            held.settle(&mut current);
            match held.range.end().checked_add(1) {
                Some(next) => first = next,
                None => break,
            }
        }
        let rows = (0..ids.len()).filter(|&row| current.holds(row as u64));
        (rows.collect(), passes)
    }

    fn last_rows<T: std::hash::Hash + Eq>(ids: &[T]) -> Vec<usize> {
        let last: HashMap<&T, usize> = ids.iter().zip(0..).collect();
        let mut last: Vec<usize> = last.into_values().collect();
        last.sort_unstable();
        last
    }

    proptest! {
        #[test]
        fn the_last_row_of_each_object_is_current_whatever_the_bound(
            ids in proptest::collection::vec(prop_oneof![0_u64..40, any::<u64>()], 1..400),
            bytes_max in 0_usize..12_000,
        ) {
            let array: ArrayRef = Arc::new(UInt64Array::from(ids.clone()));
            prop_assert_eq!(found(&array, bytes_max).0, last_rows(&ids));
            let texts: Vec<String> = ids.iter().map(|id| format!("object {id}")).collect();
            let array: ArrayRef = Arc::new(StringArray::from(texts.clone()));
            prop_assert_eq!(found(&array, bytes_max).0, last_rows(&texts));
        }
    }

    #[test]
    fn objects_that_do_not_fit_are_left_to_later_passes() {
        let ids: ArrayRef = Arc::new(UInt64Array::from_iter_values(0..1000));
        let (rows, passes) = found(&ids, 4000);
        assert_eq!(rows.len(), 1000);
        assert!((6..=16).contains(&passes), "{passes} passes");
        // Corrections of one object take no room.
        let ids: ArrayRef = Arc::new(UInt64Array::from(vec![7; 1000]));
        assert_eq!(found(&ids, 4000), (vec![999], 1));
    }

    /// Objects were told apart by a hash of 64 bits alone: of ten billion strings, two or three would have vanished.
    #[test]
    fn strings_with_one_hash_are_two_objects() {
        let mut ids = Ids::new(0..=u64::MAX, 3, 1000);
        for (row, text) in [(0, "a"), (1, "b"), (2, "a")] {
            let text_at = ids.texts.len() as u64;
            push_text(&mut ids.texts, text.as_bytes());
            ids.slots.push(Slot {
                key: 5,
                row,
                text_at,
            });
        }
        let mut current = CurrentRows::all(3);
        ids.settle(&mut current);
        assert_eq!([0, 1, 2].map(|row| current.holds(row)), [false, true, true]);
    }
}
