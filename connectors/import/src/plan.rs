//! The plan of an import: the files, their common layout, and their rows as batches.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use crate::columns::columns;
use crate::error::ImportError;
use crate::image_file::{DropLayout, GivenColumns, ImageFile};
use crate::positions::PositionFile;
use crate::settings::{ImportSettings, Without};
use crate::summary::Imported;
use connectors::galaxy::{BandError, check_bands};

/// Files that together have every column of the drop.
pub(crate) struct ImportPlan {
    files: Vec<PathBuf>,
    settings: ImportSettings,
    layout: DropLayout,
    rows: u64,
    positions: Option<PositionFile>,
    numbers_rows: bool,
}

impl ImportPlan {
    /// Opens all files and finds their columns.
    pub(crate) fn new(files: Vec<PathBuf>, settings: ImportSettings) -> Result<Self, ImportError> {
        let Some(first) = files.first() else {
            let reason = "no files to import".to_owned();
            let place = String::new();
            return Err(ImportError::Place { place, reason });
        };
        check_bands_of(first, &settings.bands)?;
        check_column_names(first, &settings)?;
        let positions = settings.positions.as_deref();
        let positions = positions.map(PositionFile::open).transpose()?;
        let layout = open(first, &settings)?.layout();
        let mut rows = 0;
        let mut numbers_rows = false;
        for file in &files {
            let image_file = open(file, &settings)?;
            let found = image_file.layout();
            if found != layout {
                return Err(layout_error(file, first, &found, &layout));
            }
            check_positions(file, &image_file, positions.is_some(), &settings)?;
            let has_ids = positions.as_ref().is_some_and(PositionFile::has_ids);
            numbers_rows = !image_file.has_ids() && !has_ids;
            if numbers_rows && settings.first_id.is_none() {
                let reason = "it has no object ids; number its rows with --first-id 0 (for another drop of the catalog, with \
                              the first number that is free), or name a field with --column object_id=FIELD";
                return Err(ImportError::columns(file, reason));
            }
            rows += image_file.rows();
        }
        if rows == 0 {
            return Err(ImportError::columns(first, "there are no rows to import"));
        }
        Ok(Self {
            files,
            settings,
            layout,
            rows,
            positions,
            numbers_rows,
        })
    }

    /// The summary of the import before any row is written, and the number of rows.
    pub(crate) fn summary(&self) -> (Imported, u64) {
        let first_id = self.settings.first_id.filter(|_| self.numbers_rows);
        let end = |first: i64| first.saturating_add(i64::try_from(self.rows).unwrap_or(i64::MAX));
        let without_positions =
            self.positions.is_none() && self.settings.without.contains(&Without::Positions);
        let imported = Imported {
            columns: self.layout.columns.clone(),
            numbered: first_id.map(|first| first..end(first)),
            without_positions,
            ..Imported::default()
        };
        (imported, self.rows)
    }

    /// Sends all rows in row groups. Stops early, without an error, if the receiver is gone.
    pub(crate) fn read(mut self, send: &mpsc::Sender<RecordBatch>) -> Result<(), ImportError> {
        let mut next_id = self.settings.first_id.unwrap_or_default();
        let rows_per_group = self.layout.cutouts.rows_per_group();
        for file in &self.files {
            let mut image_file = open(file, &self.settings)?;
            if image_file.layout() != self.layout {
                return Err(ImportError::corrupt(file, "it changed while it was read"));
            }
            let rows_together = rows_per_group.min(image_file.rows_together());
            let mut at = 0;
            while at < image_file.rows() {
                let rows = at..image_file.rows().min(at + rows_together);
                at = rows.end;
                let mut given = GivenColumns {
                    next_id: self.numbers_rows.then_some(&mut next_id),
                    positions: self.positions.as_mut(),
                };
                let batch = image_file.read(rows, &mut given)?;
                if send.blocking_send(batch).is_err() {
                    return Ok(());
                }
            }
        }
        match &mut self.positions {
            Some(positions) => positions.end(),
            None => Ok(()),
        }
    }
}

fn open(file: &Path, settings: &ImportSettings) -> Result<ImageFile, ImportError> {
    ImageFile::open(file, settings)
}

/// Checks that a file has positions, or that they are given or may be left out.
fn check_positions(
    file: &Path,
    image_file: &ImageFile,
    are_given: bool,
    settings: &ImportSettings,
) -> Result<(), ImportError> {
    if image_file.has_positions() || are_given || settings.without.contains(&Without::Positions) {
        return Ok(());
    }
    let reason = "it has no positions; give them with --positions FILE.csv (columns ra and dec, a line for each row), or \
                  import the file without them: --without positions";
    Err(ImportError::columns(file, reason))
}

/// Checks the bands that the user names. The error is reported for the first file.
fn check_bands_of(file: &Path, bands: &[String]) -> Result<(), ImportError> {
    let checked = match bands {
        [] => Err(BandError::Empty),
        bands => check_bands(bands),
    };
    checked.map_err(|error| ImportError::columns(file, format!("--bands: {error}")))
}

/// Checks the columns that the user names. The error is reported for the first file.
fn check_column_names(file: &Path, settings: &ImportSettings) -> Result<(), ImportError> {
    let known = columns(&settings.bands);
    for (name, _) in &settings.columns {
        if !known.contains(name) {
            let known = known.join(", ");
            let reason =
                format!("--column {name}=…: there is no such column; the columns are {known}");
            return Err(ImportError::columns(file, reason));
        }
    }
    Ok(())
}

/// The error for a file whose layout differs from that of the first file.
fn layout_error(
    file: &Path,
    first: &Path,
    found: &DropLayout,
    expected: &DropLayout,
) -> ImportError {
    let sides = (found.cutouts.side_px, expected.cutouts.side_px);
    let what = if sides.0 != sides.1 {
        format!(
            "the side of its cutouts is {} pixels, not {}",
            sides.0, sides.1
        )
    } else {
        let names = |layout: &DropLayout| {
            let names = layout.columns.iter();
            let names = names.map(|(column, field)| format!("{column} from {field}"));
            format!(
                "{} ({} ids)",
                names.collect::<Vec<_>>().join(", "),
                layout.ids
            )
        };
        format!("it has {}, not {}", names(found), names(expected))
    };
    let first = first.display();
    ImportError::columns(
        file,
        format!("{what} as in {first}; import it into its own drop"),
    )
}
