//! Finds committed files that somebody has deleted.
use std::collections::HashMap;

use futures::TryStreamExt;
use object_store::path::Path;

use crate::{
    Error, Ledger, Output,
    error::AGAIN,
    output::committed::standing,
    part::Folder,
    paths::{STAGING, staged},
};

/// A drop with files that are neither staged nor published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The drop.
    pub drop: String,
    /// The number of such files.
    pub files: usize,
    /// The first of them, below the output.
    pub first: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { drop, files, first } = self;
        write!(
            f,
            "drop {drop}: FILES MISSING: {files} committed files are neither staged nor published, the first is {first}; {AGAIN}"
        )
    }
}

impl Output {
    /// The drops whose newest entry lists files that are gone. Costs a listing of what is published, and where a file is not
    /// published, one of what is staged.
    ///
    /// # Errors
    /// The store's.
    pub async fn missing(&self, ledger: &Ledger) -> Result<Vec<Missing>, Error> {
        let mut sizes = HashMap::new();
        for folder in Folder::ALL {
            self.list_sizes(folder.name(), &mut sizes).await?;
        }
        let (mut missing, mut has_staged) = (Vec::new(), false);
        for entry in standing(ledger.entries(), u64::MAX).into_values() {
            let mut gone = Vec::new();
            for file in &entry.files {
                if sizes.contains_key(&self.location.path(&file.path)?) {
                    continue;
                }
                if !has_staged {
                    self.list_sizes(STAGING, &mut sizes).await?;
                    has_staged = true;
                }
                let stage = self.location.path(&staged(&entry.attempt, &file.path))?;
                if sizes.get(&stage) != Some(&file.bytes) {
                    gone.push(file.path.clone());
                }
            }
            let (drop, files) = (entry.drop.clone(), gone.len());
            let first = gone.into_iter().next();
            missing.extend(first.map(|first| Missing { drop, files, first }));
        }
        Ok(missing)
    }

    async fn list_sizes(&self, folder: &str, sizes: &mut HashMap<Path, u64>) -> Result<(), Error> {
        let listed = self.location.store.list(Some(&self.location.path(folder)?));
        let listed: Result<Vec<_>, _> = listed.try_collect().await;
        let listed = listed.map_err(|source| Error::store(self.location.url_of(folder), source))?;
        sizes.extend(listed.into_iter().map(|meta| (meta.location, meta.size)));
        Ok(())
    }
}
