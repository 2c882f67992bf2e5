//! One entry of the ledger. It commits a drop or abandons an attempt.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    catalog::drop_plan::Input,
    galaxy::{IdKind, KeptTypes},
    ledger::flag_counts::FlagCounts,
};

/// The newest format this engine writes and reads.
pub const FORMAT: u32 = 1;
/// The setting of an entry that says which band's magnitude its predictions have.
pub const REFERENCE_BAND: &str = "reference_band";
/// The key of the levels of quantiles in the settings of an entry; null if the model gives no quantiles.
pub const LEVELS: &str = "levels";
/// The key in the settings of an entry that says whether quantiles are stored.
pub const QUANTILES: &str = "quantiles";

/// The effect of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// Commits a drop with the listed files.
    Drop,
    /// Abandons an attempt. Its staged files will not be committed.
    Abandoned,
}

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the format. It rises when the meaning of a field changes.
    pub format: u32,
    /// The number of the entry, from 1.
    pub sequence: u64,
    /// The effect of the entry.
    pub kind: EntryKind,
    /// The attempt that staged the files.
    pub attempt: String,
    /// The drop. It is empty if the attempt was abandoned.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub drop: String,
    /// The full id of the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// The version of the engine.
    pub engine: String,
    /// The settings that change results.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// The type of `object_id` in this drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<IdKind>,
    /// The types of the kept columns in this drop.
    #[serde(default, skip_serializing_if = "KeptTypes::is_empty")]
    pub keep: KeptTypes,
    /// The objects that were read.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Files of the drop that were not read, by their paths below the catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// The number of rows by door.
    #[serde(default)]
    pub rows: RowCounts,
    /// The number of written rows by flag. `None` if the engine did not count them, as older engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagCounts>,
    /// The files that were written.
    #[serde(default)]
    pub files: Vec<FileRecord>,
}

impl Entry {
    /// The paths of the files below the output.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Whether the entry lists predictions of a model.
    pub fn predicts(&self) -> bool {
        self.kind == EntryKind::Drop && self.rows.written > 0
    }

    /// The band whose magnitude the predictions have, or `None` if they have no magnitude. Engines that did not write the
    /// band knew no other than r.
    pub fn reference_band(&self) -> Option<&str> {
        match self.settings.get(REFERENCE_BAND) {
            None => Some("r"),
            Some(band) => band.as_str(),
        }
    }

    /// The levels of the quantiles that the predictions have; empty if they have none.
    pub fn levels(&self) -> Vec<f64> {
        let levels = self.settings.get(LEVELS).and_then(|of| of.as_array());
        let levels = levels.into_iter().flatten();
        levels.filter_map(serde_json::Value::as_f64).collect()
    }

    /// Whether the quantiles are stored, and not only the bounds of intervals.
    pub fn stores_quantiles(&self) -> bool {
        self.settings.get(QUANTILES) != Some(&false.into())
    }

    /// Whether the entry comes from a run with `--limit`. The next run without `--limit` replaces the entry.
    pub fn is_try(&self) -> bool {
        let limit = self.settings.get("limit");
        limit.is_some_and(|limit| !limit.is_null())
    }

    /// Makes an entry that abandons an attempt.
    pub fn abandoned(attempt: &str, engine: &str) -> Self {
        Self {
            format: FORMAT,
            sequence: 0,
            kind: EntryKind::Abandoned,
            attempt: attempt.to_owned(),
            drop: String::new(),
            model_id: String::new(),
            engine: engine.to_owned(),
            settings: serde_json::Value::Null,
            object_id: None,
            keep: KeptTypes::new(),
            inputs: Vec::new(),
            ignored: Vec::new(),
            rows: RowCounts::default(),
            flags: None,
            files: Vec::new(),
        }
    }
}

/// The number of rows of a drop by the door through which they left: `read == written + learned + rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows that were read.
    pub read: u64,
    /// Rows in `photoz/` or `embeddings/`, or in both: predicted or withdrawn.
    pub written: u64,
    /// Rows in `specz/`.
    pub learned: u64,
    /// Rows in `rejects/`.
    pub rejected: u64,
}

impl RowCounts {
    /// Whether each row is counted once.
    pub fn balance(&self) -> bool {
        self.read == self.written + self.learned + self.rejected
    }
}

impl std::ops::AddAssign for RowCounts {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.learned += other.learned;
        self.rejected += other.rejected;
    }
}

/// A committed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The path below the output.
    pub path: String,
    /// The number of rows.
    pub rows: u64,
    /// The size.
    pub bytes: u64,
    /// The SHA-256 of the bytes, in hex.
    pub sha256: String,
}

/// The checksum of a file in the ledger: the SHA-256 of its bytes, in hex.
pub fn checksum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
