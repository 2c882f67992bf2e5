//! The output: files are staged first, and are published when the ledger lists them. Files are named by their contents.
//!
//! ```text
//! OUT/_hubbleflow/staging/<attempt>/photoz/<drop>/part-….parquet      not committed yet
//! OUT/photoz/<drop>/part-….parquet                                    committed
//! ```
//! A published file never changes, so two runs may publish the same file.
pub(crate) mod arrival;
pub mod commitment;
pub mod committed;
pub mod committed_fault;
mod contradiction;
pub mod missing;
mod publication;

use std::{collections::HashMap, io::ErrorKind};

use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutPayload, path::Path};

use self::arrival::is_plain;
use crate::{
    Error, Location,
    ledger::entry::Entry,
    paths::{self, STAGING, staged},
};

/// The place for the results of a job.
#[derive(Clone, Debug)]
pub struct Output {
    pub(crate) location: Location,
}

impl Output {
    /// Makes an output. No request is made yet.
    pub fn new(location: Location) -> Self {
        Self { location }
    }

    /// The place of the output.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Makes sure that the store accepts writes, and that it refuses to create an object twice.
    ///
    /// # Errors
    /// [`Error::NoConditionalPut`], or errors of the store.
    pub async fn check(&self, nonce: &str) -> Result<(), Error> {
        let name = paths::check(nonce);
        let create = || self.location.create(&name, nonce.to_owned());
        // If the first request finds the name taken, its answer was lost and the client has repeated it.
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

    /// Writes a file of an attempt to the stage. `path` is the path at which the file will be published.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn stage(
        &self,
        attempt: &str,
        path: &str,
        bytes: impl Into<PutPayload>,
    ) -> Result<(), Error> {
        let name = staged(attempt, path);
        let put = self
            .location
            .store
            .put(&self.location.path(&name)?, bytes.into())
            .await;
        put.map(|_| ())
            .map_err(|source| Error::store(self.location.url_of(&name), source))
    }

    /// Makes sure that all files of a drop are in the stage with their sizes, before its entry lists them.
    pub(crate) async fn check_staged(&self, entry: &Entry) -> Result<(), Error> {
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

    /// Removes the staged files of an attempt. Files behind symbolic links stay.
    ///
    /// # Errors
    /// Errors of the store, or [`Error::Link`].
    pub async fn clear_stage(&self, attempt: &str) -> Result<(), Error> {
        let stage = stage_of(attempt)?;
        let Some(folder) = &self.location.folder else {
            let staged = self.list(&stage).await?;
            return self.delete(staged).await;
        };
        self.location.check_no_link(STAGING).await?;
        // object_store would follow links. This removes only the link itself.
        match tokio::fs::remove_dir_all(folder.join(&stage)).await {
            // Another run may also be removing the stage. Or it may still write to the stage; its attempt is void, and it
            // will remove the stage itself.
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
        // An empty folder does no harm, so errors are ignored.
        let _ = tokio::fs::remove_dir(folder.join(STAGING)).await;
        Ok(())
    }

    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<Path>, Error> {
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

    pub(crate) async fn delete(&self, paths: Vec<Path>) -> Result<(), Error> {
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

/// The folder of the staged files of an attempt. Refuses a name that would be the folder of several attempts, or a folder
/// elsewhere.
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
