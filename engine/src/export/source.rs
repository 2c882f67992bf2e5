//! The committed files that an export reads.
use std::fmt;

use arrow::datatypes::SchemaRef;
use connectors::{Error as StoreError, Output, committed::CommittedFile};

use crate::Error;

/// A committed file of predictions. Rows are numbered through all files.
pub(super) struct Source {
    pub file: CommittedFile,
    pub first_row: u64,
    pub rows: u64,
    pub schema: SchemaRef,
}

impl Source {
    /// Makes sure that a reader, which has come to `row`, has seen all rows of the file.
    pub fn check_end(&self, output: &Output, row: u64) -> Result<(), Error> {
        let read = row - self.first_row;
        if read != self.rows {
            let reason = format!("it had {} rows, and now {read}", self.rows);
            return Err(misread(output, &self.file, reason));
        }
        Ok(())
    }
}

/// A committed file that does not hold what it held when it was checked.
pub(super) fn misread(output: &Output, file: &CommittedFile, reason: impl fmt::Display) -> Error {
    Error::Connectors(StoreError::Corrupt {
        object: output.location().url_of(&file.path),
        reason: reason.to_string(),
    })
}
