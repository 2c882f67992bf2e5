//! `hubbleflow verify`: whether an output is what its ledger says, down to each byte and each metric; and, where the
//! catalog and the model are given, whether they would give the same again.
use std::{collections::BTreeMap, fmt};

use connectors::{
    Ledger, Location, Output,
    catalog::drops,
    committed::{damage, files_of, kept, standing},
    ledger::{Entry, Kind, Rows},
    part::Folder,
};
use futures::{StreamExt, TryStreamExt, stream};
use operators::{Metrics, publish, score::score_each};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::{
    Error, Job,
    job::StoreOptions,
    observe::one_line,
    run::run_quietly,
    settings::{DropBy, RunArgs},
};

/// Files that are read at once.
const FILES_AT_ONCE: usize = 4;

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
    /// Whether the metrics were computed again: only where the files are what was committed.
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

/// A catalog and a model to predict with again.
#[derive(Clone, Debug)]
pub struct Again {
    /// The catalog's URL.
    pub catalog: String,
    /// The model's directory.
    pub model: String,
}

/// Compares an output with its ledger, and with what is predicted `again`. Writes nothing there.
///
/// # Errors
/// The store's, where the output cannot be read at all; what is read and is wrong is a fault.
pub async fn verify(
    out: &str,
    again: Option<&Again>,
    options: &StoreOptions,
) -> Result<Verified, Error> {
    let output = Output::new(Location::open(out, options)?);
    let ledger = Ledger::open(output.location()).await?;
    if ledger.entries().is_empty() {
        return Err(Error::Output(format!(
            "{out} has no ledger: nothing is committed there; check the URL"
        )));
    }
    let stand: Vec<Entry> = standing(ledger.entries(), u64::MAX)
        .into_values()
        .cloned()
        .collect();
    let mut verified = Verified {
        entries: ledger.entries().len() as u64,
        drops: stand.len() as u64,
        ..Verified::default()
    };
    for entry in &stand {
        verified.check_files(&output, entry).await?;
    }
    // Of other rows than those that were committed nothing can be told.
    verified.metrics_compared = verified.faults.is_empty();
    verified.check_strays(&output, &stand).await?;
    verified.check_metrics(&output, &ledger).await?;
    if let Some(again) = again {
        for entry in &stand {
            verified.check_predictions(entry, again, options).await?;
        }
    }
    Ok(verified)
}

impl Verified {
    /// Each file that an entry lists has its bytes and its rows, and they add up to the entry's.
    async fn check_files(&mut self, output: &Output, entry: &Entry) -> Result<(), Error> {
        let name = format!("entry {} ({})", entry.sequence, entry.drop);
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
            .map(|file| async move { (file, damage(output, file).await) })
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
        let rows = Rows {
            read: entry.rows.read,
            written: of(Folder::Photoz),
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
        Ok(())
    }

    /// No file lies where readers look that no entry lists.
    async fn check_strays(&mut self, output: &Output, stand: &[Entry]) -> Result<(), Error> {
        let listed: Vec<String> = stand
            .iter()
            .flat_map(files_of)
            .map(|file| file.path)
            .collect();
        let place = output.location();
        for folder in ["photoz", "specz", "rejects"] {
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

    /// Metrics are there where they can be made, each file is of an entry, and they are those of the committed rows.
    async fn check_metrics(&mut self, output: &Output, ledger: &Ledger) -> Result<(), Error> {
        let possible = kept(ledger);
        let made = match self.metrics_compared {
            true => score_again(output, ledger, possible.clone()).await,
            false => BTreeMap::new(),
        };
        let mut files = publish::listed(output).await?;
        let drops = ledger.entries().iter();
        let drops = drops.filter(|entry| entry.kind == Kind::Drop);
        let mut written = stream::iter(drops)
            .map(|entry| async move { (entry, publish::read_bytes(output, entry.sequence).await) })
            .buffered(FILES_AT_ONCE);
        while let Some((entry, bytes)) = written.next().await {
            let sequence = entry.sequence;
            let fault = match bytes? {
                Some(bytes) => {
                    let told = publish::parse(output, sequence, &bytes);
                    wrong_metrics(entry, told, &bytes, made.get(&sequence))
                }
                None => possible
                    .binary_search(&sequence)
                    .is_ok()
                    .then(|| "are missing; the next run makes them".to_owned()),
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
        entry: &Entry,
        again: &Again,
        options: &StoreOptions,
    ) -> Result<(), Error> {
        let place = tempfile::tempdir().map_err(|source| Error::io("making a folder", source))?;
        let args = args_of(entry, again, &place.path().display().to_string());
        let name = format!("entry {} ({})", entry.sequence, entry.drop);
        let catalog = Location::open(&again.catalog, options)?;
        let there = drops(&catalog, args.catalog.drop_by.into()).await?;
        if !there.iter().any(|drop| drop.name == entry.drop) {
            let fault = format!("{name}: {} has no such drop", again.catalog);
            self.faults.push(fault);
            return Ok(());
        }
        let (options, runtime) = (options.to_vec(), Handle::current());
        let ran = tokio::task::spawn_blocking(move || {
            run_quietly(Job::new(&args, &options, &runtime)?, &runtime)
        });
        let ran = ran
            .await
            .expect("a run does not panic: its errors are values");
        if let Err(Error::Usage(reason)) = &ran {
            self.faults
                .push(format!("{name}: its settings cannot be used: {reason}"));
            return Ok(());
        }
        let ran = ran?;
        let made = Ledger::open(&Location::open(&place.path().display().to_string(), &[])?).await?;
        self.drops_predicted_again += 1;
        match made.newest(&entry.drop) {
            None => {
                let reasons = ran.failures.get(&entry.drop).cloned().unwrap_or_default();
                let reasons = reasons.join("; ");
                self.faults
                    .push(format!("{name}: cannot be predicted again: {reasons}"));
            }
            Some(made) if made.model_id != entry.model_id => {
                let (made, told) = (&made.model_id, &entry.model_id);
                self.faults.push(format!(
                    "{name}: this is model {made:.12}, and it was {told:.12}"
                ));
            }
            Some(made) => {
                let differs = made.files.iter().filter(|file| !entry.files.contains(file));
                self.faults.extend(
                    differs.map(|file| format!("{name}: predicted again it is {}", file.path)),
                );
                if made.files.len() != entry.files.len() {
                    self.faults.push(format!(
                        "{name}: predicted again it has {} files",
                        made.files.len()
                    ));
                }
            }
        }
        Ok(())
    }
}

type Made = Result<Box<Metrics>, String>;

/// The metrics up to each of these entries.
async fn score_again(output: &Output, ledger: &Ledger, sequences: Vec<u64>) -> BTreeMap<u64, Made> {
    let (of, entries, runtime) = (output.clone(), ledger.clone(), Handle::current());
    let made = tokio::task::spawn_blocking(move || score_each(&of, entries, sequences, &runtime));
    let made = made
        .await
        .expect("scoring does not panic: what cannot be read is an error");
    let made = made.into_iter();
    made.map(|scored| (scored.sequence, scored.metrics))
        .collect()
}

/// What is wrong with the metrics of an entry as they are `written`, and `made` again, where they were.
fn wrong_metrics(
    entry: &Entry,
    told: Result<Metrics, connectors::Error>,
    written: &[u8],
    made: Option<&Made>,
) -> Option<String> {
    match (told, made) {
        (Err(error), _) => Some(error.to_string()),
        (Ok(told), _) if (told.sequence, &told.drop) != (entry.sequence, &entry.drop) => Some(
            "are those of another entry; delete the file, and the next run makes it".to_owned(),
        ),
        (Ok(_), Some(Err(reason))) => Some(format!("cannot be computed: {reason}")),
        // To the byte: metrics are a function of what is committed.
        (Ok(_), Some(Ok(made))) if made.to_json() != written => Some(format!(
            "are not those of the committed rows, which are {}; delete the file, and the next run makes it",
            one_line(&made.all)
        )),
        _ => None,
    }
}

fn by_door(rows: Rows) -> String {
    let Rows {
        written,
        learned,
        rejected,
        ..
    } = rows;
    format!("{written} predicted or withdrawn, {learned} learned and {rejected} rejected")
}

/// The settings that an entry was made with, for another output.
fn args_of(entry: &Entry, again: &Again, out: &str) -> RunArgs {
    let mut args = RunArgs::new(&again.catalog, out, &again.model);
    let setting = |name: &str| entry.settings.get(name).cloned().unwrap_or_default();
    let list =
        |name: &str| serde_json::from_value::<Vec<String>>(setting(name)).unwrap_or_default();
    args.catalog.drop = vec![entry.drop.clone()];
    (args.catalog.column, args.catalog.keep) = (list("column"), list("keep"));
    args.catalog.kept_types = entry.keep.clone();
    args.catalog.limit = setting("limit").as_u64().map(|_| entry.rows.read);
    if setting("drop_by") == "all" {
        args.catalog.drop_by = DropBy::All;
    }
    let number = |name: &str| setting(name).as_f64();
    if let (Some(min), Some(max)) = (number("mag_min"), number("mag_max")) {
        (args.catalog.mag_min, args.catalog.mag_max) = (min as f32, max as f32);
    }
    if let (Some(min), Some(max)) = (number("z_spec_min"), number("z_spec_max")) {
        (args.catalog.z_spec_min, args.catalog.z_spec_max) = (min as f32, max as f32);
    }
    if let Some(bytes) = setting("split_bytes").as_u64() {
        args.catalog.split_bytes.0 = bytes;
        args.memory.0 = args.memory.0.max(bytes.saturating_mul(4));
    }
    if let Some(batch) = setting("batch").as_u64() {
        args.batch = Some(u32::try_from(batch).unwrap_or(u32::MAX));
    }
    let parsed = |name: &str| setting(name).as_str().unwrap_or("auto").to_owned();
    args.device = parsed("device").parse().unwrap_or(args.device);
    args.precision = parsed("precision").parse().unwrap_or(args.precision);
    args.instructions = parsed("instructions").parse().ok();
    args
}
