//! `hubbleflow export`: writes the current survey as plain Parquet: the latest row of each object that is not withdrawn.
//!
//! ```text
//! committed files ── checked ── ids: which rows are current ── current rows, in files of some 100 MB
//! ```
//! Rows are in the order of their drops' names; within a drop in that of its files: by part, then by (`_healpix_29`,
//! `object_id`). A file ends at 100 MB, or before a row whose columns have other types or whose file has other metadata.
//! Intervals are calibrated. With `qp` the quantiles are also written as an ensemble of qp, in the same order.
//!
//! | held | bytes |
//! |---|---|
//! | ids | half of `--memory`; ids that do not fit are read in several passes |
//! | a bit for each row | 125 MB for a billion; taken from that half |
//! | rows in flight | a row group that is read, a row group that is written, parts of an upload |
mod current;
mod intervals;
mod parts;
mod qp;
mod source;

use std::fmt;

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Int32Type, SchemaRef},
};
use connectors::{
    Error as StoreError, Ledger, Location, Output,
    committed::{files_of, replaced_since, standing},
    committed_fault::damage,
    ledger::{Entry, FileRecord},
    part::{DELETED, Folder},
};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::Serialize;

use crate::{Error, OutputError, SettingsError, StoreOptions, status::sequence_of};
use current::{CurrentRows, current_rows};
use intervals::{Intervals, calibrated_schema};
use parts::{Columns, FileKind, FileWriter};
use qp::{QpPlaces, QpWriter};
use source::{Source, misread};

/// Lower bound on the memory for ids: this many bytes, and a byte for each [`ROWS_PER_IDS_BYTE`] rows. With this bound the
/// ids are read some hundred times at most.
const IDS_BYTES_MIN: u64 = 2_000;
const ROWS_PER_IDS_BYTE: u64 = 10;

/// What to export, and where to.
#[derive(Clone, Copy, Debug)]
pub struct ExportSettings<'a> {
    /// The output.
    pub out: &'a str,
    /// An empty place for the files.
    pub to: &'a str,
    /// The survey is exported as it was after the newest entry of this drop.
    pub as_of: Option<&'a str>,
    /// Where quantiles are also written as an ensemble of qp: the beginning of the files' URLs.
    pub qp: Option<&'a str>,
    /// Approximate upper bound on the memory for ids.
    pub memory_bytes: u64,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Exported {
    /// The entry of the ledger up to which drops count.
    pub sequence: u64,
    /// Objects.
    pub rows: u64,
    /// Rows left out: a later drop took their object over, or withdrew it.
    pub rows_superseded: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sequence,
            rows,
            rows_superseded,
            files,
            bytes,
        } = self;
        let megabytes = *bytes as f64 / 1e6;
        write!(
            f,
            "{rows} objects in {files} files, {megabytes:.1} MB, as of entry {sequence}; {rows_superseded} rows were superseded or withdrawn"
        )
    }
}

/// Writes the objects of an output as they stand, or stood after the newest entry of `as_of`, to an empty place.
///
/// # Errors
/// [`Error::Settings`] if the place is not empty or lies in the output; [`Error::Output`] if a file is not what was
/// committed, or was replaced since; the store's.
pub async fn export(
    settings: &ExportSettings<'_>,
    options: &StoreOptions,
) -> Result<Exported, Error> {
    let &ExportSettings {
        out,
        to,
        as_of,
        qp,
        memory_bytes,
    } = settings;
    let (from, place) = (Location::open(out, options)?, Location::open(to, options)?);
    if from.overlaps(&place) {
        let (to, out) = (to.to_owned(), out.to_owned());
        return Err(SettingsError::ExportInOutput { to, out }.into());
    }
    let ledger = Ledger::open(&from).await?;
    let sequence = sequence_of(&ledger, out, as_of)?;
    check_empty(&place, to).await?;
    let qp = match qp {
        Some(prefix) => Some(QpPlaces::open(prefix, [&place, &from], options).await?),
        None => None,
    };
    if let Some((entry, by)) = replaced_since(&ledger, sequence) {
        return Err(OutputError::Replaced {
            out: out.to_owned(),
            drop: entry.drop.clone(),
            entry: entry.sequence,
            by: by.sequence,
        }
        .into());
    }
    let output = Output::new(from);
    let stand = standing(ledger.entries(), sequence);
    let files = sources(&output, stand.into_values()).await?;
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let ids_bytes = (memory_bytes / 2).saturating_sub(rows / 8);
    let ids_bytes = ids_bytes.max(IDS_BYTES_MIN + rows / ROWS_PER_IDS_BYTE);
    let current = current_rows(&output, &files, ids_bytes as usize).await?;
    let schemas: Vec<SchemaRef> = files.iter().map(|file| file.schema.clone()).collect();
    let mut rows = CurrentRowWriter {
        output: &output,
        current,
        intervals: Intervals::as_of(&output, &ledger, sequence).await?,
        columns: Columns::of(&schemas),
        files: FileWriter::new(&place),
        qp: match qp {
            Some(places) => Some(QpWriter::begin(places, &output, &files).await?),
            None => None,
        },
        exported: Exported {
            sequence,
            ..Exported::default()
        },
    };
    for file in &files {
        rows.write(file).await?;
    }
    let exported = rows.finish().await?;
    // Written last: an export with this file is complete. Readers ignore the file.
    let success = place.path("_SUCCESS")?;
    let done = place.store.put(&success, Vec::new().into()).await;
    done.map_err(|source| StoreError::store(place.url_of("_SUCCESS"), source))?;
    Ok(exported)
}

/// Makes sure that a place holds nothing.
async fn check_empty(place: &Location, to: &str) -> Result<(), Error> {
    let below = Some(&place.prefix).filter(|prefix| !prefix.is_root());
    let there = place.store.list(below).next().await.transpose();
    match there.map_err(|source| StoreError::store(to, source))? {
        None => Ok(()),
        Some(_) => Err(SettingsError::ExportNotEmpty { to: to.to_owned() }.into()),
    }
}

/// The files of entries, which are checked to be what was committed.
async fn sources(
    output: &Output,
    entries: impl Iterator<Item = &Entry>,
) -> Result<Vec<Source>, Error> {
    let (mut sources, mut first_row): (Vec<Source>, u64) = (Vec::new(), 0);
    for entry in entries {
        check_photoz(output, entry).await?;
        if entry.predicts() && !entry.files.iter().any(|file| is_photoz(&file)) {
            return Err(OutputError::NoRedshifts {
                out: output.location().url.clone(),
                drop: entry.drop.clone(),
            }
            .into());
        }
        let files = files_of(entry).into_iter();
        let files = files.filter(|file| file.folder == Folder::Photoz);
        for (file, record) in files.zip(entry.files.iter().filter(is_photoz)) {
            let schema = calibrated_schema(&file.open(output).await?.schema());
            // Nearly all schemas are alike: files with the same schema share one.
            let before = sources.last().map(|source| source.schema.clone());
            let schema = before.filter(|before| *before == schema).unwrap_or(schema);
            sources.push(Source {
                file,
                first_row,
                rows: record.rows,
                schema,
            });
            first_row += record.rows;
        }
    }
    Ok(sources)
}

fn is_photoz(file: &&FileRecord) -> bool {
    Folder::of(&file.path) == Some(Folder::Photoz)
}

/// Makes sure that the predictions of an entry are what was committed: damage is not carried on.
async fn check_photoz(output: &Output, entry: &Entry) -> Result<(), Error> {
    for file in entry.files.iter().filter(is_photoz) {
        if let Some(fault) = damage(output, file).await? {
            return Err(OutputError::Damaged {
                drop: entry.drop.clone(),
                file: output.location().url_of(&file.path),
                fault,
            }
            .into());
        }
    }
    Ok(())
}

/// Writes the rows of files that are current and not withdrawn.
struct CurrentRowWriter<'a> {
    output: &'a Output,
    current: CurrentRows,
    intervals: Intervals,
    columns: Columns,
    files: FileWriter<'a>,
    qp: Option<QpWriter>,
    exported: Exported,
}

impl CurrentRowWriter<'_> {
    /// Writes the rows of a file.
    async fn write(&mut self, source: &Source) -> Result<(), Error> {
        let opened = source.file.open(self.output).await?;
        let mut notes = opened.notes();
        notes.push(self.intervals.note());
        let kind = FileKind {
            schema: self.columns.schema(&source.schema),
            notes,
        };
        let (mut rows, mut row) = (opened.read_all()?, source.first_row);
        while let Some(batch) = rows.try_next().await? {
            let next = row + batch.num_rows() as u64;
            if next > source.first_row + source.rows {
                return source.check_end(self.output, next);
            }
            let kept = kept_rows(&batch, row, &self.current);
            let kept = kept.and_then(|kept| self.intervals.calibrate(&kept));
            let kept = kept.map_err(|reason| misread(self.output, &source.file, reason))?;
            self.exported.rows += kept.num_rows() as u64;
            self.exported.rows_superseded += (batch.num_rows() - kept.num_rows()) as u64;
            row = next;
            if kept.num_rows() > 0 {
                if let Some(qp) = &mut self.qp {
                    qp.write(&kept).await?;
                }
                self.files.write(kept, &kind).await?;
            }
        }
        source.check_end(self.output, row)
    }

    async fn finish(mut self) -> Result<Exported, Error> {
        self.files.finish().await?;
        if let Some(qp) = self.qp {
            qp.finish().await?;
        }
        (self.exported.files, self.exported.bytes) = (self.files.files, self.files.bytes);
        Ok(self.exported)
    }
}

/// The rows of a batch, whose first has this number, that are current and not withdrawn.
fn kept_rows(
    batch: &RecordBatch,
    first_row: u64,
    current: &CurrentRows,
) -> Result<RecordBatch, String> {
    let flags = batch.column_by_name("z_flags");
    let flags = flags.and_then(|flags| flags.as_primitive_opt::<Int32Type>());
    let flags = flags.ok_or("there is no column z_flags of Int32")?;
    let keep = flags
        .values()
        .iter()
        .zip(first_row..)
        .map(|(flags, row)| Some(flags & DELETED == 0 && current.holds(row)));
    let keep: BooleanArray = keep.collect();
    filter_record_batch(batch, &keep).map_err(|error| error.to_string())
}
