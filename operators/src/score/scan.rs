//! Read committed rows: each worker its share of the files, whatever worker wrote them.
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use connectors::{
    Error, Output,
    committed::{CommittedFile, nulls_of},
    part::Folder,
};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Pipeline;
use tokio::runtime::Handle;

use super::{
    change::Standing,
    row::{Key, PHOTOZ_COLUMNS, Row, SPECZ_COLUMNS, rows_of},
};
use crate::{
    Flow,
    offload::{Reply, offload},
};

/// Which rows are wanted of the files.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All.
    All,
    /// Those with a spec-z.
    WithSpecZ,
    /// Those without a spec-z, of these objects.
    Of(Arc<HashSet<Key>>),
}

/// Files to be read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The entries.
    pub entries: Vec<Standing>,
    /// Entries whose files are no longer of interest.
    pub superseded: Vec<u32>,
    /// The rows that are wanted of them.
    pub wanted: Wanted,
}

/// What came of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Found {
    /// Some of its rows.
    Rows(Vec<(Key, Row)>),
    /// It could not be read.
    Failed(Failed),
}

/// An entry whose rows could not be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    /// Its number.
    pub entry: u32,
    /// What happened, to which object.
    pub reason: String,
}

/// A file to be read.
#[derive(Clone, Debug)]
struct ToRead {
    entry: u32,
    file: CommittedFile,
    wanted: Wanted,
}

/// Reads this worker's share of the files, one after another, and before them those that could not be read earlier. Some
/// rows of these may come twice.
pub fn scan<'s>(scans: Flow<'s, Scan>, output: &Output, runtime: &Handle) -> Flow<'s, Found> {
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
                let read = read(&file, &output, &reply);
                if let Err(error) = read.await {
                    let (entry, reason) = (file.entry, error.to_string());
                    lock(&unread).push(file);
                    reply.send(Found::Failed(Failed { entry, reason }));
                }
            }
            reply.finish();
        });
    })
}

fn lock(files: &Mutex<Vec<ToRead>>) -> std::sync::MutexGuard<'_, Vec<ToRead>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker's share of the files.
fn share(scan: Scan, index: usize, peers: usize) -> Vec<ToRead> {
    let mut files = Vec::new();
    for standing in scan.entries {
        let of_rows = |file: &CommittedFile| file.folder != Folder::Rejects;
        let of_entry = standing.files.into_iter().filter(of_rows);
        files.extend(of_entry.map(|file| ToRead {
            entry: standing.entry,
            file,
            wanted: scan.wanted.clone(),
        }));
    }
    let of_worker = files.into_iter().skip(index).step_by(peers);
    of_worker.collect()
}

/// Reads the wanted rows of a file, a few thousand at a time.
async fn read(to_read: &ToRead, output: &Output, reply: &Reply<Found>) -> Result<(), Error> {
    let ToRead {
        entry,
        file,
        wanted,
    } = to_read;
    let columns: &[&str] = match file.folder {
        Folder::SpecZ => &SPECZ_COLUMNS,
        _ => &PHOTOZ_COLUMNS,
    };
    let mut batches = file.open(output).await?.read(columns, |group| {
        // A row group says how many of its rows have no spec-z: often none or all.
        let (nulls, rows) = (nulls_of(group, "z_spec"), group.num_rows() as u64);
        match wanted {
            Wanted::All => true,
            Wanted::WithSpecZ => nulls != Some(rows),
            Wanted::Of(_) => nulls != Some(0),
        }
    })?;
    while let Some(batch) = batches.try_next().await? {
        let mut rows = rows_of(&batch, file.folder, *entry).map_err(|reason| Error::Corrupt {
            object: output.location().url_of(&file.path),
            reason,
        })?;
        let has_spec_z = |row: &Row| row.z_spec.get().is_some();
        match wanted {
            Wanted::All => {}
            Wanted::WithSpecZ => rows.retain(|(_, row)| has_spec_z(row)),
            Wanted::Of(keys) => rows.retain(|(key, row)| !has_spec_z(row) && keys.contains(key)),
        }
        if !rows.is_empty() {
            reply.send_in_turn(Found::Rows(rows)).await;
        }
    }
    Ok(())
}
