//! Publishes metrics: writes a metrics file for each entry that was scored.
mod files;

use std::sync::Arc;

use connectors::Error;
use timely::dataflow::channels::pact::Pipeline;
use tokio::sync::Mutex;

use crate::{
    Flow, Scored, Scorer,
    metrics::{Metrics, Numbers},
    offload::offload,
};

pub use files::{listed, parse, path_of, read, read_bytes, read_whole, to_score, write};

/// The numbers of a metrics file that was written, or why it was not written.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The number of the entry.
    pub sequence: u64,
    /// The drop of the entry.
    pub drop: String,
    /// The metrics of all objects.
    pub all: Result<Numbers, String>,
}

/// Writes metrics.
/// ```
/// # use connectors::{Ledger, Location, Output};
/// # use hubbleflow_operators::metrics::Numbers;
/// use hubbleflow_operators::{Metrics, Publish, Scored, Scorer, publish};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
///
/// let metrics = Metrics::new(3, "night-3", 0, None, [], |_| String::new());
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
    /// Writes each metrics file. If a file cannot be written, the reason is emitted, and a later run makes the file again.
    fn publish(self, scorer: &Scorer) -> Flow<'s, Published>;
}

impl<'s> Publish<'s> for Flow<'s, Scored> {
    fn publish(self, scorer: &Scorer) -> Flow<'s, Published> {
        let scorer = scorer.clone();
        let files = Arc::new(Mutex::new(FileWriter::default()));
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

/// Writes metrics files in the order of their entries.
#[derive(Default)]
struct FileWriter {
    /// The metrics up to the last entry: all files together.
    whole: Option<Metrics>,
    /// Whether the last file is missing, or says something else than `whole`. Then the next file is complete, because
    /// changes to such a file are of no use.
    differs: bool,
}

impl FileWriter {
    async fn write(&mut self, scorer: &Scorer, file: &Metrics) -> Result<(), Error> {
        let whole = self.whole.get_or_insert_with(|| file.clone());
        whole.update(file.clone());
        let file = if self.differs { &*whole } else { file };
        let created = files::create(&scorer.output, file).await;
        self.differs = match created {
            Ok(true) => false,
            // An earlier run wrote the file, perhaps from committed files that have been damaged since.
            Ok(false) => !says(scorer, whole).await,
            Err(_) => true,
        };
        created.map(|_was_missing| ())
    }
}

/// Whether the files come to these metrics.
async fn says(scorer: &Scorer, metrics: &Metrics) -> bool {
    let sequences = files::backwards(&*scorer.ledger.lock().await, metrics.sequence);
    let read = files::put_together(&scorer.output, sequences).await;
    matches!(read, Ok(Some(read)) if read == metrics.as_read())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, ops::RangeInclusive};

    use connectors::{
        Ledger, Location, Output,
        ledger::{Entry, EntryKind},
    };
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::metrics::Slice;

    /// Makes a scorer with a ledger of some drops, in a folder.
    async fn scorer(drops: u64) -> (TempDir, Scorer) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(Location::open(folder.path().to_str().unwrap(), &[]).unwrap());
        let mut ledger = Ledger::open(output.location()).await.unwrap();
        for drop in 1..=drops {
            let entry = Entry {
                kind: EntryKind::Drop,
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
        Metrics::new(sequence, "night", sequence as i64, None, slices, drop_of)
    }

    /// Each entry adds an object to a tile of its own.
    fn changes(sequence: u64) -> Metrics {
        let tile = sequence as u16;
        metrics(sequence, tile..=tile).into_changes()
    }

    /// The next file held changes to a missing file, so no metrics could be read up to its entry or a later one.
    #[tokio::test]
    async fn the_file_after_one_that_could_not_be_written_is_complete() {
        let (folder, scorer) = scorer(0).await;
        let mut files = FileWriter::default();
        files.write(&scorer, &metrics(1, 1..=1)).await.unwrap();
        let place = folder.path().join(connectors::paths::METRICS);
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

    /// A run began from damaged committed files, so its first file held changes to metrics that no file tells.
    #[tokio::test]
    async fn the_file_after_one_that_says_something_else_is_complete() {
        for is_as_told in [true, false] {
            let (_folder, scorer) = scorer(3).await;
            let mut files = FileWriter::default();
            files.write(&scorer, &metrics(1, 1..=1)).await.unwrap();
            files.write(&scorer, &changes(2)).await.unwrap();
            // The next run.
            let mut files = FileWriter::default();
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
}
