//! Writes and reads the metrics files beside the ledger.
//!
//! ```text
//! OUT/_hubbleflow/metrics/<sequence, 20 digits>.json
//! ```
//! A file depends on the entries up to its own alone, and is written once: a later run does not replace it, even if
//! committed files have been damaged since. Most files hold the changes since the entry before, and one in
//! [`COMPLETE_EVERY`] is complete. A reader puts together the files since the last complete one.
use std::collections::BTreeSet;

use bytes::Bytes;
use connectors::{Error, Ledger, Output, committed::kept, json_format, ledger::EntryKind, paths};
use futures::{StreamExt, TryStreamExt};

use crate::metrics::{COMPLETE_EVERY, FORMAT, Metrics};

/// The path of the metrics up to an entry, below the output.
/// ```
/// assert_eq!(hubbleflow_operators::publish::path_of(3), "_hubbleflow/metrics/00000000000000000003.json");
/// ```
pub fn path_of(sequence: u64) -> String {
    paths::metrics(sequence)
}

/// The number of files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// Writes the metrics up to an entry, unless the file exists.
///
/// # Errors
/// [`Error`] if the store refuses the file.
pub async fn write(output: &Output, metrics: &Metrics) -> Result<(), Error> {
    create(output, metrics).await.map(|_was_missing| ())
}

/// Writes the metrics up to an entry, unless the file exists. Returns whether the file was missing.
pub(super) async fn create(output: &Output, metrics: &Metrics) -> Result<bool, Error> {
    let name = path_of(metrics.sequence);
    output.location().create(&name, metrics.to_json()).await
}

/// The entries to score, in order, so that all missing metrics that can be made are made. A file holds changes, so the
/// entry before a missing file is scored too.
///
/// # Errors
/// [`Error`] if the files cannot be listed.
pub async fn to_score(output: &Output, ledger: &Ledger) -> Result<Vec<u64>, Error> {
    let (written, kept) = (listed(output).await?, kept(ledger));
    let can_be_made = |sequence: &u64| kept.binary_search(sequence).is_ok();
    let (mut to_score, mut before) = (Vec::new(), None);
    for sequence in drops(ledger, u64::MAX) {
        if can_be_made(&sequence) && !written.contains(&path_of(sequence)) {
            to_score.extend(before.filter(can_be_made));
            to_score.push(sequence);
        }
        before = Some(sequence);
    }
    to_score.dedup();
    Ok(to_score)
}

/// The numbers of the entries up to `sequence` that commit a drop.
fn drops(ledger: &Ledger, sequence: u64) -> impl DoubleEndedIterator<Item = u64> {
    let entries = ledger.entries();
    let entries = &entries[..entries.len().min(sequence as usize)];
    let drops = entries.iter().filter(|entry| entry.kind == EntryKind::Drop);
    drops.map(|entry| entry.sequence)
}

/// The paths of the metrics files that exist.
///
/// # Errors
/// [`Error`] if the files cannot be listed.
pub async fn listed(output: &Output) -> Result<BTreeSet<String>, Error> {
    let location = output.location();
    let listed = location.store.list(Some(&location.path(paths::METRICS)?));
    let listed = listed
        .map_ok(|meta| location.relative(&meta.location).to_owned())
        .try_collect()
        .await;
    listed.map_err(|source| Error::store(location.url_of(paths::METRICS), source))
}

/// The bytes of the file of the metrics up to an entry; `None` if the file does not exist.
///
/// # Errors
/// [`Error`] if the file cannot be read.
pub async fn read_bytes(output: &Output, sequence: u64) -> Result<Option<Bytes>, Error> {
    output.location().read_if_there(&path_of(sequence)).await
}

/// The whole metrics up to an entry, from its file and the files before it; `None` if one of them does not exist.
///
/// # Errors
/// The errors of [`read`].
pub async fn read_whole(
    output: &Output,
    ledger: &Ledger,
    sequence: u64,
) -> Result<Option<Metrics>, Error> {
    put_together(output, backwards(ledger, sequence)).await
}

/// The entries whose files may be needed for the whole metrics up to an entry, the newest first.
pub(super) fn backwards(ledger: &Ledger, sequence: u64) -> Vec<u64> {
    let newest = drops(ledger, sequence).rev();
    newest.take(COMPLETE_EVERY as usize).collect()
}

/// The whole metrics that the files of these entries, the newest first, come to.
pub(super) async fn put_together(
    output: &Output,
    sequences: Vec<u64>,
) -> Result<Option<Metrics>, Error> {
    let reads = sequences.into_iter().map(|sequence| read(output, sequence));
    let mut files = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(FILES_AT_ONCE);
    let mut changes = Vec::new();
    while let Some(Some(file)) = files.try_next().await? {
        if file.complete {
            let mut whole = file;
            changes
                .into_iter()
                .rev()
                .for_each(|file| whole.update(file));
            return Ok(Some(whole));
        }
        changes.push(file);
    }
    Ok(None)
}

/// Reads the file of the metrics up to an entry; `None` if the file does not exist.
///
/// # Errors
/// The errors of [`read_bytes`] and of [`parse`].
pub async fn read(output: &Output, sequence: u64) -> Result<Option<Metrics>, Error> {
    let bytes = read_bytes(output, sequence).await?;
    bytes
        .map(|bytes| parse(output, sequence, &bytes))
        .transpose()
}

/// Parses the bytes of a metrics file.
///
/// # Errors
/// - [`Error::Format`] if a newer engine wrote the file
/// - [`Error::Ledger`] if the file holds no metrics
pub fn parse(output: &Output, sequence: u64, bytes: &[u8]) -> Result<Metrics, Error> {
    let object = output.location().url_of(&path_of(sequence));
    json_format::parse(bytes, &object, FORMAT, |error| {
        format!("holds no metrics: {error}; delete it, and it is made again")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use connectors::Location;

    use super::*;

    /// Old files are all complete, and have no field that says so.
    #[tokio::test]
    async fn a_file_without_the_field_complete_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
        let whole = Metrics::new(1, "night", 0, None, [], |_| String::new());
        let text = String::from_utf8(whole.to_json()).unwrap();
        let old = text.replace("\n  \"complete\": true,", "");
        assert_ne!(old, text);
        assert_eq!(parse(&output, 1, old.as_bytes()).unwrap(), whole);
        let changes = whole.into_changes().to_json();
        assert!(!parse(&output, 1, &changes).unwrap().complete);
    }
}
