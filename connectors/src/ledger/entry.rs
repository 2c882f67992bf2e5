//! What one entry of the ledger says: a drop is committed, or an attempt is abandoned.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    catalog::drop_plan::Input,
    galaxy::{IdKind, KeptTypes},
};

/// The newest format this engine writes and reads.
pub const FORMAT: u32 = 1;
/// What an entry says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A drop is committed: its files are those listed.
    Drop,
    /// What the attempt staged is void: it will not be committed.
    Abandoned,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of the format. It rises when the meaning of a field changes.
    pub format: u32,
    /// Its number, from 1.
    pub sequence: u64,
    /// What happened.
    pub kind: EntryKind,
    /// The attempt that staged the files.
    pub attempt: String,
    /// The drop; an abandoned attempt may have died before it was known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub drop: String,
    /// The model's whole id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// The engine's version.
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
    /// The objects read.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Files of the drop that were not read, by their paths below the catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// The rows by door.
    #[serde(default)]
    pub rows: RowCounts,
    /// The files written.
    #[serde(default)]
    pub files: Vec<FileRecord>,
}

impl Entry {
    /// The paths of its files, below the output.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Whether the entry lists predictions of a model.
    pub fn predicts(&self) -> bool {
        self.kind == EntryKind::Drop && self.rows.written > 0
    }

    /// Whether the entry comes from a run with `--limit`. The next run without `--limit` replaces the entry.
    pub fn is_try(&self) -> bool {
        let limit = self.settings.get("limit");
        limit.is_some_and(|limit| !limit.is_null())
    }

    /// An entry that voids what an attempt staged.
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
            files: Vec::new(),
        }
    }
}

/// Rows of a drop by the door they left through: `read == written + learned + rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Rows that came in.
    pub read: u64,
    /// Rows in `photoz/`: predicted or withdrawn.
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
    /// Where it lies below the output.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// The checksum of a file as the ledger keeps it: the SHA-256 of its bytes, in hex.
pub fn checksum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
