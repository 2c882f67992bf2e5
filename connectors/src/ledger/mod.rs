//! The ledger: numbered objects, made with create-if-absent, that say which drops are committed.
//!
//! ```text
//! OUT/_hubbleflow/ledger/00000000000000000001.json     gapless; an entry never changes
//! ```
//! A run commits by creating the object of the next number. A run that finds the number taken reads that entry and tries
//! the number after it. There are no clocks and no leases: an attempt learns from earlier entries that it was abandoned, or
//! that another run was faster. A run also keeps copies of many entries in one object (`compacted.rs`), from which
//! a long ledger opens in few requests.
mod compacted;
pub mod entry;
mod entry_object;
pub mod flag_counts;
mod index;
pub mod seal;

use futures::{StreamExt, TryStreamExt};
use object_store::PutMode;

use self::{compacted::Copied, entry_object::read_entry, index::LedgerIndex};
use crate::{
    Error, Location,
    galaxy::{IdKind, KeptTypes, kept::UNTYPED},
    paths,
};

pub use self::entry::{
    Entry, EntryKind, FORMAT, FileRecord, LEVELS, QUANTILES, REFERENCE_BAND, RowCounts, checksum,
};
pub use self::flag_counts::FlagCounts;

/// The number of entries that are read at once.
const READS_AT_ONCE: usize = 32;

/// The outcome of appending an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry is in the ledger under this number.
    Committed(u64),
    /// Another run committed the same drop after this attempt began, so this attempt is void.
    Overtaken(u64),
    /// Another run abandoned this attempt. The stage may be gone.
    Abandoned(u64),
}

/// The entries of an output so far.
#[derive(Clone, Debug)]
pub struct Ledger {
    output: Location,
    index: LedgerIndex,
    /// The last entries that have copies.
    copied: Copied,
}

impl Ledger {
    /// Makes a ledger without reading its entries, for a process that commits nothing.
    pub fn unread(output: &Location) -> Self {
        Self {
            output: output.clone(),
            index: LedgerIndex::default(),
            copied: Copied::default(),
        }
    }

    /// Reads the ledger of an output. It is empty if the output does not exist.
    ///
    /// # Errors
    /// Errors of the store, [`Error::Format`], or [`Error::Ledger`] if an entry is missing.
    pub async fn open(output: &Location) -> Result<Self, Error> {
        let mut ledger = Self::unread(output);
        // Copies only save time. If they cannot be read, the entries are read.
        let read = compacted::read(output).await;
        let (copies, copied) = read.unwrap_or_else(|error| {
            tracing::warn!("the ledger is read entry by entry, which is slow: {error}");
            Default::default()
        });
        copies
            .into_iter()
            .for_each(|entry| ledger.index.push(entry));
        ledger.copied = copied;
        let count = ledger.next() - 1 + count_after(output, ledger.next() - 1).await?;
        let reads = (ledger.next()..=count).map(|sequence| read_entry(output, sequence));
        let mut reads = futures::stream::iter(reads.collect::<Vec<_>>()).buffered(READS_AT_ONCE);
        while let Some(entry) = reads.try_next().await? {
            let missing = || missing(output, ledger.next(), count);
            let entry = entry.ok_or_else(missing)?;
            ledger.index.push(entry);
        }
        ledger.refresh().await?;
        Ok(ledger)
    }

    /// The entries in the order of their numbers.
    pub fn entries(&self) -> &[Entry] {
        self.index.entries()
    }

    /// The number of the next entry. An attempt that begins now is judged by the entries from this number on.
    pub fn next(&self) -> u64 {
        self.entries().len() as u64 + 1
    }

    /// The entries that committed a drop, the oldest first.
    pub fn of_drop(&self, drop: &str) -> impl DoubleEndedIterator<Item = &Entry> {
        self.index.of_drop(drop)
    }

    /// The newest entry of a drop.
    pub fn newest(&self, drop: &str) -> Option<&Entry> {
        self.of_drop(drop).next_back()
    }

    /// The first entry of an attempt.
    pub fn of_attempt(&self, attempt: &str) -> Option<&Entry> {
        self.index.of_attempt(attempt)
    }

    /// Makes the copies that are due, one after every ten entries. If a copy cannot be made, this is only a warning, and
    /// the copy is tried again after the next ten entries.
    pub async fn compact(&mut self) {
        let count = self.next() - 1;
        if let Err(error) = compacted::write(&self.output, &mut self.copied, count).await {
            tracing::warn!("the ledger is not compacted, and opens slowly: {error}");
        }
    }

    /// Reads the entries that other runs have appended.
    ///
    /// # Errors
    /// Errors of the store, or [`Error::Format`].
    pub async fn refresh(&mut self) -> Result<(), Error> {
        while let Some(entry) = read_entry(&self.output, self.next()).await? {
            self.index.push(entry);
        }
        Ok(())
    }

    /// Appends an entry with the next free number, unless an entry since `began` has settled its attempt or its drop.
    ///
    /// # Errors
    /// [`Error::Mixed`] if the entry does not fit the entries before it: its ids have a different type, or another run has
    /// committed with a different model since `began`. Errors of the store; the entry may be in the ledger all the same, and
    /// the next start finds out.
    pub async fn append(&mut self, mut entry: Entry, began: u64) -> Result<Appended, Error> {
        loop {
            if let Some(verdict) = self.verdict(&entry.attempt, &entry.drop, began) {
                return Ok(verdict);
            }
            self.check_ids(&entry.drop, entry.object_id)?;
            self.check_kept(&entry.drop, &entry.keep)?;
            self.check_model(&entry, began)?;
            entry.sequence = self.next();
            self.check_last().await?;
            let created = self.create(&entry).await;
            // The content of the ledger counts, and not the answer of the store, which may be lost or wrong.
            match (read_entry(&self.output, self.next()).await, created) {
                (Ok(Some(there)), _) => self.index.push(there),
                // This may be our own entry, damaged. Then the stage must not be cleared as if the attempt were void.
                (Err(Error::Ledger { object, reason }), Ok(())) => {
                    return Err(Error::NotWritten { object, reason });
                }
                (_, Err(error)) | (Err(error), _) => return Err(error),
                (Ok(None), Ok(())) => {
                    return Err(self.output.not_written(&paths::entry(self.next()), None, 0));
                }
            }
        }
    }

    /// Makes sure that the ids of a drop have the type of the catalog, which is the type in the newest entries of other drops.
    ///
    /// # Errors
    /// [`Error::Mixed`] naming both types and the other drop.
    pub fn check_ids(&self, drop: &str, ids: Option<IdKind>) -> Result<(), Error> {
        match ids.zip(self.index.ids_of_others(drop)) {
            Some((here, (there, other))) if here != there => {
                Err(Error::mixed_ids(drop, here, there, other))
            }
            _ => Ok(()),
        }
    }

    /// The type of a kept column in the newest entry of another drop that has the column, and the name of that drop.
    pub fn kept_type(&self, drop: &str, column: &str) -> Option<(&str, &str)> {
        self.index.kept_by_others(drop, column)
    }

    /// Makes sure that the kept columns of a drop have the same types as in other drops.
    ///
    /// # Errors
    /// [`Error::Mixed`] naming the column, both types and the other drop.
    pub fn check_kept(&self, drop: &str, keep: &KeptTypes) -> Result<(), Error> {
        for (column, here) in keep.iter().filter(|(_, here)| *here != UNTYPED) {
            match self.kept_type(drop, column) {
                Some((there, other)) if there != here => {
                    return Err(Error::mixed_kept(drop, column, [here, there], other));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes sure that no other model has predicted since `began`. Earlier entries were checked when the run began.
    fn check_model(&self, entry: &Entry, began: u64) -> Result<(), Error> {
        let since = self.entries().iter().skip(began.saturating_sub(1) as usize);
        let mut others = since.filter(|other| other.predicts() && entry.predicts());
        match others.find(|other| other.model_id != entry.model_id) {
            None => Ok(()),
            Some(other) => Err(Error::Mixed {
                drop: entry.drop.clone(),
                reason: format!(
                    "this is model {:.12}, and meanwhile another run has committed drop {} with model {:.12}; choose another --out, or run again with --model-change when that one has ended",
                    entry.model_id, other.drop, other.model_id
                ),
            }),
        }
    }

    /// The outcome of an attempt at a drop by the entries from `began` on, or `None` if no entry settles it.
    pub fn verdict(&self, attempt: &str, drop: &str, began: u64) -> Option<Appended> {
        self.entries()
            .iter()
            .skip(began.saturating_sub(1) as usize)
            .find_map(|entry| match entry.kind {
                EntryKind::Drop if entry.attempt == attempt => {
                    Some(Appended::Committed(entry.sequence))
                }
                EntryKind::Abandoned if entry.attempt == attempt => {
                    Some(Appended::Abandoned(entry.sequence))
                }
                EntryKind::Drop if entry.drop == drop => Some(Appended::Overtaken(entry.sequence)),
                _ => None,
            })
    }

    /// Makes sure that the last entry still exists, so that no number is left out.
    async fn check_last(&self) -> Result<(), Error> {
        let Some(last) = self.entries().last() else {
            return Ok(());
        };
        let there = read_entry(&self.output, last.sequence).await?;
        if there.as_ref() == Some(last) {
            return Ok(());
        }
        Err(Error::Ledger {
            object: self.output.url_of(&paths::entry(last.sequence)),
            reason: "is not there any more, or is not the entry that this run has read: the output was deleted or replaced while this run went on; restore the output, or start the run again".to_owned(),
        })
    }

    async fn create(&self, entry: &Entry) -> Result<(), Error> {
        let name = paths::entry(entry.sequence);
        let text = seal::sealed(entry);
        let put = self
            .output
            .store
            .put_opts(
                &self.output.path(&name)?,
                text.into(),
                PutMode::Create.into(),
            )
            .await;
        put.map(|_| ())
            .map_err(|source| Error::store(self.output.url_of(&name), source))
    }
}

/// Counts the entries of the ledger after a number. A store lists only the names after this number.
async fn count_after(output: &Location, sequence: u64) -> Result<u64, Error> {
    let (folder, offset) = (
        output.path(paths::LEDGER)?,
        output.path(&paths::entry(sequence))?,
    );
    let listed = output.store.list_with_offset(Some(&folder), &offset);
    let entries = listed.try_filter(|meta| {
        let is_entry = meta.location.filename().is_some_and(paths::is_entry);
        std::future::ready(is_entry)
    });
    let count = entries.try_fold(0, |count, _| std::future::ready(Ok(count + 1)));
    count
        .await
        .map_err(|source| Error::store(output.url_of(paths::LEDGER), source))
}

fn missing(output: &Location, sequence: u64, count: u64) -> Error {
    let reason = format!("is missing, though {count} entries are there; restore it from a backup");
    Error::Ledger {
        object: output.url_of(&paths::entry(sequence)),
        reason,
    }
}
