//! A file of a part, encoded, and what its metadata names.
use crate::ledger::entry::FileRecord;

/// Rows of a row group of the output.
pub(super) const ROW_GROUP_ROWS: usize = 131_072;
/// Rows that the writer gets at a time if columns are kept. It looks at the size of a page after this number, so files do not
/// depend on how many rows are gathered at a time.
pub(super) const WRITE_ROWS: usize = 1024;

/// What a part's files carry beside their rows.
#[derive(Clone, Debug)]
pub struct PartLabel {
    /// The drop.
    pub drop: String,
    /// The number of the part.
    pub part: u32,
    /// The model's whole id.
    pub model_id: String,
}

/// A file of a part: what the ledger will list, and its bytes.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// Path, rows, size and checksum.
    pub record: FileRecord,
    /// The file.
    pub bytes: Vec<u8>,
}
