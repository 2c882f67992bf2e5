//! Reads committed rows. Each worker reads a share of the files, no matter which worker wrote them.
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use connectors::{
    Error, Output,
    committed::{CommittedFile, nulls_of},
    galaxy::mag_column,
    part::Folder,
};
use differential_dataflow::Hashable;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use tokio::runtime::Handle;

use super::{
    change::Standing,
    held::KeyedRow,
    quantiles::StoredQuantiles,
    row::{ObjectKey, columns_of, rows_of},
};
use crate::{
    Flow,
    offload::{Reply, offload},
};

/// Which rows of the files are read.
#[derive(Clone, Debug)]
pub enum RowFilter {
    /// All rows.
    All,
    /// The rows with a spec-z.
    WithSpecZ,
    /// The rows of these objects that have no spec-z.
    Of(Arc<HashSet<ObjectKey>>),
}

/// The files to read after a change.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The entries whose files are read.
    pub entries: Vec<Standing>,
    /// Entries whose files need not be read any more.
    pub superseded: Vec<u32>,
    /// The rows that are read.
    pub wanted: RowFilter,
}

/// Rows of a file for one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScannedRows {
    /// The number of the worker.
    worker: usize,
    rows: Vec<KeyedRow>,
    /// Their quantiles, row after row; empty if the file has none.
    quantiles: Vec<f32>,
}

impl ScannedRows {
    /// Each row with its quantiles.
    pub fn iter(&self) -> impl Iterator<Item = (KeyedRow, &[f32])> {
        let width = self.quantiles.len() / self.rows.len().max(1);
        let rows = self.rows.iter().enumerate();
        rows.map(move |(place, row)| (*row, &self.quantiles[place * width..][..width]))
    }

    /// Sends rows to the worker of their objects, which is the worker that differential chooses too.
    pub fn by_object() -> Exchange<Self, impl FnMut(&Self) -> u64> {
        Exchange::new(|rows: &Self| rows.worker as u64)
    }

    /// Cuts rows by the worker of their objects. Those that are not `wanted` are left out.
    fn cut(
        rows: Vec<KeyedRow>,
        quantiles: &[f32],
        wanted: impl Fn(&KeyedRow) -> bool,
        workers: usize,
    ) -> Vec<Self> {
        let width = quantiles.len() / rows.len().max(1);
        let mut cut = vec![Self::default(); workers];
        for (place, row) in rows.into_iter().enumerate().filter(|(_, row)| wanted(row)) {
            let of_worker = &mut cut[(row.0.hashed() % workers as u64) as usize];
            of_worker.rows.push(row);
            let quantiles = &quantiles[place * width..][..width];
            of_worker.quantiles.extend_from_slice(quantiles);
        }
        let cut = (0..).zip(cut).map(|(worker, rows)| Self { worker, ..rows });
        cut.filter(|rows| !rows.rows.is_empty()).collect()
    }
}

/// The result of reading a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ScanOutput {
    /// Some of the rows.
    Rows(ScannedRows),
    /// The file could not be read.
    Unread(UnreadEntry),
}

/// An entry whose rows could not be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnreadEntry {
    /// The number of the entry.
    pub entry: u32,
    /// What happened, and to which object.
    pub reason: String,
}

/// A file to read.
#[derive(Clone, Debug)]
struct ToRead {
    entry: u32,
    /// The column of the magnitude.
    mag: Option<String>,
    quantiles: StoredQuantiles,
    file: CommittedFile,
    wanted: RowFilter,
}

/// Reads this worker's share of the files, one after another. Files that could not be read earlier come first; some of
/// their rows may come twice.
pub fn scan<'s>(scans: Flow<'s, Scan>, output: &Output, runtime: &Handle) -> Flow<'s, ScanOutput> {
    let worker = scans.scope().worker();
    let (index, peers) = (worker.index(), worker.peers());
    let (output, runtime) = (output.clone(), runtime.clone());
    let unread: Arc<Mutex<Vec<ToRead>>> = Arc::default();
    offload(scans, Pipeline, "Scan", 1, move |scan, reply| {
        let (output, unread) = (output.clone(), unread.clone());
        let mut files = std::mem::take(&mut *lock(&unread));
        files.retain(|earlier| !scan.superseded.contains(&earlier.entry));
        files.extend(share(scan, index, peers));
        runtime.spawn(async move {
            for file in files {
                let read = read(&file, &output, peers, &reply);
                if let Err(error) = read.await {
                    let (entry, reason) = (file.entry, error.to_string());
                    lock(&unread).push(file);
                    reply.send(ScanOutput::Unread(UnreadEntry { entry, reason }));
                }
            }
            reply.finish();
        });
    })
}

fn lock(files: &Mutex<Vec<ToRead>>) -> std::sync::MutexGuard<'_, Vec<ToRead>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The share of a worker.
fn share(scan: Scan, index: usize, peers: usize) -> Vec<ToRead> {
    let mut files = Vec::new();
    for standing in scan.entries {
        let of_rows = |file: &CommittedFile| matches!(file.folder, Folder::Photoz | Folder::SpecZ);
        let mag = standing.reference_band.as_deref().map(mag_column);
        let of_entry = standing.files.into_iter().filter(of_rows);
        files.extend(of_entry.map(|file| ToRead {
            entry: standing.entry,
            mag: mag.clone(),
            quantiles: standing.quantiles.clone(),
            file,
            wanted: scan.wanted.clone(),
        }));
    }
    let of_worker = files.into_iter().skip(index).step_by(peers);
    of_worker.collect()
}

/// Reads the wanted rows of a file, a few thousand at a time.
async fn read(
    to_read: &ToRead,
    output: &Output,
    workers: usize,
    reply: &Reply<ScanOutput>,
) -> Result<(), Error> {
    let ToRead {
        entry,
        mag,
        quantiles,
        file,
        wanted,
    } = to_read;
    let mag = mag.as_deref();
    let mut columns = columns_of(file.folder, mag);
    columns.extend(quantiles.columns(file.folder));
    let mut batches = file.open(output).await?.read(&columns, |group| {
        // A row group knows how many of its rows have no spec-z. Often all rows have one, or no row has.
        let (nulls, rows) = (nulls_of(group, "z_spec"), group.num_rows() as u64);
        match wanted {
            RowFilter::All => true,
            RowFilter::WithSpecZ => nulls != Some(rows),
            RowFilter::Of(_) => nulls != Some(0),
        }
    })?;
    while let Some(batch) = batches.try_next().await? {
        let corrupt = |reason| Error::Corrupt {
            object: output.location().url_of(&file.path),
            reason,
        };
        let rows = rows_of(&batch, file.folder, *entry, mag).map_err(corrupt)?;
        let quantiles = quantiles.read(&batch, file.folder).map_err(corrupt)?;
        let is_wanted = |(key, row): &KeyedRow| {
            let has_spec_z = row.z_spec.get().is_some();
            match wanted {
                RowFilter::All => true,
                RowFilter::WithSpecZ => has_spec_z,
                RowFilter::Of(keys) => !has_spec_z && keys.contains(key),
            }
        };
        for rows in ScannedRows::cut(rows, &quantiles, is_wanted, workers) {
            reply.send_in_turn(ScanOutput::Rows(rows)).await;
        }
    }
    Ok(())
}
