//! What people have, as what `run` takes: image files become a drop, a pickled network becomes its tensors.
//!
//! ```text
//! zip ── pickle ── torch ──┐                          .pt
//!  └──── npy ──────────────┴── array ── columns ──► a drop of a catalog
//!                                positions              rows in the order of the files
//! ```
//! Nothing of a file is executed, and rows are read as they are written: some row groups are held, whatever the files'
//! size.

mod array;
mod columns;
mod error;
mod npy;
mod pickle;
mod positions;
mod torch;
mod zip;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, path::Path as ObjectPath};
use tokio::sync::mpsc;

use crate::Location;
use crate::drop_writer::{
    PartWriter, ROWS_PER_PART, WriteError, mark_complete, part_path, rows_per_group,
};
use columns::{COLUMNS, Galaxies, Given, Kind};
use positions::Positions;

pub use error::ImportError;
pub use torch::{Weights, weights};

/// Row groups that wait to be written.
const BATCHES_AHEAD: usize = 1;

/// What a drop may lack, if its user says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// No positions: every row stands at ra 0, dec 0.
    Positions,
    /// No magnitudes: for models that look at cutouts alone.
    Mags,
}

/// How image files are read.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Columns of the drop and the fields they are taken from; an empty name says that there is none.
    pub columns: Vec<(String, String)>,
    /// The id of the first row, where rows are numbered.
    pub first_id: Option<i64>,
    /// A CSV file with a position for each row.
    pub positions: Option<PathBuf>,
    /// What the drop does without.
    pub without: Vec<Without>,
}

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Rows written.
    pub rows: u64,
    /// Parquet objects written.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Columns, and the fields they were taken from.
    pub columns: Vec<(&'static str, String)>,
    /// The ids that were given, where rows were numbered; the next drop goes on with the end.
    pub numbered: Option<Range<i64>>,
    /// Whether the rows have no position, and stand at ra 0, dec 0.
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
                "\n  object_id  {start} to {}, by number; the next drop goes on with --first-id {end}",
                end - 1
            )?;
        }
        if self.without_positions {
            f.write_str("\n  ra, dec    unknown: every row stands at 0, 0")?;
        }
        if !self.columns.iter().any(|(column, _)| *column == "z_spec") {
            f.write_str("\n  z_spec     none")?;
        }
        Ok(())
    }
}

/// Writes the rows of image files (`.pt`, `.npz`) as the drop at `place`, which must be a new one.
///
/// Rows keep their order: that of the files, then that in each. All files are opened, and their columns found, before
/// anything is written; `progress` is told the rows that are done and all of them.
///
/// # Errors
/// [`ImportError`]. What was written of the drop is removed again.
pub async fn import_images(
    place: &Location,
    files: &[PathBuf],
    settings: &Settings,
    progress: impl Fn(u64, u64),
) -> Result<Imported, ImportError> {
    check_place(place).await?;
    let (send, mut batches) = mpsc::channel(BATCHES_AHEAD);
    let (files, settings) = (files.to_vec(), settings.clone());
    let (plan_send, plan) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let plan = Plan::new(files, settings)?;
        // Whoever hung up is told by the batches.
        let _ = plan_send.send(plan.summary());
        plan.read(&send)
    });
    let mut writer = DropWriter {
        place,
        part: None,
        rows: 0,
        done: Imported::default(),
    };
    let written = async {
        let Ok((summary, rows)) = plan.await else {
            return Ok(());
        };
        writer.done = summary;
        while let Some(batch) = batches.recv().await {
            writer.write(batch).await?;
            progress(writer.done.rows, rows);
        }
        writer.finish_part().await
    }
    .await;
    // A writer that failed makes the reader stop.
    drop(batches);
    let read = reader.await.map_err(WriteError::from);
    let result = match (written, read) {
        (Err(error), _) | (Ok(()), Err(error)) => Err(writer.failed(error)),
        (Ok(()), Ok(Err(error))) => Err(error),
        (Ok(()), Ok(Ok(()))) => writer.complete().await,
    };
    if result.is_err() {
        writer.remove().await;
    }
    result
}

/// That a drop may come into being here.
async fn check_place(place: &Location) -> Result<(), ImportError> {
    let refuse = |reason: &str| {
        Err(ImportError::Place {
            place: place.url.clone(),
            reason: reason.to_owned(),
        })
    };
    let name = place.prefix.filename().unwrap_or_default();
    if name.is_empty() || name.starts_with(['_', '.']) {
        return refuse(
            "a drop is CATALOG/NAME, and its name begins neither with _ nor with a point",
        );
    }
    let write = |source: object_store::Error| ImportError::Write {
        place: place.url.clone(),
        source: source.into(),
    };
    let below = place.store.list(Some(&place.prefix)).try_next().await;
    let is_taken = below.map_err(write)?.is_some()
        || match place.store.head(&place.prefix).await {
            Ok(_) => true,
            Err(object_store::Error::NotFound { .. }) => false,
            // A folder of this machine is no object.
            Err(_) if place.folder.as_ref().is_some_and(|folder| folder.is_dir()) => false,
            Err(error) => return Err(write(error)),
        };
    if is_taken {
        return refuse("something is there already; name a new drop, or remove that one first");
    }
    Ok(())
}

/// Files whose columns are found, and what they lack is given.
struct Plan {
    files: Vec<PathBuf>,
    settings: Settings,
    kind: Kind,
    rows: u64,
    positions: Option<Positions>,
    numbers: bool,
}

impl Plan {
    fn new(files: Vec<PathBuf>, settings: Settings) -> Result<Self, ImportError> {
        let (Some(first), positions) = (files.first(), &settings.positions) else {
            let reason = "no files to import".to_owned();
            let place = String::new();
            return Err(ImportError::Place { place, reason });
        };
        check_column_names(first, &settings)?;
        let positions = positions.as_deref().map(Positions::open).transpose()?;
        let from_csv = positions.as_ref().is_some_and(Positions::has_ids);
        let (mut kind, mut rows): (Option<Kind>, u64) = (None, 0);
        let mut numbers = false;
        for file in &files {
            let galaxies = open(file, &settings)?;
            let found = galaxies.kind();
            match &kind {
                Some(kind) if *kind != found => return Err(differs(file, first, &found, kind)),
                _ => kind = Some(found),
            }
            if !galaxies.has_positions()
                && positions.is_none()
                && !settings.without.contains(&Without::Positions)
            {
                let reason = "it has no positions; give them with --positions FILE.csv (columns ra and dec, a line for \
                              each row), or import it without: --without positions";
                return Err(ImportError::columns(file, reason));
            }
            numbers = !galaxies.has_ids() && !from_csv;
            if numbers && settings.first_id.is_none() {
                let reason = "it has no object ids; number its rows with --first-id 0 (in another drop of the catalog, go \
                              on with the number that is free), or name a field with --column object_id=FIELD";
                return Err(ImportError::columns(file, reason));
            }
            rows += galaxies.rows();
        }
        if rows == 0 {
            return Err(ImportError::columns(first, "there are no rows to import"));
        }
        let kind = kind.expect("there is a file, and it has a kind");
        Ok(Self {
            files,
            settings,
            kind,
            rows,
            positions,
            numbers,
        })
    }

    fn summary(&self) -> (Imported, u64) {
        let first_id = self.settings.first_id.filter(|_| self.numbers);
        let end = |first: i64| first.saturating_add(i64::try_from(self.rows).unwrap_or(i64::MAX));
        let without_positions =
            self.positions.is_none() && self.settings.without.contains(&Without::Positions);
        let imported = Imported {
            columns: self.kind.columns.clone(),
            numbered: first_id.map(|first| first..end(first)),
            without_positions,
            ..Imported::default()
        };
        (imported, self.rows)
    }

    /// Sends all rows, a row group at a time.
    fn read(mut self, send: &mpsc::Sender<RecordBatch>) -> Result<(), ImportError> {
        let mut next_id = self.settings.first_id.unwrap_or_default();
        let rows_per_group = rows_per_group(self.kind.side_px);
        for file in &self.files {
            let mut galaxies = open(file, &self.settings)?;
            if galaxies.kind() != self.kind {
                return Err(ImportError::corrupt(file, "it changed while it was read"));
            }
            let rows_together = rows_per_group.min(galaxies.rows_together());
            let mut at = 0;
            while at < galaxies.rows() {
                let rows = at..galaxies.rows().min(at + rows_together);
                at = rows.end;
                let mut given = Given {
                    next_id: self.numbers.then_some(&mut next_id),
                    positions: self.positions.as_mut(),
                };
                let batch = galaxies.read(rows, &mut given)?;
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

/// A file's columns, whichever of the formats it has.
fn open(file: &Path, settings: &Settings) -> Result<Galaxies, ImportError> {
    let archive = zip::Archive::open(file)?;
    let table = if archive.names().any(|name| name.ends_with("data.pkl")) {
        torch::table(archive)?
    } else if archive.names().any(|name| name.ends_with(".npy")) {
        npy::table(archive)?
    } else {
        let reason =
            "it is a zip archive, but neither of torch.save (.pt) nor of numpy.savez (.npz)";
        return Err(ImportError::unsupported(file, reason));
    };
    Galaxies::resolve(file, table, &settings.columns, &settings.without)
}

fn check_column_names(file: &Path, settings: &Settings) -> Result<(), ImportError> {
    let names = settings.columns.iter().map(|(column, _)| column.as_str());
    for name in names {
        if !COLUMNS.contains(&name) {
            let known = COLUMNS.join(", ");
            let reason = format!("--column {name}=…: there is no such column; there are {known}");
            return Err(ImportError::columns(file, reason));
        }
    }
    Ok(())
}

fn differs(file: &Path, first: &Path, found: &Kind, expected: &Kind) -> ImportError {
    let sides = (found.side_px, expected.side_px);
    let what = if sides.0 != sides.1 {
        format!(
            "its cutouts have {} pixels a side, not {}",
            sides.0, sides.1
        )
    } else {
        let names = |kind: &Kind| {
            let names = kind.columns.iter();
            let names = names.map(|(column, field)| format!("{column} from {field}"));
            format!(
                "{} ({} ids)",
                names.collect::<Vec<_>>().join(", "),
                kind.ids
            )
        };
        format!("it has {}, not {}", names(found), names(expected))
    };
    let first = first.display();
    ImportError::columns(
        file,
        format!("{what} as {first}; import it into a drop of its own"),
    )
}

/// The Parquet objects of a drop in the making.
struct DropWriter<'a> {
    place: &'a Location,
    part: Option<PartWriter>,
    /// Rows of this part.
    rows: u64,
    done: Imported,
}

impl DropWriter<'_> {
    async fn write(&mut self, batch: RecordBatch) -> Result<(), WriteError> {
        let rows = batch.num_rows() as u64;
        let part = match self.part.take() {
            Some(part) => part,
            None => {
                let (path, schema) = (self.path(self.done.parts), batch.schema());
                PartWriter::create(&self.place.store, &path, schema, ROWS_PER_PART).await?
            }
        };
        self.part = Some(part.write(batch).await?);
        self.rows += rows;
        self.done.rows += rows;
        if self.rows >= ROWS_PER_PART {
            self.finish_part().await?;
        }
        Ok(())
    }

    async fn finish_part(&mut self) -> Result<(), WriteError> {
        if let Some(part) = self.part.take() {
            self.done.bytes += part.finish().await?;
            self.done.parts += 1;
            self.rows = 0;
        }
        Ok(())
    }

    fn path(&self, part: u64) -> ObjectPath {
        part_path(&self.place.prefix, part as usize)
    }

    async fn complete(&self) -> Result<Imported, ImportError> {
        let marked = mark_complete(self.place.store.as_ref(), &self.place.prefix).await;
        marked.map_err(|error| self.failed(error))?;
        Ok(self.done.clone())
    }

    fn failed(&self, source: WriteError) -> ImportError {
        let place = self.place.url.clone();
        ImportError::Write { place, source }
    }

    /// Takes back what was written; what cannot be removed has no `_SUCCESS`, and the next import names it.
    async fn remove(&mut self) {
        if let Some(part) = self.part.take() {
            let _ = part.abort().await;
        }
        for part in 0..self.done.parts {
            let _ = self.place.store.delete(&self.path(part)).await;
        }
    }
}
