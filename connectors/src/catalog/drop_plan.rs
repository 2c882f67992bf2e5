//! What a run knows of a drop before it reads rows: its objects, its types and its splits.
use serde::{Deserialize, Serialize};

use crate::{
    catalog::split::Splits,
    galaxy::{FileKind, IdKind, KeptTypes, kept::UNTYPED},
    listing::drop_listing::DropListing,
};

/// Rows of a part: predictions of a drop are written in as many files as its rows need.
pub const PART_ROWS: u64 = 1_000_000;
/// An object of a drop, with the rows its footer promises.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Where it lies below the catalog.
    pub path: String,
    /// Its ETag; where the store gives none, its date.
    pub etag: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The value of the key `origin` in the metadata of the schema. Sample surveys set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A drop, ready to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropPlan {
    /// Its name.
    pub name: String,
    /// This attempt at it: where the results are staged.
    pub attempt: String,
    /// The number the ledger was at when the attempt began.
    pub began: u64,
    /// Whether it is to be predicted, or teaches the metrics alone.
    pub kind: FileKind,
    /// The type of its `object_id`, or `None` if the drop has no objects.
    pub id_kind: Option<IdKind>,
    /// The types of its kept columns.
    #[serde(default)]
    pub keep: KeptTypes,
    /// Its objects, in the byte order of their paths.
    pub inputs: Vec<Input>,
    /// Files of it that are not read, by their paths below the catalog.
    pub ignored: Vec<String>,
    /// The number of rows to read.
    pub rows: u64,
    /// The number of parts in which its predictions are written.
    pub parts: u32,
    /// Why it cannot be read: it is settled as failed.
    pub failure: Option<String>,
    /// Its rows, cut.
    #[serde(skip)]
    pub splits: Splits,
}

impl DropPlan {
    /// A drop that cannot be read, found when the ledger was at `began`.
    pub fn failed(drop: &DropListing, attempt: &str, began: u64, failure: String) -> Self {
        Self {
            failure: Some(failure),
            ..Self::empty(drop, attempt, began)
        }
    }

    /// A drop that has an entry already, of this number: there is nothing to read, and it is settled as overtaken.
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

    /// The kept columns whose types no file of the drop says.
    pub fn untyped(&self) -> Vec<String> {
        let untyped = self.keep.iter().filter(|(_, known)| *known == UNTYPED);
        untyped.map(|(name, _)| name.clone()).collect()
    }

    /// Gives kept columns that have no type in this drop those that they have elsewhere.
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
