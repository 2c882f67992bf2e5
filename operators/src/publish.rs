//! Write metrics beside the ledger, and read them there.
//!
//! ```text
//! OUT/_hubbleflow/metrics/<sequence, 20 digits>.json
//! ```
//! A file is a function of what was committed up to its entry, and is written once: what a later run makes of files that
//! have come to harm since does not take its place. Most files hold what changed since the entry before, and one in
//! [`COMPLETE_EVERY`] holds all: a reader puts the files from there on together.
use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use connectors::{Error, Ledger, Output, committed::kept, ledger::Kind};
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use timely::dataflow::channels::pact::Pipeline;
use tokio::sync::Mutex;

use crate::{
    Flow, Metrics, Scored, Scorer,
    metrics::{COMPLETE_EVERY, FORMAT, Numbers},
    offload::offload,
};

/// Where the metrics up to an entry lie below the output.
/// ```
/// assert_eq!(operators::publish::path_of(3), "_hubbleflow/metrics/00000000000000000003.json");
/// ```
pub fn path_of(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:020}.json")
}

/// Where they all lie.
const FOLDER: &str = "_hubbleflow/metrics";
/// Files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// Metrics that were written, in short, or why they were not.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// The numbers over all objects.
    pub all: Result<Numbers, String>,
}

/// Writes metrics.
/// ```
/// # use connectors::{Ledger, Location, Output};
/// # use operators::metrics::Numbers;
/// use operators::{Metrics, Publish, Scored, Scorer, publish};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
///
/// let metrics = Metrics::new(3, "night-3", 0, [], |_| String::new());
/// let scored = Scored { sequence: 3, drop: "night-3".to_owned(), metrics: Ok(Box::new(metrics.clone())) };
/// let ledger = Ledger::unread(output.location());
/// let scorer = Scorer {
///     output: output.clone(),
///     ledger: std::sync::Arc::new(tokio::sync::Mutex::new(ledger)),
///     first: Vec::new(),
///     runtime: runtime.handle().clone(),
/// };
/// timely::example(move |scope| {
///     [scored].to_stream(scope).container::<Vec<_>>().publish(&scorer).inspect(|published| {
///         assert_eq!(published.all, Ok(Numbers::default()));
///     });
/// });
/// assert_eq!(runtime.block_on(publish::read(&output, 3)).unwrap(), Some(metrics));
/// ```
pub trait Publish<'s> {
    /// Writes each metrics file; one that cannot be written is told of, and rebuilt by a later run.
    fn publish(self, scorer: &Scorer) -> Flow<'s, Published>;
}

impl<'s> Publish<'s> for Flow<'s, Scored> {
    fn publish(self, scorer: &Scorer) -> Flow<'s, Published> {
        let scorer = scorer.clone();
        let files = Arc::new(Mutex::new(Files::default()));
        offload(self, Pipeline, "Publish", 1, move |scored, reply| {
            let (runtime, scorer, files) = (&scorer.runtime, scorer.clone(), files.clone());
            runtime.spawn(async move {
                let Scored {
                    sequence,
                    drop,
                    metrics,
                } = scored;
                let all = match metrics {
                    Ok(metrics) => {
                        let written = files.lock().await.write(&scorer, &metrics).await;
                        written
                            .map(|()| metrics.all)
                            .map_err(|error| error.to_string())
                    }
                    Err(reason) => Err(reason),
                };
                reply.send(Published {
                    sequence,
                    drop,
                    all,
                });
                reply.finish();
            });
        })
    }
}

/// The files as they follow on each other.
#[derive(Default)]
struct Files {
    /// The metrics that they come to.
    whole: Option<Metrics>,
    /// Whether the last file is missing, or says something else than `whole`: changes to it would be of no use.
    is_other: bool,
}

impl Files {
    async fn write(&mut self, scorer: &Scorer, file: &Metrics) -> Result<(), Error> {
        let whole = self.whole.get_or_insert_with(|| file.clone());
        whole.update(file.clone());
        let file = if self.is_other { &*whole } else { file };
        let created = create(&scorer.output, file).await;
        self.is_other = match created {
            Ok(true) => false,
            // An earlier run has written it, perhaps of committed files that have come to harm since.
            Ok(false) => !says(scorer, whole).await,
            Err(_) => true,
        };
        created.map(|_was_missing| ())
    }
}

/// Whether the files come to these metrics.
async fn says(scorer: &Scorer, metrics: &Metrics) -> bool {
    let sequences = backwards(&*scorer.ledger.lock().await, metrics.sequence);
    let read = put_together(&scorer.output, sequences).await;
    matches!(read, Ok(Some(read)) if read == metrics.as_read())
}

/// Writes metrics unless they are there, and says whether they were missing.
async fn create(output: &Output, metrics: &Metrics) -> Result<bool, Error> {
    let name = path_of(metrics.sequence);
    output.location().create(&name, metrics.to_json()).await
}

/// Writes the metrics up to an entry, unless they are there.
///
/// # Errors
/// The store's.
pub async fn write(output: &Output, metrics: &Metrics) -> Result<(), Error> {
    create(output, metrics).await.map(|_was_missing| ())
}

/// The entries to score, in order, so that all metrics that are missing and can be made are: since a file holds what
/// changed, the entry before it is among them.
///
/// # Errors
/// The store's.
pub async fn to_score(output: &Output, ledger: &Ledger) -> Result<Vec<u64>, Error> {
    let (there, kept) = (listed(output).await?, kept(ledger));
    let can_be_made = |sequence: &u64| kept.binary_search(sequence).is_ok();
    let (mut to_score, mut before) = (Vec::new(), None);
    for sequence in drops(ledger, u64::MAX) {
        if can_be_made(&sequence) && !there.contains(&path_of(sequence)) {
            to_score.extend(before.filter(can_be_made));
            to_score.push(sequence);
        }
        before = Some(sequence);
    }
    to_score.dedup();
    Ok(to_score)
}

/// The entries up to a number that commit a drop.
fn drops(ledger: &Ledger, sequence: u64) -> impl DoubleEndedIterator<Item = u64> {
    let entries = ledger.entries();
    let entries = &entries[..entries.len().min(sequence as usize)];
    let drops = entries.iter().filter(|entry| entry.kind == Kind::Drop);
    drops.map(|entry| entry.sequence)
}

/// The files of metrics that are there.
///
/// # Errors
/// The store's.
pub async fn listed(output: &Output) -> Result<BTreeSet<String>, Error> {
    let location = output.location();
    let listed = location.store.list(Some(&location.path(FOLDER)?));
    let listed = listed
        .map_ok(|meta| location.relative(&meta.location).to_owned())
        .try_collect()
        .await;
    listed.map_err(|source| Error::store(location.url_of(FOLDER), source))
}

/// The metrics up to an entry as they were written; none where they are not there.
///
/// # Errors
/// The store's.
pub async fn read_bytes(output: &Output, sequence: u64) -> Result<Option<Bytes>, Error> {
    output.location().read_if_there(&path_of(sequence)).await
}

/// The whole metrics up to an entry, from its file and those before it; `None` if one of them is not there.
///
/// # Errors
/// As [`read`].
pub async fn read_whole(
    output: &Output,
    ledger: &Ledger,
    sequence: u64,
) -> Result<Option<Metrics>, Error> {
    put_together(output, backwards(ledger, sequence)).await
}

/// The entries whose files may be needed for the whole metrics up to an entry, the newest first.
fn backwards(ledger: &Ledger, sequence: u64) -> Vec<u64> {
    let newest = drops(ledger, sequence).rev();
    newest.take(COMPLETE_EVERY as usize).collect()
}

/// The whole metrics that the files of these entries, the newest first, come to.
async fn put_together(output: &Output, sequences: Vec<u64>) -> Result<Option<Metrics>, Error> {
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

/// Reads the file of the metrics up to an entry; `None` if it is not there.
///
/// # Errors
/// The store's, [`Error::Format`] if a newer engine wrote it, or [`Error::Ledger`] if it holds no metrics.
pub async fn read(output: &Output, sequence: u64) -> Result<Option<Metrics>, Error> {
    let bytes = read_bytes(output, sequence).await?;
    bytes
        .map(|bytes| parse(output, sequence, &bytes))
        .transpose()
}

/// What the file of the metrics up to an entry says.
///
/// # Errors
/// [`Error::Format`] where a newer engine wrote it, or [`Error::Ledger`] where it holds none.
pub fn parse(output: &Output, sequence: u64, bytes: &[u8]) -> Result<Metrics, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let object = output.location().url_of(&path_of(sequence));
    let broken = |error: serde_json::Error| Error::Ledger {
        object: object.clone(),
        reason: format!("holds no metrics: {error}; delete it, and it is made again"),
    };
    let Format { format } = serde_json::from_slice(bytes).map_err(broken)?;
    if format > FORMAT {
        return Err(Error::Format {
            object,
            found: format,
            known: FORMAT,
        });
    }
    serde_json::from_slice(bytes).map_err(broken)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, ops::RangeInclusive};

    use connectors::{Location, ledger::Entry};
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::metrics::Slice;

    /// What scoring needs, with a ledger of some drops, in a folder.
    async fn scorer(drops: u64) -> (TempDir, Scorer) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
        let mut ledger = Ledger::open(output.location()).await.unwrap();
        for drop in 1..=drops {
            let entry = Entry {
                kind: Kind::Drop,
                drop: drop.to_string(),
                ..Entry::abandoned(&drop.to_string(), "0")
            };
            let began = ledger.next();
            ledger.append(entry, began).await.unwrap();
        }
        let scorer = Scorer {
            output,
            ledger: Arc::new(Mutex::new(ledger)),
            first: Vec::new(),
            runtime: Handle::current(),
        };
        (folder, scorer)
    }

    /// Metrics with an object in each of these tiles.
    fn metrics(sequence: u64, tiles: RangeInclusive<u16>) -> Metrics {
        let numbers = |n| Numbers {
            n,
            ..Numbers::default()
        };
        let mut slices = vec![(Slice::All, numbers(sequence as i64))];
        slices.extend(tiles.map(|tile| (Slice::Tile(tile), numbers(1))));
        let slices = slices.iter().map(|(slice, of)| (slice, of));
        let drop_of = |_| String::new();
        Metrics::new(sequence, "night", sequence as i64, slices, drop_of)
    }

    /// Each entry adds an object to a tile of its own.
    fn changes(sequence: u64) -> Metrics {
        let tile = sequence as u16;
        metrics(sequence, tile..=tile).into_changes()
    }

    /// The next file held changes to one that is not there, so there were no metrics up to its entry, nor up to later ones.
    #[tokio::test]
    async fn after_a_file_that_could_not_be_written_the_next_is_complete() {
        let (folder, scorer) = scorer(0).await;
        let mut files = Files::default();
        files.write(&scorer, &metrics(1, 1..=1)).await.unwrap();
        let place = folder.path().join(FOLDER);
        let aside = folder.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        fs::write(&place, "a file, where there should be a folder").unwrap();
        assert!(files.write(&scorer, &changes(2)).await.is_err());
        assert!(files.write(&scorer, &changes(3)).await.is_err());
        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        files.write(&scorer, &changes(4)).await.unwrap();
        files.write(&scorer, &changes(5)).await.unwrap();
        let written = async |sequence| read(&scorer.output, sequence).await.unwrap();
        assert_eq!(written(2).await, None);
        assert_eq!(written(3).await, None);
        assert_eq!(written(4).await, Some(metrics(4, 1..=4)));
        assert_eq!(written(5).await, Some(changes(5)));
    }

    /// A run began from committed files that had come to harm, so its first changes were to metrics that no file told.
    #[tokio::test]
    async fn after_a_file_that_says_something_else_the_next_is_complete() {
        for is_as_told in [true, false] {
            let (_folder, scorer) = scorer(3).await;
            let mut files = Files::default();
            files.write(&scorer, &metrics(1, 1..=1)).await.unwrap();
            files.write(&scorer, &changes(2)).await.unwrap();
            // The next run.
            let mut files = Files::default();
            let tiles = if is_as_told { 1..=2 } else { 1..=1 };
            files.write(&scorer, &metrics(2, tiles)).await.unwrap();
            files.write(&scorer, &changes(3)).await.unwrap();
            let third = read(&scorer.output, 3).await.unwrap().unwrap();
            assert_eq!(third.complete, !is_as_told);
            let ledger = scorer.ledger.lock().await;
            let whole = read_whole(&scorer.output, &ledger, 3).await.unwrap();
            let tiles = if is_as_told { 3 } else { 2 };
            assert_eq!(whole.unwrap().by_tile.len(), tiles);
        }
    }

    /// Files were always complete before some held changes alone, and did not say so.
    #[tokio::test]
    async fn a_file_that_does_not_say_whether_it_is_complete_is() {
        let (_folder, scorer) = scorer(0).await;
        let whole = Metrics::new(1, "night", 0, [], |_| String::new());
        let text = String::from_utf8(whole.to_json()).unwrap();
        let old = text.replace("\n  \"complete\": true,", "");
        assert_ne!(old, text);
        assert_eq!(parse(&scorer.output, 1, old.as_bytes()).unwrap(), whole);
        let changes = whole.into_changes().to_json();
        assert!(!parse(&scorer.output, 1, &changes).unwrap().complete);
    }
}
