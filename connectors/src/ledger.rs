//! The ledger: which drops are committed, one numbered object each, made with create-if-absent.
//!
//! ```text
//! OUT/_hubbleflow/ledger/00000000000000000001.json     gapless; an entry never changes
//! ```
//! Creating the next number is the commit point: whoever creates it has committed, everybody else takes it in and goes
//! on from there. No clocks and no leases: an attempt learns that it was abandoned, or that another run was faster, from
//! the entries that came before its own. A run also keeps copies of many entries in one object (`compacted.rs`), from which
//! a long ledger opens in few requests.
use futures::{StreamExt, TryStreamExt};
use object_store::PutMode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Input, Location,
    compacted::{self, Copied},
    galaxy::{IdKind, KeptTypes},
    ledger_index::LedgerIndex,
    seal,
};

/// The newest format this engine writes and reads.
pub const FORMAT: u32 = 1;
/// Where the entries lie below the output.
const FOLDER: &str = "_hubbleflow/ledger";
/// Entries that are read at once.
const READS_AT_ONCE: usize = 32;

/// What an entry says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A drop is committed: its files are those listed.
    Drop,
    /// What the attempt staged is void: it will not be committed.
    Abandoned,
}

/// Rows of a drop by the door they left through: `read == written + learned + rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Rows that came in.
    pub read: u64,
    /// Rows in `photoz/`: predicted or withdrawn.
    pub written: u64,
    /// Rows in `specz/`.
    pub learned: u64,
    /// Rows in `rejects/`.
    pub rejected: u64,
}

impl Rows {
    /// Whether each row has left by one door.
    pub fn balance(&self) -> bool {
        self.read == self.written + self.learned + self.rejected
    }
}

impl std::ops::AddAssign for Rows {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.written += other.written;
        self.learned += other.learned;
        self.rejected += other.rejected;
    }
}

/// A committed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Where it lies below the output.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// The checksum of a file as the ledger keeps it: the SHA-256 of its bytes, in hex.
pub fn checksum(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Rises when a field changes its meaning.
    pub format: u32,
    /// Its number, from 1.
    pub sequence: u64,
    /// What happened.
    pub kind: Kind,
    /// The attempt that staged the files.
    pub attempt: String,
    /// The drop; an abandoned attempt may have died before it was known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub drop: String,
    /// The model's whole id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// The engine's version.
    pub engine: String,
    /// The settings that change results.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// The type of `object_id` in this drop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_id: Option<IdKind>,
    /// The types of the kept columns in this drop.
    #[serde(default, skip_serializing_if = "KeptTypes::is_empty")]
    pub keep: KeptTypes,
    /// The objects read.
    #[serde(default)]
    pub inputs: Vec<Input>,
    /// Files of the drop that were not read, by their paths below the catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// The rows by door.
    #[serde(default)]
    pub rows: Rows,
    /// The files written.
    #[serde(default)]
    pub files: Vec<FileRecord>,
}

impl Entry {
    /// Where its files lie below the output.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Whether rows of it are a model's predictions.
    pub fn predicts(&self) -> bool {
        self.kind == Kind::Drop && self.rows.written > 0
    }

    /// Whether it is of a first try, with `--limit`: the next run without it replaces it.
    pub fn is_try(&self) -> bool {
        let limit = self.settings.get("limit");
        limit.is_some_and(|limit| !limit.is_null())
    }

    /// An entry that voids what an attempt staged.
    pub fn abandoned(attempt: &str, engine: &str) -> Self {
        Self {
            format: FORMAT,
            sequence: 0,
            kind: Kind::Abandoned,
            attempt: attempt.to_owned(),
            drop: String::new(),
            model_id: String::new(),
            engine: engine.to_owned(),
            settings: serde_json::Value::Null,
            object_id: None,
            keep: KeptTypes::new(),
            inputs: Vec::new(),
            ignored: Vec::new(),
            rows: Rows::default(),
            files: Vec::new(),
        }
    }
}

/// What became of an entry that was to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the ledger, under this number.
    Committed(u64),
    /// Another run has committed the same drop since this attempt began: ours is void.
    Overtaken(u64),
    /// Another run has abandoned this attempt: its stage may be gone.
    Abandoned(u64),
}

/// The entries so far, and where the next one goes.
#[derive(Clone, Debug)]
pub struct Ledger {
    output: Location,
    index: LedgerIndex,
    /// How far there are copies of the entries.
    copied: Copied,
}

impl Ledger {
    /// A ledger that nobody has looked at: for a process that commits nothing.
    pub fn unread(output: &Location) -> Self {
        Self {
            output: output.clone(),
            index: LedgerIndex::default(),
            copied: Copied::default(),
        }
    }

    /// Reads the ledger of an output; an output without one has an empty ledger.
    ///
    /// # Errors
    /// The store's, [`Error::Format`], or [`Error::Ledger`] where a number is missing.
    pub async fn open(output: &Location) -> Result<Self, Error> {
        let mut ledger = Self::unread(output);
        // Copies save time, and that is all: where they cannot be read, the entries are.
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

    /// The number the next entry will have: an attempt that begins now is judged by the entries from here on.
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

    /// Whether an attempt has committed, and as what.
    pub fn of_attempt(&self, attempt: &str) -> Option<&Entry> {
        self.index.of_attempt(attempt)
    }

    /// Makes the copies of entries that are due, one for every hundred. They are derived: where one cannot be made, a
    /// warning says so, and it is tried again after the next hundred entries.
    pub async fn compact(&mut self) {
        let count = self.next() - 1;
        if let Err(error) = compacted::write(&self.output, &mut self.copied, count).await {
            tracing::warn!("the ledger is not compacted, and opens slowly: {error}");
        }
    }

    /// Takes in what other runs have appended.
    ///
    /// # Errors
    /// The store's, or [`Error::Format`].
    pub async fn refresh(&mut self) -> Result<(), Error> {
        while let Some(entry) = read_entry(&self.output, self.next()).await? {
            self.index.push(entry);
        }
        Ok(())
    }

    /// Appends an entry at the next free number, unless what came since `began` has settled its attempt or its drop.
    ///
    /// # Errors
    /// [`Error::Mixed`] where it does not go with the entries before it: its ids are of another type, or another run with
    /// another model has come between. The store's; the entry may then be in the ledger all the same, and the next start
    /// finds out.
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
            // What is there counts, whatever the store has answered: it may have lost its answer, or say yes and mean no.
            match (read_entry(&self.output, self.next()).await, created) {
                (Ok(Some(there)), _) => self.index.push(there),
                // It may be ours, damaged: nobody may clear the stage as if the attempt were void.
                (Err(Error::Ledger { object, reason }), Ok(())) => {
                    return Err(Error::NotWritten { object, reason });
                }
                (_, Err(error)) | (Err(error), _) => return Err(error),
                (Ok(None), Ok(())) => {
                    return Err(self.output.not_written(&name(self.next()), None, 0));
                }
            }
        }
    }

    /// Makes sure that the ids of a drop are of the catalog's type: that of the first of the other drops with any, as they stand.
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

    /// The type of a kept column in the newest of the other drops that have it, as they stand, and that drop's name.
    pub fn kept_type(&self, drop: &str, column: &str) -> Option<(&str, &str)> {
        self.index.kept_by_others(drop, column)
    }

    /// Makes sure that the kept columns of a drop have the types that they have in the other drops.
    ///
    /// # Errors
    /// [`Error::Mixed`] naming the column, both types and the other drop.
    pub fn check_kept(&self, drop: &str, keep: &KeptTypes) -> Result<(), Error> {
        for (column, here) in keep.iter().filter(|(_, here)| *here != "Null") {
            match self.kept_type(drop, column) {
                Some((there, other)) if there != here => {
                    return Err(Error::mixed_kept(drop, column, [here, there], other));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes sure that no other model has predicted since `began`: of those before, whoever runs has decided.
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

    /// What the entries from `began` on say of an attempt at a drop: the first that settles it.
    pub fn verdict(&self, attempt: &str, drop: &str, began: u64) -> Option<Appended> {
        self.entries()
            .iter()
            .skip(began.saturating_sub(1) as usize)
            .find_map(|entry| match entry.kind {
                Kind::Drop if entry.attempt == attempt => Some(Appended::Committed(entry.sequence)),
                Kind::Abandoned if entry.attempt == attempt => {
                    Some(Appended::Abandoned(entry.sequence))
                }
                Kind::Drop if entry.drop == drop => Some(Appended::Overtaken(entry.sequence)),
                _ => None,
            })
    }

    /// Makes sure that the entry before the next one is still there, so that no number is left out.
    async fn check_last(&self) -> Result<(), Error> {
        let Some(last) = self.entries().last() else {
            return Ok(());
        };
        let there = read_entry(&self.output, last.sequence).await?;
        if there.as_ref() == Some(last) {
            return Ok(());
        }
        Err(Error::Ledger {
            object: self.output.url_of(&name(last.sequence)),
            reason: "is not there any more, or is not the entry that this run has read: the output was deleted or replaced while this run went on; restore the output, or start the run again".to_owned(),
        })
    }

    async fn create(&self, entry: &Entry) -> Result<(), Error> {
        let name = name(entry.sequence);
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

/// How many entries lie in the ledger after a number. Where they begin, a store lists no more than these.
async fn count_after(output: &Location, sequence: u64) -> Result<u64, Error> {
    let (folder, offset) = (output.path(FOLDER)?, output.path(&name(sequence))?);
    let listed = output.store.list_with_offset(Some(&folder), &offset);
    let entries = listed.try_filter(|meta| {
        let is_entry = meta.location.filename().is_some_and(is_entry);
        std::future::ready(is_entry)
    });
    let count = entries.try_fold(0, |count, _| std::future::ready(Ok(count + 1)));
    count
        .await
        .map_err(|source| Error::store(output.url_of(FOLDER), source))
}

fn missing(output: &Location, sequence: u64, count: u64) -> Error {
    let reason = format!("is missing, though {count} entries are there; restore it from a backup");
    Error::Ledger {
        object: output.url_of(&name(sequence)),
        reason,
    }
}

/// Reads the entry at a number of the ledger; `None` if there is none.
pub(crate) async fn read_entry(output: &Location, sequence: u64) -> Result<Option<Entry>, Error> {
    let name = name(sequence);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(None);
    };
    let object = output.url_of(&name);
    let entry = parse(&text, object.clone())?;
    if entry.sequence != sequence {
        let reason = format!("holds entry {}; restore it from a backup", entry.sequence);
        return Err(Error::Ledger { object, reason });
    }
    Ok(Some(entry))
}

/// Where an entry lies below the output.
pub(crate) fn name(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:020}.json")
}

/// Whether an object of the ledger's folder is an entry, by its name; what else somebody has put there is none.
fn is_entry(name: &str) -> bool {
    let number = name.strip_suffix(".json");
    number.is_some_and(|number| {
        number.len() == 20 && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Looks at the format first: the fields of a newer one may not be read at all.
fn parse(text: &[u8], object: String) -> Result<Entry, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let bad = |error: serde_json::Error| Error::Ledger {
        object: object.clone(),
        reason: format!("is no ledger entry: {error}; restore it from a backup"),
    };
    let Format { format } = serde_json::from_slice(text).map_err(bad)?;
    if format > FORMAT {
        return Err(Error::Format {
            object,
            found: format,
            known: FORMAT,
        });
    }
    serde_json::from_slice(text).map_err(bad)
}
