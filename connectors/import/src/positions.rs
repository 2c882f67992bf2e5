//! A CSV file with the position, and the id if there is one, of each row.
//!
//! The first line names the columns: `ra` and `dec` in degrees, and optionally `object_id`, a whole number. Other columns
//! are ignored. A field may be in double quotes. A field must not contain a comma.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::ImportError;

/// A file of positions that is read row by row.
pub(crate) struct PositionFile {
    file: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    line: usize,
    ra: usize,
    dec: usize,
    object_id: Option<usize>,
}

/// The ids and positions of consecutive rows.
#[derive(Debug, Default)]
pub(crate) struct RowPositions {
    pub(crate) ids: Option<Vec<i64>>,
    pub(crate) ra_deg: Vec<f64>,
    pub(crate) dec_deg: Vec<f64>,
}

impl PositionFile {
    /// Opens a file and reads the names of its columns.
    pub(crate) fn open(file: &Path) -> Result<Self, ImportError> {
        let broken = |error| ImportError::io(file, error);
        let mut lines = BufReader::new(File::open(file).map_err(broken)?).lines();
        let header = lines.next().transpose().map_err(broken)?;
        let header = header.unwrap_or_default();
        let header = header.trim_start_matches('\u{feff}');
        let column = |name: &str| {
            let mut names = header.split(',');
            names.position(|field| unquoted(field).eq_ignore_ascii_case(name))
        };
        let need = |name: &str| {
            let reason = format!(
                "its first line, {header:?}, does not name a column {name}; write a first line such as \"ra,dec\" or \"object_id,ra,dec\""
            );
            column(name).ok_or_else(|| ImportError::columns(file, reason))
        };
        Ok(Self {
            ra: need("ra")?,
            dec: need("dec")?,
            object_id: column("object_id"),
            file: file.to_owned(),
            lines,
            line: 1,
        })
    }

    pub(crate) fn has_ids(&self) -> bool {
        self.object_id.is_some()
    }

    /// Reads the next rows.
    pub(crate) fn take(&mut self, rows: u64) -> Result<RowPositions, ImportError> {
        let mut positions = RowPositions {
            ids: self.object_id.map(|_| Vec::new()),
            ..RowPositions::default()
        };
        for _ in 0..rows {
            let Some(line) = self.next_line()? else {
                let reason = format!(
                    "it ends after {} rows, and the images have more",
                    self.line - 1
                );
                return Err(ImportError::columns(&self.file, reason));
            };
            positions.ra_deg.push(self.number(&line, self.ra)?);
            positions.dec_deg.push(self.number(&line, self.dec)?);
            if let (Some(ids), Some(column)) = (&mut positions.ids, self.object_id) {
                ids.push(self.number(&line, column)?);
            }
        }
        Ok(positions)
    }

    /// Checks that no row is left.
    pub(crate) fn end(&mut self) -> Result<(), ImportError> {
        let rows = self.line - 1;
        match self.next_line()? {
            None => Ok(()),
            Some(_) => {
                let reason = format!("it has more rows than the images, which have {rows}");
                Err(ImportError::columns(&self.file, reason))
            }
        }
    }

    /// Reads the next line that is not empty.
    fn next_line(&mut self) -> Result<Option<String>, ImportError> {
        for line in self.lines.by_ref() {
            let line = line.map_err(|error| ImportError::io(&self.file, error))?;
            if !line.trim().is_empty() {
                self.line += 1;
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn number<N: FromStr>(&self, line: &str, column: usize) -> Result<N, ImportError> {
        let field = unquoted(line.split(',').nth(column).unwrap_or_default());
        field.parse().map_err(|_| {
            let reason = format!(
                "row {}: {field:?} in column {} is not a number",
                self.line - 1,
                column + 1
            );
            ImportError::columns(&self.file, reason)
        })
    }
}

/// A field without surrounding blanks and quotes.
fn unquoted(field: &str) -> &str {
    let field = field.trim();
    let inner = field
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.map_or(field, str::trim)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_may_be_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "\u{feff}\"object_id\",\"RA\", \"dec\"\r\n\"7\",\"1.5\",-2\r\n",
        )
        .unwrap();
        let mut positions = PositionFile::open(file.path()).unwrap();
        let rows = positions.take(1).unwrap();
        assert_eq!(rows.ids, Some(vec![7]));
        assert_eq!((rows.ra_deg[0], rows.dec_deg[0]), (1.5, -2.0));
        positions.end().unwrap();
    }
}
