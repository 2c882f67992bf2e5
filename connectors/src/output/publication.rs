//! Publishes the files of a committed drop: copies them from the stage to the places where readers look.
use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};

use crate::{
    Error, Ledger, Output,
    error::AGAIN,
    ledger::entry::{Entry, FileRecord},
    paths::staged,
};

/// The number of concurrent requests.
const REQUESTS_AT_ONCE: usize = 8;

impl Output {
    /// Copies the files of a committed drop to their places. A file that exists already is skipped, unless an earlier entry
    /// of the drop lists it: the drop may have been committed again because the file is damaged. When all files have
    /// arrived, deletes the files that only earlier entries list, and clears the stage.
    ///
    /// # Errors
    /// Errors of the store; [`Error::NotWritten`] if a file has not arrived; [`Error::Ledger`] if a committed file is neither
    /// staged nor published, or has a path that is not allowed.
    pub async fn publish(&self, ledger: &mut Ledger, entry: &Entry) -> Result<(), Error> {
        self.publish_files(ledger, entry).await?;
        self.clear_stage(&entry.attempt).await
    }

    /// Publishes as [`Output::publish`] does, but does not clear the stage.
    pub(crate) async fn publish_files(
        &self,
        ledger: &mut Ledger,
        entry: &Entry,
    ) -> Result<(), Error> {
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
            // A later entry of the drop may have removed the files while this run was held up. If the ledger cannot be
            // read, the user needs to know the first error.
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
        // Another run may have superseded this entry while the files were copied.
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

    /// Deletes published files, and makes sure that they are gone.
    async fn take_away(&self, stale: BTreeSet<&str>) -> Result<(), Error> {
        let mut paths = Vec::new();
        for name in &stale {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.location.check_no_link(folder).await?;
            paths.push(self.location.path(name)?);
        }
        self.delete(paths).await?;
        for name in &stale {
            if self.location.find(name).await?.is_some() {
                return Err(Error::NotWritten {
                    object: self.location.url_of(name),
                    reason: "is still there, and was to be deleted".to_owned(),
                });
            }
        }
        if let Some(root) = &self.location.folder {
            let folders = stale.iter().filter_map(|name| name.rsplit_once('/'));
            for (folder, _) in folders {
                // Only an empty folder goes; that it stays where it cannot be removed is a matter of looks.
                let _ = tokio::fs::remove_dir(root.join(folder)).await;
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
            // If the target appears meanwhile, a plain copy leaves a stray file on some stores. So copy-if-absent comes first.
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

    /// Replaces a published file by a staged file, through a second file in the stage. A local file system first writes the
    /// new content beside the target. If the process were killed then, that file would stay where readers look.
    async fn replace(&self, from: &Path, second: &Path, to: &Path) -> object_store::Result<()> {
        self.location.store.copy(from, second).await?;
        self.location.store.rename(second, to).await
    }
}
