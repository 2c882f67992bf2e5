//! Commits drops, and finishes what earlier runs left unfinished.

use crate::{
    Error, Ledger, Output,
    ledger::{
        Appended,
        entry::{Entry, EntryKind},
    },
    paths::STAGING,
};

/// A drop that an earlier run committed but did not publish, and that cannot be published now either.
#[derive(Debug)]
pub struct Unpublished {
    /// The drop.
    pub drop: String,
    /// The attempt that staged its files.
    pub attempt: String,
    /// Why the files cannot be published.
    pub error: Error,
}

impl Output {
    /// Finishes what earlier runs left unfinished: publishes committed attempts, abandons all other attempts, and clears the
    /// stages. Returns the drops that cannot be published. Their stages stay, and other drops are not delayed.
    ///
    /// # Errors
    /// Errors of the store, or [`Error::Link`].
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
                .filter(|entry| entry.kind == EntryKind::Drop)
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

    /// Commits a drop: appends its entry to the ledger and publishes its files. `began` is the number of the ledger's next
    /// entry when the attempt began. The stage is cleared if the attempt comes too late, or does not fit the entries before.
    ///
    /// # Errors
    /// [`Error::Mixed`] as [`Ledger::append`]; errors of the store; [`Error::Unpublished`] if the drop is committed, but a
    /// file is not published yet.
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

    /// Does the part of [`Output::commit`] that needs the ledger. [`Output::finish`] does the rest, which may take long.
    ///
    /// # Errors
    /// The errors of [`Output::commit`].
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

    /// Clears the stage of an attempt after [`Output::commit_and_keep_stage`], and passes on the result.
    ///
    /// # Errors
    /// The error of the attempt; errors of the store; [`Error::Unpublished`] if the drop is committed, but its stage is not
    /// cleared.
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
                // The next start clears the stage. The user needs to know why the drop fails.
                if let Err(error) = self.clear_stage(attempt).await {
                    tracing::warn!("{error}");
                }
            }
            Err(_) => (),
        }
        committed
    }

    /// Appends the entry of a drop to the ledger, after checking that all files are staged.
    async fn enter(
        &self,
        ledger: &mut Ledger,
        entry: Entry,
        began: u64,
    ) -> Result<Appended, Error> {
        entry.check_paths(&self.location)?;
        if let Err(error) = self.check_staged(&entry).await {
            // Another run may have abandoned the attempt and cleared its stage.
            let known = ledger.refresh().await;
            let verdict = ledger.verdict(&entry.attempt, &entry.drop, began);
            return verdict.filter(|_| known.is_ok()).ok_or(error);
        }
        ledger.append(entry, began).await
    }
}

fn unpublished(sequence: u64, source: Error) -> Error {
    Error::Unpublished {
        sequence,
        source: Box::new(source),
    }
}
