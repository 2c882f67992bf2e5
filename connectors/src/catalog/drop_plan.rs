//! The plan of a drop, made before rows are read: its objects, its types and its splits.
use serde::{Deserialize, Serialize};

use crate::{
    catalog::split::Splits,
    galaxy::{FileKind, IdKind, KeptTypes, kept::UNTYPED},
    listing::drop_listing::DropListing,
};

/// The number of rows in a part. The predictions of a drop are written in as many parts as its rows need.
pub const PART_ROWS: u64 = 1_000_000;
/// An object of a drop, with the rows its footer promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The path below the catalog.
    pub path: String,
    /// The ETag, or the date if the store gives no ETag.
    pub etag: Option<String>,
    /// The size.
    pub bytes: u64,
    /// The number of rows.
    pub rows: u64,
    /// The value of the key `origin` in the metadata of the schema. Sample surveys set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A drop, ready to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropPlan {
    /// The name of the drop.
    pub name: String,
    /// The name of the attempt, under which the results are staged.
    pub attempt: String,
    /// The number the ledger was at when the attempt began.
    pub began: u64,
    /// Whether the rows are predicted or are only spec-z for the metrics.
    pub kind: FileKind,
    /// The type of `object_id`, or `None` if the drop has no objects.
    pub id_kind: Option<IdKind>,
    /// The types of the kept columns.
    #[serde(default)]
    pub keep: KeptTypes,
    /// The objects of the drop, in the byte order of their paths.
    pub inputs: Vec<Input>,
    /// Files of the drop that are not read, by their paths below the catalog.
    pub ignored: Vec<String>,
    /// The number of rows to read.
    pub rows: u64,
    /// The number of parts in which its predictions are written.
    pub parts: u32,
    /// Why the drop cannot be read. Such a drop is settled as failed.
    pub failure: Option<String>,
    /// The rows, cut into splits.
    #[serde(skip)]
    pub splits: Splits,
}

impl DropPlan {
    /// Plans a drop that cannot be read. The ledger was at `began` when this was found.
    pub fn failed(drop: &DropListing, attempt: &str, began: u64, failure: String) -> Self {
        Self {
            failure: Some(failure),
            ..Self::empty(drop, attempt, began)
        }
    }

    /// Plans a drop that is committed already, by the entry `sequence`. Nothing is read, and the drop is settled as overtaken.
    pub fn overtaken(drop: &DropListing, attempt: &str, sequence: u64) -> Self {
        Self::empty(drop, attempt, sequence)
    }

    fn empty(drop: &DropListing, attempt: &str, began: u64) -> Self {
        Self {
            name: drop.name.clone(),
            attempt: attempt.to_owned(),
            began,
            kind: FileKind::Galaxies,
            id_kind: None,
            keep: KeptTypes::new(),
            inputs: Vec::new(),
            ignored: Vec::new(),
            rows: 0,
            parts: 1,
            failure: None,
            splits: Splits::default(),
        }
    }

    /// The kept columns that have a type in no file of the drop.
    pub fn untyped(&self) -> Vec<String> {
        let untyped = self.keep.iter().filter(|(_, known)| *known == UNTYPED);
        untyped.map(|(name, _)| name.clone()).collect()
    }

    /// Sets the types of kept columns that have no type in this drop.
    pub fn know(&mut self, types: &KeptTypes) {
        for name in self.untyped() {
            if let Some(known) = types.get(&name) {
                self.keep.insert(name, known.clone());
            }
        }
        self.splits.know(&self.keep);
    }

    /// Limits the plan to the first `rows` rows.
    pub fn limit(&mut self, rows: u64) {
        self.rows = rows.min(self.rows);
        self.splits.limit(self.rows);
    }
}
