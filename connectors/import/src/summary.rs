//! The summary of an import.

use std::fmt;
use std::ops::Range;

/// The summary of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Rows written.
    pub rows: u64,
    /// Parquet objects written.
    pub parts: u64,
    /// Bytes of the Parquet objects.
    pub bytes: u64,
    /// Columns, and the fields that they were read from.
    pub columns: Vec<(String, String)>,
    /// The ids of the rows, if rows were numbered. The next drop continues with the end of the range.
    pub numbered: Option<Range<i64>>,
    /// Whether the rows have no position, so that `ra` and `dec` are 0.
    pub without_positions: bool,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, parts, bytes) = (self.rows, self.parts, self.bytes as f64 / 1e6);
        write!(f, "{rows} rows, {parts} objects, {bytes:.1} MB")?;
        for (column, field) in &self.columns {
            write!(f, "\n  {column:<10} from {field}")?;
        }
        if let Some(Range { start, end }) = self.numbered {
            write!(
                f,
                "\n  object_id  {start} to {}, numbered; continue the next drop with --first-id {end}",
                end - 1
            )?;
        }
        if self.without_positions {
            f.write_str("\n  ra, dec    unknown: 0, 0 in every row")?;
        }
        if !self.columns.iter().any(|(column, _)| *column == "z_spec") {
            f.write_str("\n  z_spec     missing")?;
        }
        Ok(())
    }
}
