//! An encoded file of a part, and the facts in its metadata.
use crate::ledger::entry::FileRecord;

/// The number of rows in a row group of the output.
pub(super) const ROW_GROUP_ROWS: usize = 131_072;
/// The number of rows that the writer gets at a time if columns are kept. The writer checks the size of a page after this
/// number of rows, so files do not depend on how many rows are gathered at a time.
pub(super) const WRITE_ROWS: usize = 1024;

/// The facts that the files of a part carry beside their rows.
#[derive(Clone, Debug)]
pub struct PartLabel {
    /// The drop.
    pub drop: String,
    /// The number of the part.
    pub part: u32,
    /// The full id of the model.
    pub model_id: String,
    /// The model's reference band: the output has the magnitude in it. `None` if the model knows no magnitudes.
    pub reference_band: Option<String>,
}

/// A file of a part: its record for the ledger, and its bytes.
#[derive(Clone, Debug)]
pub struct EncodedFile {
    /// The path, the number of rows, the size and the checksum.
    pub record: FileRecord,
    /// The content of the file.
    pub bytes: Vec<u8>,
}
