//! Positions, and ids if they are there, of rows that have none of their own: a CSV file with a line for each row.
//!
//! The first line names the columns: `ra` and `dec`, in degrees, and perhaps `object_id`, a whole number; others are
//! passed over. A field may stand in double quotes, as other programs write names; no field holds a comma.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::ImportError;

/// A file of positions, read as far as rows have been.
pub(super) struct Positions {
    file: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    line: usize,
    ra: usize,
    dec: usize,
    object_id: Option<usize>,
}

/// Ids and positions of some rows.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) ids: Option<Vec<i64>>,
    pub(super) ra_deg: Vec<f64>,
    pub(super) dec_deg: Vec<f64>,
}

impl Positions {
    pub(super) fn open(file: &Path) -> Result<Self, ImportError> {
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
                "its first line, {header:?}, names no column {name}; it must be like \"ra,dec\" or \"object_id,ra,dec\""
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

    pub(super) fn has_ids(&self) -> bool {
        self.object_id.is_some()
    }

    /// The next rows.
    pub(super) fn take(&mut self, rows: u64) -> Result<Places, ImportError> {
        let mut places = Places {
            ids: self.object_id.map(|_| Vec::new()),
            ..Places::default()
        };
        for _ in 0..rows {
            let Some(line) = self.next_line()? else {
                let reason = format!("it ends after {} rows, and there are more", self.line - 1);
                return Err(ImportError::columns(&self.file, reason));
            };
            places.ra_deg.push(self.number(&line, self.ra)?);
            places.dec_deg.push(self.number(&line, self.dec)?);
            if let (Some(ids), Some(column)) = (&mut places.ids, self.object_id) {
                ids.push(self.number(&line, column)?);
            }
        }
        Ok(places)
    }

    /// That there is no row left.
    pub(super) fn end(&mut self) -> Result<(), ImportError> {
        let rows = self.line - 1;
        match self.next_line()? {
            None => Ok(()),
            Some(_) => {
                let reason = format!("it has more rows than the {rows} of the images");
                Err(ImportError::columns(&self.file, reason))
            }
        }
    }

    /// The next line that is not empty.
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
                "row {}: {field:?} in column {} is no number",
                self.line - 1,
                column + 1
            );
            ImportError::columns(&self.file, reason)
        })
    }
}

/// A field without blanks around it, and without its quotes.
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
    fn names_and_numbers_may_stand_in_quotes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            "\u{feff}\"object_id\",\"RA\", \"dec\"\r\n\"7\",\"1.5\",-2\r\n",
        )
        .unwrap();
        let mut positions = Positions::open(file.path()).unwrap();
        let places = positions.take(1).unwrap();
        assert_eq!(places.ids, Some(vec![7]));
        assert_eq!((places.ra_deg[0], places.dec_deg[0]), (1.5, -2.0));
        positions.end().unwrap();
    }
}
