//! The output: files are staged, and published under the names of their contents once the ledger lists them.
//!
//! ```text
//! OUT/_hubbleflow/staging/<attempt>/photoz/<drop>/part-….parquet      not committed yet
//! OUT/photoz/<drop>/part-….parquet                                    committed
//! ```
//! A published file never changes, so publishing twice is harmless, whoever does it.
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::ErrorKind,
};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};

use crate::{
    Error, Ledger, Location,
    arrival::is_plain,
    committed::AGAIN,
    ledger::{Appended, Entry, FileRecord, Kind},
};

const STAGING: &str = "_hubbleflow/staging";
/// Requests that are out at once.
const REQUESTS_AT_ONCE: usize = 8;

/// A committed drop whose files an earlier run left unpublished, and that could not be published now either.
#[derive(Debug)]
pub struct Unpublished {
    /// The drop.
    pub drop: String,
    /// The attempt that staged its files.
    pub attempt: String,
    /// What keeps them from being published.
    pub error: Error,
}

/// Where a job's results go.
#[derive(Clone, Debug)]
pub struct Output {
    location: Location,
}

impl Output {
    /// An output at its place; nothing is asked of the store yet.
    pub fn new(location: Location) -> Self {
        Self { location }
    }

    /// Where it lies.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Makes sure that the store can be written to and that a second create of one name fails.
    ///
    /// # Errors
    /// [`Error::NoConditionalPut`], or the store's.
    pub async fn check(&self, nonce: &str) -> Result<(), Error> {
        let name = format!("_hubbleflow/check-{nonce}");
        let create = || self.location.create(&name, nonce.to_owned());
        // Where the first finds the name taken, an answer was lost, and the store's client has asked again.
        let overwrites = create().await? && create().await?;
        let deleted = self
            .location
            .store
            .delete(&self.location.path(&name)?)
            .await;
        deleted.map_err(|source| Error::store(self.location.url_of(&name), source))?;
        if overwrites {
            return Err(Error::NoConditionalPut {
                output: self.location.url.clone(),
            });
        }
        Ok(())
    }

    /// Writes a file of an attempt; `path` is the one it will have below the output.
    ///
    /// # Errors
    /// The store's.
    pub async fn stage(&self, attempt: &str, path: &str, bytes: Vec<u8>) -> Result<(), Error> {
        let name = staged(attempt, path);
        let put = self
            .location
            .store
            .put(&self.location.path(&name)?, bytes.into())
            .await;
        put.map(|_| ())
            .map_err(|source| Error::store(self.location.url_of(&name), source))
    }

    /// Reads a staged file back.
    ///
    /// # Errors
    /// The store's.
    pub async fn read_staged(&self, attempt: &str, path: &str) -> Result<bytes::Bytes, Error> {
        self.location.read(&staged(attempt, path)).await
    }

    /// Makes sure that all files of a drop are staged whole, before its entry promises them.
    async fn check_staged(&self, entry: &Entry) -> Result<(), Error> {
        let stage = self.location.path(&stage_of(&entry.attempt)?)?;
        if entry.files.is_empty() {
            return Ok(());
        }
        let listed = self.location.store.list(Some(&stage));
        let listed = listed.map_ok(|meta| (meta.location, meta.size));
        let sizes: Result<HashMap<Path, u64>, _> = listed.try_collect().await;
        let sizes = sizes.map_err(|source| Error::store(self.location.url_of(STAGING), source))?;
        for file in &entry.files {
            let name = staged(&entry.attempt, &file.path);
            let found = sizes.get(&self.location.path(&name)?).copied();
            if found != Some(file.bytes) {
                return Err(self.location.not_written(&name, found, file.bytes));
            }
        }
        Ok(())
    }

    /// Copies the files of a committed drop to their places, where they are not there yet or an earlier entry of the drop
    /// lists them: whoever takes a drop in again may do so since a file is damaged. When all of them have arrived, takes
    /// away those that only earlier entries list, and clears the stage.
    ///
    /// # Errors
    /// The store's; [`Error::NotWritten`] where a file has not arrived; [`Error::Ledger`] where a committed file is neither
    /// staged nor published, or may not lie where the entry says.
    pub async fn publish(&self, ledger: &mut Ledger, entry: &Entry) -> Result<(), Error> {
        self.publish_files(ledger, entry).await?;
        self.clear_stage(&entry.attempt).await
    }

    /// Publishes as [`Output::publish`] does, and leaves the stage.
    async fn publish_files(&self, ledger: &mut Ledger, entry: &Entry) -> Result<(), Error> {
        entry.check_paths(&self.location)?;
        let before = ledger.of_drop(&entry.drop);
        let before = before.filter(|other| other.sequence < entry.sequence);
        let before: HashSet<&str> = before.flat_map(|other| other.paths()).collect();
        let copies: Vec<_> = entry
            .files
            .iter()
            .map(|file| {
                let again = before.contains(file.path.as_str());
                self.publish_file(&entry.attempt, file, again)
            })
            .collect();
        let published = futures::stream::iter(copies)
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await;
        if let Err(error) = published {
            // A later entry of the drop may have taken the files away while this run was held up. Where that cannot be
            // known, what failed first is what the user needs to know.
            let known = ledger.refresh().await;
            return if known.is_ok()
                && ledger
                    .newest(&entry.drop)
                    .is_some_and(|newest| newest.attempt != entry.attempt)
            {
                Ok(())
            } else {
                Err(error)
            };
        }
        // Another run may have superseded this entry while its files were being copied.
        ledger.refresh().await?;
        let newest = ledger
            .newest(&entry.drop)
            .map_or(entry.sequence, |newest| newest.sequence);
        let (current, past): (Vec<&Entry>, Vec<&Entry>) = ledger
            .of_drop(&entry.drop)
            .partition(|other| other.sequence == newest);
        let kept: HashSet<&str> = current.iter().flat_map(|entry| entry.paths()).collect();
        let stale = past
            .iter()
            .flat_map(|entry| entry.paths().filter(move |path| entry.may_list(path)))
            .filter(|path| !kept.contains(path));
        self.take_away(stale.collect()).await
    }

    /// Deletes published files, and sees that they are gone.
    async fn take_away(&self, stale: BTreeSet<&str>) -> Result<(), Error> {
        let mut paths = Vec::new();
        for name in &stale {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.location.check_no_link(folder).await?;
            paths.push(self.location.path(name)?);
        }
        self.delete(paths).await?;
        for name in stale {
            if self.location.find(name).await?.is_some() {
                return Err(Error::NotWritten {
                    object: self.location.url_of(name),
                    reason: "is still there, and was to be deleted".to_owned(),
                });
            }
        }
        Ok(())
    }

    async fn publish_file(
        &self,
        attempt: &str,
        file: &FileRecord,
        again: bool,
    ) -> Result<(), Error> {
        let (store, path) = (&self.location.store, file.path.as_str());
        let found = self.location.find(path).await?.map(|meta| meta.size);
        if found == Some(file.bytes) && !again {
            return Ok(());
        }
        let stage = staged(attempt, path);
        let (from, to) = (self.location.path(&stage)?, self.location.path(path)?);
        let copied = match found {
            Some(_) => {
                let second = staged(attempt, &format!("again/{path}"));
                self.replace(&from, &self.location.path(&second)?, &to)
                    .await
            }
            // A plain copy onto a target that appears meanwhile leaves a stray file on some stores: the careful one first.
            None => match store.copy_if_not_exists(&from, &to).await {
                Err(
                    object_store::Error::NotSupported { .. }
                    | object_store::Error::NotImplemented { .. },
                ) => store.copy(&from, &to).await,
                copied => copied,
            },
        };
        match copied {
            Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => {
                self.location.check_copy(&stage, file).await
            }
            Err(object_store::Error::NotFound { .. }) => {
                // Another run may have published the same file and cleared the stage.
                let found = self.location.find(path).await?.map(|meta| meta.size);
                if found == Some(file.bytes) {
                    return Ok(());
                }
                if self.location.find(&stage).await?.is_some() {
                    return Err(self.location.not_written(path, found, file.bytes));
                }
                Err(Error::Ledger {
                    object: self.location.url_of(path),
                    reason: format!("is committed, but neither staged nor published; {AGAIN}"),
                })
            }
            Err(source) => Err(Error::store(self.location.url_of(path), source)),
        }
    }

    /// Removes what an attempt staged. What lies behind symbolic links stays.
    ///
    /// # Errors
    /// The store's, or [`Error::Link`].
    pub async fn clear_stage(&self, attempt: &str) -> Result<(), Error> {
        let stage = stage_of(attempt)?;
        let Some(folder) = &self.location.folder else {
            let staged = self.list(&stage).await?;
            return self.delete(staged).await;
        };
        self.location.check_no_link(STAGING).await?;
        // A store would look behind links. Of a link, this removes the link alone.
        match tokio::fs::remove_dir_all(folder.join(&stage)).await {
            // Another run may be removing the stage too, or write to it: its attempt is void, and it clears up itself.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
                ) =>
            {
                let source = object_store::Error::Generic {
                    store: "LocalFileSystem",
                    source: error.into(),
                };
                return Err(Error::store(self.location.url_of(&stage), source));
            }
            _ => (),
        }
        // An empty folder is a matter of looks: where it cannot be removed, it stays.
        let _ = tokio::fs::remove_dir(folder.join(STAGING)).await;
        Ok(())
    }

    /// Ends what earlier runs left unfinished: committed attempts are published, all others abandoned; stages are cleared.
    /// A drop that cannot be published holds up no other: it is among those returned, and its stage stays.
    ///
    /// # Errors
    /// The store's, or [`Error::Link`].
    pub async fn recover(
        &self,
        ledger: &mut Ledger,
        engine: &str,
    ) -> Result<Vec<Unpublished>, Error> {
        self.location.check_no_link(STAGING).await?;
        let folder = self.location.path(STAGING)?;
        let listing = self.location.store.list_with_delimiter(Some(&folder)).await;
        let listing =
            listing.map_err(|source| Error::store(self.location.url_of(STAGING), source))?;
        let attempts = listing
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_owned));
        let mut unpublished = Vec::new();
        for attempt in attempts {
            if ledger.of_attempt(&attempt).is_none() {
                let began = ledger.next();
                let appended = ledger
                    .append(Entry::abandoned(&attempt, engine), began)
                    .await?;
                tracing::info!(
                    attempt,
                    ?appended,
                    "an earlier run left an attempt unfinished"
                );
            }
            let committed = ledger
                .of_attempt(&attempt)
                .filter(|entry| entry.kind == Kind::Drop)
                .cloned();
            match committed {
                Some(entry)
                    if ledger
                        .newest(&entry.drop)
                        .is_some_and(|newest| newest.attempt == attempt) =>
                {
                    if let Err(error) = self.publish(ledger, &entry).await {
                        unpublished.push(Unpublished {
                            drop: entry.drop,
                            attempt,
                            error: self::unpublished(entry.sequence, error),
                        });
                    }
                }
                _ => self.clear_stage(&attempt).await?,
            }
        }
        ledger.compact().await;
        Ok(unpublished)
    }

    /// Commits a drop: enters it in the ledger and publishes its files. `began` is the number the ledger was at when
    /// the attempt began. An attempt that comes too late, or does not go with the entries before it, has its stage cleared.
    ///
    /// # Errors
    /// [`Error::Mixed`] as [`Ledger::append`]; the store's; [`Error::Unpublished`] where the drop is committed, and a file of it not yet published.
    pub async fn commit(
        &self,
        ledger: &mut Ledger,
        entry: Entry,
        began: u64,
    ) -> Result<Appended, Error> {
        let attempt = entry.attempt.clone();
        let committed = self.commit_and_keep_stage(ledger, entry, began).await;
        self.finish(&attempt, committed).await
    }

    /// The part of [`Output::commit`] that needs the ledger: [`Output::finish`] does the rest, which may take long.
    ///
    /// # Errors
    /// As [`Output::commit`].
    pub async fn commit_and_keep_stage(
        &self,
        ledger: &mut Ledger,
        entry: Entry,
        began: u64,
    ) -> Result<Appended, Error> {
        let appended = self.enter(ledger, entry.clone(), began).await?;
        if let Appended::Committed(sequence) = appended {
            let entry = Entry { sequence, ..entry };
            let published = self.publish_files(ledger, &entry).await;
            published.map_err(|source| unpublished(sequence, source))?;
            ledger.compact().await;
        }
        Ok(appended)
    }

    /// Clears the stage of an attempt that is `committed` or will never be, and says what became of it.
    ///
    /// # Errors
    /// The error of the attempt; the store's; [`Error::Unpublished`] where the drop is committed, and its stage not cleared.
    pub async fn finish(
        &self,
        attempt: &str,
        committed: Result<Appended, Error>,
    ) -> Result<Appended, Error> {
        match &committed {
            Ok(Appended::Committed(sequence)) => {
                let cleared = self.clear_stage(attempt).await;
                cleared.map_err(|source| unpublished(*sequence, source))?;
            }
            Ok(_) => self.clear_stage(attempt).await?,
            Err(Error::Mixed { .. } | Error::Ledger { .. }) => {
                // The next start clears it. Why the drop fails is what the user needs to know.
                if let Err(error) = self.clear_stage(attempt).await {
                    tracing::warn!("{error}");
                }
            }
            Err(_) => (),
        }
        committed
    }

    /// Enters a drop in the ledger when all of its files are seen to be staged.
    async fn enter(
        &self,
        ledger: &mut Ledger,
        entry: Entry,
        began: u64,
    ) -> Result<Appended, Error> {
        entry.check_paths(&self.location)?;
        if let Err(error) = self.check_staged(&entry).await {
            // Another run may have abandoned the attempt, and have cleared its stage.
            let known = ledger.refresh().await;
            let verdict = ledger.verdict(&entry.attempt, &entry.drop, began);
            return verdict.filter(|_| known.is_ok()).ok_or(error);
        }
        ledger.append(entry, began).await
    }

    /// Puts a staged file in the place of a published one, by a second one in the stage: what is written over a file of a local
    /// file system lies beside it first, and where readers look it would stay when the process is killed.
    async fn replace(&self, from: &Path, second: &Path, to: &Path) -> object_store::Result<()> {
        self.location.store.copy(from, second).await?;
        self.location.store.rename(second, to).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Path>, Error> {
        let path = self.location.path(folder)?;
        let listed = self
            .location
            .store
            .list(Some(&path))
            .map_ok(|meta| meta.location)
            .try_collect()
            .await;
        listed.map_err(|source| Error::store(self.location.url_of(folder), source))
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), Error> {
        let paths = futures::stream::iter(paths).map(Ok).boxed();
        let mut deleted = self.location.store.delete_stream(paths);
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => (),
                Err(source) => return Err(Error::store(&self.location.url, source)),
            }
        }
        Ok(())
    }
}

fn unpublished(sequence: u64, source: Error) -> Error {
    Error::Unpublished {
        sequence,
        source: Box::new(source),
    }
}

/// Where a file of an attempt waits to be published.
pub(crate) fn staged(attempt: &str, path: &str) -> String {
    format!("{STAGING}/{attempt}/{path}")
}

/// The folder of what an attempt has staged: never that of several attempts, nor one elsewhere.
fn stage_of(attempt: &str) -> Result<String, Error> {
    match is_plain(attempt) {
        true => Ok(format!("{STAGING}/{attempt}")),
        false => Err(Error::Ledger {
            object: STAGING.to_owned(),
            reason: format!(
                "{attempt:?} cannot be the name of an attempt; restore the ledger's entry from a backup"
            ),
        }),
    }
}
