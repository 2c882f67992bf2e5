//! `hubbleflow verify`: checks an output against its ledger, down to each byte and each metric. If the
//! catalog and the model are given, it also predicts the drops again and compares the files.
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use connectors::{
    Ledger, Location, Output,
    committed::{files_of, kept, standing},
    committed_fault::{fault_of, flags_fault},
    ledger::{Entry, EntryKind, RowCounts},
    part::Folder,
    paths,
    seal::entry_fault,
};
use futures::{StreamExt, TryStreamExt, stream};
use operators::{Metrics, Scored, publish, score::score_each};
use serde::Serialize;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{
    Error, OutputError, StoreOptions,
    predict_again::{Predictor, differences, name_of, together},
};

pub use crate::predict_again::Again;

/// Files that are read at once.
const FILES_AT_ONCE: usize = 4;
/// Entries that are read at once.
const ENTRIES_AT_ONCE: usize = 32;

/// What was compared, and what is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries of the ledger, abandoned ones too.
    pub entries: u64,
    /// Drops whose newest entry was compared.
    pub drops: u64,
    /// Files whose bytes were compared.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Whether the metrics were computed again. They are if the files are intact.
    pub metrics_compared: bool,
    /// Drops that were predicted again.
    pub drops_predicted_again: u64,
    /// What is wrong, a line each.
    pub faults: Vec<String>,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "WRONG: {fault}")?;
        }
        let Self {
            entries,
            drops,
            files,
            rows,
            metrics_compared,
            drops_predicted_again,
            faults,
        } = self;
        let metrics = match metrics_compared {
            true => " and the metrics",
            false => "",
        };
        write!(
            f,
            "{entries} entries, {drops} drops, {files} files with {rows} rows{metrics} were compared"
        )?;
        if *drops_predicted_again > 0 {
            write!(f, ", {drops_predicted_again} drops were predicted again")?;
        }
        match faults.len() {
            0 => write!(f, ": all is as the ledger says"),
            1 => write!(f, ": 1 fault"),
            faults => write!(f, ": {faults} faults"),
        }
    }
}

/// Compares an output with its ledger, and with what is predicted `again`. Writes nothing there.
///
/// # Errors
/// The store's, if the output cannot be read at all. Everything that is read and wrong is a fault, not an error.
pub async fn verify(
    out: &str,
    again: Option<&Again>,
    options: &StoreOptions,
) -> Result<Verified, Error> {
    let output = Output::new(Location::open(out, options)?);
    let ledger = Ledger::open(output.location()).await?;
    if ledger.entries().is_empty() {
        return Err(OutputError::NoLedger {
            out: out.to_owned(),
        }
        .into());
    }
    let stand: Vec<&Entry> = standing(ledger.entries(), u64::MAX).into_values().collect();
    let mut verified = Verified {
        entries: ledger.entries().len() as u64,
        drops: stand.len() as u64,
        ..Verified::default()
    };
    verified.check_entries(&output, &ledger).await?;
    for entry in &stand {
        verified.check_files(&output, entry).await?;
    }
    // Of other rows than those that were committed nothing can be told.
    verified.metrics_compared = verified.faults.is_empty();
    verified.check_strays(&output, &stand).await?;
    verified.check_metrics(&output, &ledger).await?;
    if let Some(again) = again {
        let mut predictor = Predictor::new(again, options);
        for entries in together(&stand) {
            verified.check_predictions(&entries, &mut predictor).await?;
        }
    }
    Ok(verified)
}

impl Verified {
    /// Each entry is as it was written.
    async fn check_entries(&mut self, output: &Output, ledger: &Ledger) -> Result<(), Error> {
        let mut checks = stream::iter(ledger.entries())
            .map(|entry| async move { (entry, entry_fault(output.location(), entry).await) })
            .buffered(ENTRIES_AT_ONCE);
        while let Some((entry, fault)) = checks.next().await {
            let name = name_of(entry);
            self.faults
                .extend(fault?.map(|fault| format!("{name} {fault}")));
        }
        Ok(())
    }

    /// Each file that an entry lists has its bytes and its rows, and they add up to the entry's.
    async fn check_files(&mut self, output: &Output, entry: &Entry) -> Result<(), Error> {
        let (name, faults_before) = (name_of(entry), self.faults.len());
        let mut by_folder = BTreeMap::new();
        let (own, foreign): (Vec<_>, Vec<_>) = entry
            .files
            .iter()
            .partition(|file| entry.may_list(&file.path));
        self.faults.extend(foreign.into_iter().map(|file| {
            let path = &file.path;
            format!("{name}: {path}: is not in a folder of this drop, and is not looked at")
        }));
        let mut checks = stream::iter(own)
            .map(|file| async move { (file, fault_of(output, entry, file).await) })
            .buffered(FILES_AT_ONCE);
        while let Some((file, fault)) = checks.next().await {
            self.faults
                .extend(fault?.map(|fault| format!("{name}: {}: {fault}", file.path)));
            self.files += 1;
            self.rows += file.rows;
            if let Some(folder) = Folder::of(&file.path) {
                *by_folder.entry(folder).or_insert(0) += file.rows;
            }
        }
        let of = |folder| by_folder.get(&folder).copied().unwrap_or(0);
        // A model may give redshifts, embeddings or both: then both folders have each row.
        let [photoz, embeddings] = [Folder::Photoz, Folder::Embeddings].map(of);
        if photoz > 0 && embeddings > 0 && photoz != embeddings {
            self.faults.push(format!(
                "{name}: its files hold {photoz} rows with redshifts, and {embeddings} with embeddings"
            ));
        }
        let rows = RowCounts {
            read: entry.rows.read,
            written: photoz.max(embeddings),
            learned: of(Folder::SpecZ),
            rejected: of(Folder::Rejects),
        };
        if rows != entry.rows {
            self.faults.push(format!(
                "{name}: its files hold {}, and it says {}",
                by_door(rows),
                by_door(entry.rows)
            ));
        }
        if !entry.rows.balance() {
            self.faults.push(format!(
                "{name}: it says that {} rows were read, and {}, which is not as many",
                entry.rows.read,
                by_door(entry.rows)
            ));
        }
        let inputs: u64 = entry.inputs.iter().map(|input| input.rows).sum();
        if inputs != entry.rows.read && !entry.is_try() {
            let read = entry.rows.read;
            self.faults.push(format!(
                "{name}: its objects hold {inputs} rows, and {read} were read"
            ));
        }
        if self.faults.len() == faults_before {
            let fault = flags_fault(output, entry).await?;
            self.faults
                .extend(fault.map(|fault| format!("{name}: {fault}")));
        }
        Ok(())
    }

    /// Reports files in the folders of readers that no entry lists.
    async fn check_strays(&mut self, output: &Output, stand: &[&Entry]) -> Result<(), Error> {
        let listed: HashSet<String> = stand
            .iter()
            .flat_map(|entry| files_of(entry))
            .map(|file| file.path)
            .collect();
        let place = output.location();
        for folder in paths::DROP_FOLDERS {
            let found = place.store.list(Some(&place.path(folder)?));
            let found = found
                .map_ok(|meta| meta.location)
                .try_collect::<Vec<_>>()
                .await;
            let found =
                found.map_err(|source| connectors::Error::store(place.url_of(folder), source))?;
            let names = found.iter().map(|path| place.relative(path).to_owned());
            let strays = names.filter(|name| !listed.contains(name));
            self.faults
                .extend(strays.map(|name| format!("{name}: no entry lists it")));
        }
        Ok(())
    }

    /// Checks that metrics exist where they can be made, that each file belongs to an entry, and that the numbers are those
    /// of the committed rows.
    async fn check_metrics(&mut self, output: &Output, ledger: &Ledger) -> Result<(), Error> {
        let possible = kept(ledger);
        let made = match self.metrics_compared {
            true => possible.clone(),
            false => Vec::new(),
        };
        let mut scored = score_again(output, ledger, made);
        let mut whole = None;
        let mut files = publish::listed(output).await?;
        let drops = ledger.entries().iter();
        let drops = drops.filter(|entry| entry.kind == EntryKind::Drop);
        let mut written = stream::iter(drops)
            .map(|entry| async move { (entry, publish::read_bytes(output, entry.sequence).await) })
            .buffered(FILES_AT_ONCE);
        while let Some((entry, bytes)) = written.next().await {
            let sequence = entry.sequence;
            let can_be_made = possible.binary_search(&sequence).is_ok();
            let made = match self.metrics_compared && can_be_made {
                true => scored.recv().await.map(|scored| scored.metrics),
                false => None,
            };
            if let Some(Ok(file)) = &made {
                let whole: &mut Metrics = whole.get_or_insert_with(|| file.as_ref().clone());
                whole.update(file.as_ref().clone());
            }
            let fault = match bytes? {
                Some(bytes) => {
                    let told = publish::parse(output, sequence, &bytes);
                    match told {
                        Err(error) => Some(error.to_string()),
                        Ok(told) if (told.sequence, &told.drop) != (sequence, &entry.drop) => Some(
                            "are those of another entry; delete the file, and the next run makes it".to_owned(),
                        ),
                        Ok(told) => {
                            let compared = compared(output, ledger, told, made, whole.as_ref());
                            wrong_metrics(compared.await)
                        }
                    }
                }
                None => can_be_made.then(|| "are missing; the next run makes them".to_owned()),
            };
            let name = publish::path_of(sequence);
            files.remove(&name);
            self.faults
                .extend(fault.map(|fault| format!("{name}: {fault}")));
        }
        let strays = files.into_iter();
        self.faults.extend(
            strays.map(|name| format!("{name}: are of no drop in the ledger; delete the file")),
        );
        Ok(())
    }

    /// The catalog and the model give the same files again.
    async fn check_predictions(
        &mut self,
        entries: &[&Entry],
        predictor: &mut Predictor<'_>,
    ) -> Result<(), Error> {
        let there = predictor.drops_like(entries[0]).await?;
        let (there, missing): (Vec<&Entry>, Vec<&Entry>) = entries
            .iter()
            .copied()
            .partition(|entry| there.contains(&entry.drop));
        let catalog = &predictor.again.catalog;
        self.faults.extend(
            missing
                .iter()
                .map(|entry| format!("{}: {catalog} has no such drop", name_of(entry))),
        );
        if there.is_empty() {
            return Ok(());
        }
        let place = tempfile::tempdir().map_err(|source| Error::io("making a folder", source))?;
        let out = place.path().display().to_string();
        let ran = match predictor.predict(&there, &out).await {
            Err(Error::Settings(reason)) => {
                self.faults.extend(there.iter().map(|entry| {
                    format!("{}: its settings cannot be used: {reason}", name_of(entry))
                }));
                return Ok(());
            }
            ran => ran?,
        };
        let made = Ledger::open(&Location::open(&out, &[])?).await?;
        for entry in there {
            self.drops_predicted_again += 1;
            self.faults.extend(differences(entry, &ran, &made));
        }
        Ok(())
    }
}

/// Scores what was committed up to each of these entries, one after another, no faster than they are taken.
fn score_again(output: &Output, ledger: &Ledger, sequences: Vec<u64>) -> mpsc::Receiver<Scored> {
    let (tell, told) = mpsc::channel(FILES_AT_ONCE);
    let (output, ledger, runtime) = (output.clone(), ledger.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        score_each(&output, ledger, sequences, &runtime, move |scored| {
            // Whoever listened has met an error, and told it.
            let _ = tell.blocking_send(scored);
        });
    });
    told
}

/// The metrics that a file tells, and those that it should: both whole, or both as changes.
type Compared = (Metrics, Option<Metrics>);

/// What the metrics of an entry are compared with: `made` of the committed rows as a file, or `whole` with those before.
async fn compared(
    output: &Output,
    ledger: &Ledger,
    told: Metrics,
    made: Option<Result<Box<Metrics>, String>>,
    whole: Option<&Metrics>,
) -> Result<Compared, String> {
    let made = made.transpose();
    match made.map_err(|reason| format!("cannot be computed: {reason}"))? {
        None => Ok((told, None)),
        Some(_) if told.complete => Ok((told, whole.cloned())),
        Some(made) if !made.complete => Ok((told, Some(*made))),
        // Changes to metrics that cannot be made any more: the files tell them.
        Some(_) => match publish::read_whole(output, ledger, told.sequence).await {
            Ok(Some(together)) => Ok((together, whole.cloned())),
            Ok(None) => Err(
                "are changes to metrics that are missing; delete the file, and the next run makes it whole".to_owned(),
            ),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// What is wrong with the metrics of an entry.
fn wrong_metrics(compared: Result<Compared, String>) -> Option<String> {
    match compared {
        Err(reason) => Some(reason),
        Ok((told, Some(made))) if told != made.as_read() => Some(format!(
            "are not those of the committed rows, which are {}; delete the file, and the next run makes it",
            &made.all
        )),
        Ok(_) => None,
    }
}

fn by_door(rows: RowCounts) -> String {
    let RowCounts {
        written,
        learned,
        rejected,
        ..
    } = rows;
    format!("{written} predicted or withdrawn, {learned} learned and {rejected} rejected")
}
