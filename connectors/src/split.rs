//! Splits: a drop's rows cut into runs of about `--split-bytes`, from the footers alone.
//!
//! A split is the unit of reading, batching and retrying. Where a file is cut depends on the file and the
//! settings alone, so the batches of the model, and with them the last bits of its answers, do too.
use std::ops::Range;

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
#[derive(Clone, Copy, Debug)]
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
/// use connectors::split::{RowGroupShape, cut};
/// let small = RowGroupShape { rows: 100, decoded_bytes: 2_000_000, seekable: false };
/// let large = RowGroupShape { rows: 5_000, decoded_bytes: 100_000_000, seekable: true };
/// let cuts = cut(&[small, small, large], 25_000_000, 128);
/// assert_eq!(cuts.iter().map(|cut| cut.rows.clone()).collect::<Vec<_>>(), [0..200, 0..1152, 1152..2304, 2304..3456, 3456..4608, 4608..5000]);
/// ```
pub fn cut(row_groups: &[RowGroupShape], split_bytes: u64, batch: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut run: Option<(Cut, u64)> = None;
    for (index, group) in row_groups.iter().enumerate() {
        if group.rows == 0 {
            continue;
        }
        if let Some((cut, bytes)) = &mut run
            && *bytes + group.decoded_bytes <= split_bytes
        {
            cut.row_groups.end = index + 1;
            cut.rows.end += group.rows;
            cut.chunk_rows += group.rows;
            *bytes += group.decoded_bytes;
            continue;
        }
        cuts.extend(run.take().map(|(cut, _)| cut));
        if group.decoded_bytes <= split_bytes {
            let row_groups = index..index + 1;
            let cut = Cut {
                row_groups,
                rows: 0..group.rows,
                chunk_rows: group.rows,
                streamed: false,
            };
            run = Some((cut, group.decoded_bytes));
        } else {
            cuts.extend(cut_row_group(index, group, split_bytes, batch));
        }
    }
    cuts.extend(run.map(|(cut, _)| cut));
    cuts
}

/// Cuts one row group into equal runs of rows.
fn cut_row_group(index: usize, group: &RowGroupShape, split_bytes: u64, batch: usize) -> Vec<Cut> {
    let pieces =
        usize::try_from(group.decoded_bytes.div_ceil(split_bytes.max(1))).unwrap_or(group.rows);
    let fit = group.rows.div_ceil(pieces.clamp(1, group.rows));
    let chunk_rows = if fit < batch { fit } else { fit - fit % batch };
    let row_groups = index..index + 1;
    if !group.seekable {
        return vec![Cut {
            row_groups,
            rows: 0..group.rows,
            chunk_rows,
            streamed: true,
        }];
    }
    (0..group.rows)
        .step_by(chunk_rows)
        .map(|first| Cut {
            row_groups: row_groups.clone(),
            rows: first..(first + chunk_rows).min(group.rows),
            chunk_rows,
            streamed: false,
        })
        .collect()
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
