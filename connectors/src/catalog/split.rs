//! Cuts the rows of a drop into splits of about `--split-bytes`, from the footers alone.
//!
//! A split is the unit of reading, batching and retrying. Where a file is cut depends only on the file and the settings.
//! So the batches of the model depend only on them too, and with the batches the last bits of the predictions.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    file::cut::{Cut, Place, RowGroupShape},
    galaxy::{FileKind, KeptTypes},
    store::object_ref::ObjectRef,
};

/// A run of rows of one object, on its way to the worker that reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// The drop the rows belong to.
    pub drop: String,
    /// The name of the attempt, under which the results are staged.
    pub attempt: String,
    /// The number the ledger was at when the attempt began.
    pub began: u64,
    /// Its place among the drop's splits.
    pub number: u64,
    /// Whether the rows are predicted, or are only spec-z for the metrics.
    pub kind: FileKind,
    /// The number of parts in which the drop's predictions are written.
    pub parts: u32,
    /// The types of the drop's kept columns.
    #[serde(default)]
    pub keep: KeptTypes,
    /// The object.
    pub object: ObjectRef,
    /// The place of the object among the drop's objects. If an `object_id` comes twice, the earlier object wins.
    pub object_index: u32,
    /// The place of the rows in the object.
    pub cut: Cut,
}

/// The splits of a drop, in order, each cut when it is asked for: a drop may have millions of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Splits {
    of: Arc<Source>,
    /// The object that is cut, and how far.
    object: usize,
    place: Place,
    number: u64,
    /// The number of rows that may still be taken, if the rows are limited.
    left: Option<u64>,
}

/// The objects of a drop, and the settings by which they are cut.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The drop.
    pub drop: String,
    /// The attempt at it.
    pub attempt: String,
    /// The number the ledger was at when the attempt began.
    pub began: u64,
    /// What its rows are for.
    pub kind: FileKind,
    /// The number of parts in which the predictions are written.
    pub parts: u32,
    /// The types of its kept columns.
    pub keep: KeptTypes,
    /// Its objects, and their row groups.
    pub objects: Vec<(ObjectRef, Vec<RowGroupShape>)>,
    /// Decoded bytes of a split.
    pub split_bytes: u64,
    /// Rows that the model takes at a time.
    pub batch: usize,
}

impl Splits {
    /// The splits of all that `source` has.
    pub fn new(source: Source) -> Self {
        Self {
            of: Arc::new(source),
            ..Self::default()
        }
    }

    /// The objects and settings from which the splits are made.
    pub fn source(&self) -> &Source {
        &self.of
    }

    /// Sets the types of kept columns.
    pub fn know(&mut self, keep: &KeptTypes) {
        Arc::make_mut(&mut self.of).keep.clone_from(keep);
    }

    /// Ends after this number of rows.
    pub fn limit(&mut self, rows: u64) {
        self.left = Some(rows);
    }

    /// Skips the rest of an object after a split of it failed, so that the object fails once and not once for each split.
    pub fn skip_object(&mut self, index: u32) {
        if self.object == index as usize {
            (self.object, self.place) = (self.object + 1, Place::default());
        }
    }
}

impl Iterator for Splits {
    type Item = Split;

    fn next(&mut self) -> Option<Split> {
        if self.left == Some(0) {
            return None;
        }
        loop {
            let of = &self.of;
            let (object, groups) = of.objects.get(self.object)?;
            let Some(mut cut) = self.place.next(groups, of.split_bytes, of.batch) else {
                (self.object, self.place) = (self.object + 1, Place::default());
                continue;
            };
            if let Some(left) = &mut self.left {
                let taken = (*left).min(cut.rows.len() as u64);
                cut.rows.end = cut.rows.start + taken as usize;
                *left -= taken;
            }
            let number = self.number;
            self.number += 1;
            return Some(Split {
                drop: of.drop.clone(),
                attempt: of.attempt.clone(),
                began: of.began,
                number,
                kind: of.kind,
                parts: of.parts,
                keep: of.keep.clone(),
                object: object.clone(),
                object_index: self.object as u32,
                cut,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::file::cut;

    fn shapes() -> impl Strategy<Value = Vec<RowGroupShape>> {
        let shape = (0_usize..3000, 1_u64..50_000, any::<bool>()).prop_map(
            |(rows, row_bytes, seekable)| RowGroupShape {
                rows,
                decoded_bytes: rows as u64 * row_bytes,
                seekable,
            },
        );
        prop::collection::vec(shape, 0..12)
    }

    #[test]
    fn the_first_split_of_an_endless_row_group_comes_at_once() {
        let group = RowGroupShape {
            rows: 1 << 50,
            decoded_bytes: u64::MAX,
            seekable: true,
        };
        let object = ObjectRef {
            path: "a.parquet".to_owned(),
            etag: None,
            bytes: 1,
        };
        let mut splits = Splits::new(Source {
            objects: vec![(object.clone(), vec![group]), (object, vec![group])],
            split_bytes: 1 << 20,
            batch: 128,
            ..Source::default()
        });
        assert_eq!(splits.next().map(|split| split.cut.rows.start), Some(0));
        splits.skip_object(0);
        let next = splits.next();
        assert_eq!(
            next.map(|split| (split.number, split.object_index)),
            Some((1, 1))
        );
    }

    proptest! {
        #[test]
        fn every_row_lies_in_one_split(groups in shapes(), split_bytes in 1_u64..40_000_000, batch in 1_usize..2000) {
            let mut seen: Vec<Vec<u8>> = groups.iter().map(|group| vec![0; group.rows]).collect();
            for cut in cut::cut(&groups, split_bytes, batch) {
                let mut rows = cut.rows.clone();
                prop_assert!(cut.chunk_rows >= 1 && !rows.is_empty());
                for group in cut.row_groups {
                    let here = rows.start.min(groups[group].rows)..rows.end.min(groups[group].rows);
                    seen[group][here].iter_mut().for_each(|times| *times += 1);
                    rows = rows.start.saturating_sub(groups[group].rows)..rows.end.saturating_sub(groups[group].rows);
                }
                prop_assert!(rows.is_empty(), "a split reaches beyond its row groups");
            }
            prop_assert!(seen.iter().flatten().all(|&times| times == 1));
        }

        #[test]
        fn a_run_of_row_groups_keeps_to_the_size(groups in shapes(), split_bytes in 1_u64..40_000_000) {
            for cut in cut::cut(&groups, split_bytes, 128) {
                if cut.row_groups.len() > 1 {
                    prop_assert!(groups[cut.row_groups].iter().map(|group| group.decoded_bytes).sum::<u64>() <= split_bytes);
                }
            }
        }
    }
}
