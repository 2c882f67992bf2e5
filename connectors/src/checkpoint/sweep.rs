//! Removes checkpoints that nobody can use any more.
use std::collections::BTreeSet;

use object_store::path::Path;

use super::store::{Checkpoints, parse};
use crate::{
    Error, Ledger, Output,
    output::arrival::is_plain,
    paths::{self, CHECKPOINTS},
};

/// Paths of checkpoints in an output.
#[derive(Debug)]
pub struct ListedCheckpoints(Vec<Path>);

impl ListedCheckpoints {
    /// The drops that have checkpoints.
    pub fn drops(&self, output: &Output) -> BTreeSet<String> {
        let paths = self.0.iter();
        let parsed = paths.filter_map(|path| parse(output.location.relative(path)));
        parsed.map(|(drop, ..)| drop.to_owned()).collect()
    }
}

impl Checkpoints {
    /// Removes checkpoints of committed drops. Also removes this job's checkpoints of drops that left the catalog. `there`
    /// says whether a drop is in the catalog. The catalog must be listed after the checkpoints.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Link`].
    pub async fn sweep(
        &self,
        listed: ListedCheckpoints,
        ledger: &Ledger,
        there: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let location = &self.output.location;
        let is_useless = |path: &Path| {
            let relative = location.relative(path);
            let Some((drop, began, digest)) = parse(relative) else {
                return false;
            };
            let newest = ledger.newest(drop);
            let is_committed = newest.is_some_and(|entry| entry.sequence >= began);
            is_committed || (digest == self.digest && !there(drop))
        };
        let useless: Vec<Path> = listed.0.into_iter().filter(is_useless).collect();
        self.output.remove_checkpoints(useless).await
    }
}

impl Output {
    /// Lists all checkpoints.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Link`].
    pub async fn list_checkpoints(&self) -> Result<ListedCheckpoints, Error> {
        self.location.check_no_link(CHECKPOINTS).await?;
        let listed = self.list(CHECKPOINTS).await?;
        Ok(ListedCheckpoints(listed))
    }

    /// Removes the checkpoints of a drop that are useless after its entry `sequence`: those whose `began` is not above it.
    ///
    /// # Errors
    /// The store's errors, or [`Error::Link`].
    pub async fn clear_checkpoints(&self, drop: &str, sequence: u64) -> Result<(), Error> {
        let folder = paths::checkpoints_of(drop);
        self.location.check_no_link(&folder).await?;
        let mut listed = self.list(&folder).await?;
        listed.retain(|path| {
            let found = parse(self.location.relative(path));
            found.is_some_and(|(_, began, _)| began <= sequence)
        });
        self.remove_checkpoints(listed).await
    }

    async fn remove_checkpoints(&self, paths: Vec<Path>) -> Result<(), Error> {
        let folders: BTreeSet<String> = paths
            .iter()
            .filter_map(|path| parse(self.location.relative(path)))
            .filter(|(drop, ..)| is_plain(drop))
            .map(|(drop, ..)| paths::checkpoints_of(drop))
            .collect();
        for folder in &folders {
            self.location.check_no_link(folder).await?;
        }
        self.delete(paths).await?;
        if let Some(output) = &self.location.folder {
            // An empty folder that stays is harmless.
            for folder in &folders {
                let _ = tokio::fs::remove_dir(output.join(folder)).await;
            }
            let _ = tokio::fs::remove_dir(output.join(CHECKPOINTS)).await;
        }
        Ok(())
    }
}
