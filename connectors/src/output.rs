//! The output: files are staged, and published under the names of their contents once the ledger lists them.
//!
//! ```text
//! OUT/_hubbleflow/staging/<attempt>/photoz/<drop>/part-….parquet      not committed yet
//! OUT/photoz/<drop>/part-….parquet                                    committed
//! ```
//! A published file never changes, so publishing twice is harmless, whoever does it.
use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};

use crate::{
    Error, Ledger, Location,
    committed::AGAIN,
    ledger::{Appended, Entry, Kind},
};

const STAGING: &str = "_hubbleflow/staging";
/// Requests that are out at once.
const REQUESTS_AT_ONCE: usize = 8;

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
        let name = staged(attempt, path);
        let fail = |source| Error::store(self.location.url_of(&name), source);
        let answer = self
            .location
            .store
            .get(&self.location.path(&name)?)
            .await
            .map_err(fail)?;
        answer.bytes().await.map_err(fail)
    }

    /// Copies the files of a committed drop to their places, where they are not there yet or an earlier entry of the drop
    /// lists them: whoever takes a drop in again may do so since a file is damaged. Takes away those that only earlier
    /// entries list, and clears the stage.
    ///
    /// # Errors
    /// The store's, or [`Error::Ledger`] where a committed file is neither staged nor published.
    pub async fn publish(&self, ledger: &mut Ledger, entry: &Entry) -> Result<(), Error> {
        let before = ledger.entries().iter();
        let before =
            before.filter(|other| other.drop == entry.drop && other.sequence < entry.sequence);
        let before: HashSet<&str> = before.flat_map(|other| other.paths()).collect();
        let copies: Vec<_> = entry
            .paths()
            .map(|path| self.publish_file(&entry.attempt, path, before.contains(path)))
            .collect();
        let published = futures::stream::iter(copies)
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await;
        if let Err(error) = published {
            // A later entry of the drop may have taken the files away while this run was held up.
            ledger.refresh().await?;
            return if ledger
                .newest(&entry.drop)
                .is_some_and(|newest| newest.attempt != entry.attempt)
            {
                self.clear_stage(&entry.attempt).await
            } else {
                Err(error)
            };
        }
        // Another run may have superseded this entry while its files were being copied.
        ledger.refresh().await?;
        let newest = ledger
            .newest(&entry.drop)
            .map_or(entry.sequence, |newest| newest.sequence);
        let of_drop = ledger
            .entries()
            .iter()
            .filter(|other| other.kind == Kind::Drop && other.drop == entry.drop);
        let (current, past): (Vec<&Entry>, Vec<&Entry>) =
            of_drop.partition(|other| other.sequence == newest);
        let kept: HashSet<&str> = current.iter().flat_map(|entry| entry.paths()).collect();
        let stale = past
            .iter()
            .flat_map(|entry| entry.paths())
            .filter(|path| !kept.contains(path));
        let stale: Vec<Path> = stale
            .map(|path| self.location.path(path))
            .collect::<Result<_, _>>()?;
        self.delete(stale).await?;
        self.clear_stage(&entry.attempt).await
    }

    async fn publish_file(&self, attempt: &str, path: &str, again: bool) -> Result<(), Error> {
        let store = &self.location.store;
        let (from, to) = (
            self.location.path(&staged(attempt, path))?,
            self.location.path(path)?,
        );
        let second = self
            .location
            .path(&staged(attempt, &format!("again/{path}")))?;
        let fail = |source| Error::store(self.location.url_of(path), source);
        let copied = match self.exists(&to).await.map_err(fail)? {
            true if again => self.replace(&from, &second, &to).await,
            true => Ok(()),
            // A plain copy onto a target that appears meanwhile leaves a stray file on some stores: the careful one first.
            false => match store.copy_if_not_exists(&from, &to).await {
                Err(
                    object_store::Error::NotSupported { .. }
                    | object_store::Error::NotImplemented { .. },
                ) => store.copy(&from, &to).await,
                copied => copied,
            },
        };
        match copied {
            Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            // Another run may have published the same file and cleared the stage.
            Err(object_store::Error::NotFound { .. })
                if self.exists(&to).await.map_err(fail)? =>
            {
                Ok(())
            }
            Err(object_store::Error::NotFound { .. }) => Err(Error::Ledger {
                object: self.location.url_of(path),
                reason: format!("is committed, but neither staged nor published; {AGAIN}"),
            }),
            Err(source) => Err(fail(source)),
        }
    }

    /// Removes what an attempt staged.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear_stage(&self, attempt: &str) -> Result<(), Error> {
        let stage = format!("{STAGING}/{attempt}");
        let staged = self.list(&stage).await?;
        self.delete(staged).await?;
        if let Some(folder) = &self.location.folder {
            // Folders are a matter of looks: what cannot be removed stays.
            let _ = tokio::fs::remove_dir_all(folder.join(&stage)).await;
            let _ = tokio::fs::remove_dir(folder.join(STAGING)).await;
        }
        Ok(())
    }

    /// Ends what earlier runs left unfinished: committed attempts are published, all others abandoned; stages are cleared.
    ///
    /// # Errors
    /// The store's.
    pub async fn recover(&self, ledger: &mut Ledger, engine: &str) -> Result<(), Error> {
        let folder = self.location.path(STAGING)?;
        let listing = self.location.store.list_with_delimiter(Some(&folder)).await;
        let listing =
            listing.map_err(|source| Error::store(self.location.url_of(STAGING), source))?;
        let attempts = listing
            .common_prefixes
            .iter()
            .filter_map(|path| path.filename().map(str::to_owned));
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
                    self.publish(ledger, &entry).await?;
                }
                _ => self.clear_stage(&attempt).await?,
            }
        }
        Ok(())
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
        let appended = ledger.append(entry.clone(), began).await;
        if let Err(Error::Mixed { .. }) = appended {
            self.clear_stage(&entry.attempt).await?;
        }
        let appended = appended?;
        match appended {
            Appended::Committed(sequence) => {
                let published = self.publish(ledger, &Entry { sequence, ..entry }).await;
                published.map_err(|source| Error::Unpublished {
                    sequence,
                    source: Box::new(source),
                })?;
            }
            Appended::Overtaken(_) | Appended::Abandoned(_) => {
                self.clear_stage(&entry.attempt).await?
            }
        }
        Ok(appended)
    }

    /// Puts a staged file in the place of a published one, by a second one in the stage: what is written over a file of a local
    /// file system lies beside it first, and where readers look it would stay when the process is killed.
    async fn replace(&self, from: &Path, second: &Path, to: &Path) -> object_store::Result<()> {
        self.location.store.copy(from, second).await?;
        self.location.store.rename(second, to).await
    }

    async fn exists(&self, path: &Path) -> object_store::Result<bool> {
        match self.location.store.head(path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
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
        let store = &self.location.store;
        let delete = async |path: Path| match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::store(
                self.location.url_of(self.location.relative(&path)),
                source,
            )),
        };
        for path in paths {
            delete(path).await?;
        }
        Ok(())
    }
}

/// Where a file of an attempt waits to be published.
pub(crate) fn staged(attempt: &str, path: &str) -> String {
    format!("{STAGING}/{attempt}/{path}")
}
