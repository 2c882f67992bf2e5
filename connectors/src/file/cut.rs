//! Cuts an object into splits, by the sizes of its row groups.
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where a split lies in its object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cut {
    /// The row groups that the split touches.
    pub row_groups: Range<usize>,
    /// The rows of the split, counted from the first row of these row groups.
    pub rows: Range<usize>,
    /// The number of rows that are decoded at a time: all rows, unless the split is streamed.
    pub chunk_rows: usize,
    /// Whether pages are fetched one after another, as in a large row group without an offset index.
    pub streamed: bool,
}

/// The size of a row group according to the footer, in the columns that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowGroupShape {
    /// The number of rows.
    pub rows: usize,
    /// The size when decoded.
    pub decoded_bytes: u64,
    /// Whether an offset index gives the places of the pages, so that a part of the row group can be fetched.
    pub seekable: bool,
}

/// Cuts an object into runs of about `split_bytes` decoded bytes: whole row groups together, or one row group by rows.
///
/// If a split holds at least one batch of the model, a row group is cut into whole batches, and only the last one is
/// smaller. A large row group without an offset index stays one split and is decoded in chunks, because its pages can only
/// be found one after another.
///
/// ```
/// use hubbleflow_connectors::cut::{RowGroupShape, cut};
/// let small = RowGroupShape { rows: 100, decoded_bytes: 2_000_000, seekable: false };
/// let large = RowGroupShape { rows: 5_000, decoded_bytes: 100_000_000, seekable: true };
/// let cuts = cut(&[small, small, large], 25_000_000, 128);
/// assert_eq!(cuts.iter().map(|cut| cut.rows.clone()).collect::<Vec<_>>(), [0..200, 0..1152, 1152..2304, 2304..3456, 3456..4608, 4608..5000]);
/// ```
pub fn cut(row_groups: &[RowGroupShape], split_bytes: u64, batch: usize) -> Vec<Cut> {
    let mut place = Place::default();
    std::iter::from_fn(|| place.next(row_groups, split_bytes, batch)).collect()
}

/// How far an object is cut already.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Place {
    group: usize,
    row: usize,
}

impl Place {
    /// The next cut of an object with these row groups.
    pub(crate) fn next(
        &mut self,
        groups: &[RowGroupShape],
        split_bytes: u64,
        batch: usize,
    ) -> Option<Cut> {
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

    /// The next cut of a row group that is larger than a split. All cuts but the last have the same number of rows.
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
