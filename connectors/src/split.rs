//! Splits: a drop's rows cut into runs of about `--split-bytes`, from the footers alone.
//!
//! A split is the unit of reading, batching and retrying. Where a file is cut depends on the file and the
//! settings alone, so the batches of the model, and with them the last bits of its answers, do too.
use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::galaxy::{FileKind, KeptTypes};

/// An object as it was when its drop was listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Where it lies below the catalog.
    pub path: String,
    /// Its ETag, where the store gives one.
    pub etag: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// A run of rows of one object, on its way to the worker that reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// The drop the rows belong to.
    pub drop: String,
    /// The attempt at the drop that it belongs to: where the results are staged.
    pub attempt: String,
    /// Its place among the drop's splits.
    pub number: u64,
    /// Whether its rows are to be predicted, or teach the metrics alone.
    pub kind: FileKind,
    /// In how many parts the drop's predictions are written.
    pub parts: u32,
    /// The types of the drop's kept columns.
    #[serde(default)]
    pub keep: KeptTypes,
    /// The object.
    pub object: ObjectRef,
    /// The object's place among the drop's objects: an earlier one wins where an `object_id` comes twice.
    pub object_index: u32,
    /// Where in the object.
    pub cut: Cut,
}

/// Where a split lies in its object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The row groups it touches.
    pub row_groups: Range<usize>,
    /// Its rows, counted from the first of the first of these row groups.
    pub rows: Range<usize>,
    /// How many of its rows are decoded at a time: all, unless it is streamed.
    pub chunk_rows: usize,
    /// Whether its pages are fetched one after another: a large row group without an offset index.
    pub streamed: bool,
}

/// A row group as its footer describes it, in the columns that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowGroupShape {
    /// Rows.
    pub rows: usize,
    /// Bytes once decoded.
    pub decoded_bytes: u64,
    /// Whether an offset index tells where the pages of a row lie, so that a part can be fetched alone.
    pub seekable: bool,
}

/// Cuts an object into runs of about `split_bytes` decoded bytes: whole row groups together, or one row group by rows.
///
/// A row group that is cut is cut into whole batches of the model, where a split holds one: the last of them alone is
/// smaller. A large row group without an offset index stays one split, decoded in chunks: its pages can only be found one
/// after another.
///
/// ```
/// use hubbleflow_connectors::split::{RowGroupShape, cut};
/// let small = RowGroupShape { rows: 100, decoded_bytes: 2_000_000, seekable: false };
/// let large = RowGroupShape { rows: 5_000, decoded_bytes: 100_000_000, seekable: true };
/// let cuts = cut(&[small, small, large], 25_000_000, 128);
/// assert_eq!(cuts.iter().map(|cut| cut.rows.clone()).collect::<Vec<_>>(), [0..200, 0..1152, 1152..2304, 2304..3456, 3456..4608, 4608..5000]);
/// ```
pub fn cut(row_groups: &[RowGroupShape], split_bytes: u64, batch: usize) -> Vec<Cut> {
    let mut place = Place::default();
    std::iter::from_fn(|| place.next(row_groups, split_bytes, batch)).collect()
}

/// How far an object is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Place {
    group: usize,
    row: usize,
}

impl Place {
    /// The next cut of an object with these row groups.
    fn next(&mut self, groups: &[RowGroupShape], split_bytes: u64, batch: usize) -> Option<Cut> {
        while groups.get(self.group)?.rows == 0 {
            self.group += 1;
        }
        let (first, group) = (self.group, groups[self.group]);
        if group.decoded_bytes > split_bytes {
            return Some(self.next_of_group(&group, split_bytes, batch));
        }
        let (mut rows, mut bytes) = (0, 0_u64);
        let mut end = first;
        for (index, group) in groups.iter().enumerate().skip(first) {
            if group.rows == 0 {
                continue;
            }
            let with = bytes.saturating_add(group.decoded_bytes);
            if with > split_bytes {
                break;
            }
            (rows, bytes, end) = (rows + group.rows, with, index + 1);
        }
        self.group = end;
        Some(Cut {
            row_groups: first..end,
            rows: 0..rows,
            chunk_rows: rows,
            streamed: false,
        })
    }

    /// The next of the equal runs of rows of one row group.
    fn next_of_group(&mut self, group: &RowGroupShape, split_bytes: u64, batch: usize) -> Cut {
        let pieces =
            usize::try_from(group.decoded_bytes.div_ceil(split_bytes.max(1))).unwrap_or(group.rows);
        let fit = group.rows.div_ceil(pieces.clamp(1, group.rows));
        let chunk_rows = if fit < batch { fit } else { fit - fit % batch };
        let row_groups = self.group..self.group + 1;
        let rows = match group.seekable {
            true => self.row..self.row.saturating_add(chunk_rows).min(group.rows),
            false => 0..group.rows,
        };
        self.row = rows.end;
        if self.row == group.rows {
            (self.group, self.row) = (self.group + 1, 0);
        }
        Cut {
            row_groups,
            rows,
            chunk_rows,
            streamed: !group.seekable,
        }
    }
}

/// The splits of a drop, in order, each cut when it is asked for: a drop may have millions of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Splits {
    of: Arc<Source>,
    /// The object that is cut, and how far.
    object: usize,
    place: Place,
    number: u64,
    /// Rows that may still be taken, where not all are.
    left: Option<u64>,
}

/// What the splits of a drop are cut from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The drop.
    pub drop: String,
    /// The attempt at it.
    pub attempt: String,
    /// What its rows are for.
    pub kind: FileKind,
    /// In how many parts its predictions are written.
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

    /// What they are cut from.
    pub fn source(&self) -> &Source {
        &self.of
    }

    /// Reads kept columns as of these types.
    pub fn know(&mut self, keep: &KeptTypes) {
        Arc::make_mut(&mut self.of).keep.clone_from(keep);
    }

    /// Ends after this number of rows.
    pub fn limit(&mut self, rows: u64) {
        self.left = Some(rows);
    }

    /// Leaves out what is left of an object of which a split has failed, so that it fails once and not split by split.
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
            for cut in super::cut(&groups, split_bytes, batch) {
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
            for cut in super::cut(&groups, split_bytes, 128) {
                if cut.row_groups.len() > 1 {
                    prop_assert!(groups[cut.row_groups].iter().map(|group| group.decoded_bytes).sum::<u64>() <= split_bytes);
                }
            }
        }
    }
}
