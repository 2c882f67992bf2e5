//! Settle each drop when all of its parts are staged: enter it in the ledger, or say why not.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex as Lock, PoisonError},
};

use connectors::{
    DropPlan, Error, Ledger, Output,
    checkpoint::PlannedDrop,
    ledger::{Appended, Entry, EntryKind, FORMAT, FileRecord, FlagCounts, RowCounts},
};
use serde::{Deserialize, Serialize};
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Concat, vec::Map},
};
use tokio::{runtime::Handle, sync::Mutex};

use crate::{
    Flow, Shutdown, Staged, Tally,
    collectives::{Gather, Rank, Round},
    offload::offload,
};

/// What committing needs; the first worker of the cluster settles all drops.
#[derive(Clone, Debug)]
pub struct Committer {
    /// Where the files go.
    pub output: Output,
    /// The ledger, as far as it is known.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The model's whole id.
    pub model_id: String,
    /// The engine's version.
    pub engine: String,
    /// The settings that change results.
    pub settings: serde_json::Value,
    /// What is to be published later.
    pub unfinished: Unfinished,
    /// Waits for commits that go on.
    pub shutdown: Shutdown,
    /// Where requests run.
    pub runtime: Handle,
}

/// Attempts whose entries are or may be in the ledger and whose files are not all published, each with its drop. A drop
/// that is handed in again is published again.
#[derive(Clone, Debug, Default)]
pub struct Unfinished(Arc<Lock<BTreeMap<String, String>>>);

impl Unfinished {
    /// Adds an attempt at a drop.
    pub fn add(&self, attempt: &str, drop: &str) {
        self.attempts().insert(attempt.to_owned(), drop.to_owned());
    }

    /// Takes an attempt out, when it is published or proves not to be in the ledger.
    pub fn remove(&self, attempt: &str) {
        self.attempts().remove(attempt);
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<String, String> {
        self.attempts().clone()
    }

    fn has(&self, attempt: &str) -> bool {
        self.attempts().contains_key(attempt)
    }

    fn attempts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a drop ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is in the ledger under this number, and its files are published.
    Committed(u64),
    /// Another run committed it first, under this number.
    Overtaken(u64),
    /// This run has committed it before, under this number.
    Known(u64),
    /// Another run abandoned this attempt; the drop is to be taken in again.
    Abandoned,
    /// It is not committed, for these reasons; the next run takes it in again.
    Failed(Vec<String>),
}

/// A drop that is settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The drop.
    pub drop: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its rows by door, where they were all counted.
    pub rows: RowCounts,
    /// Its written rows by flag, where they were all counted.
    pub flags: FlagCounts,
    /// Its committed files.
    pub files: u64,
    /// What it took.
    pub tally: Tally,
}

/// What is told of a drop until it is settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum CommitInput {
    Plan(Box<PlannedDrop>),
    Part(Staged),
}

/// Commits drops.
/// ```
/// # use std::sync::Arc;
/// # use connectors::{checkpoint::PlannedDrop, DropPlan, Ledger, Location, Output, galaxy::FileKind, ledger::RowCounts};
/// use hubbleflow_operators::{Commit, Committer, Outcome, Shutdown, Staged, Tally, Unfinished};
/// use timely::dataflow::operators::{Inspect, ToStream};
/// # let runtime = tokio::runtime::Runtime::new().unwrap();
/// # let folder = tempfile::tempdir().unwrap();
/// # let place = Location::open(folder.path().to_str().unwrap(), &[]).unwrap();
/// # let ledger = Arc::new(tokio::sync::Mutex::new(runtime.block_on(Ledger::open(&place)).unwrap()));
/// # let (output, model_id, engine) = (Output::new(place), "0123456789ab".to_owned(), "0.1.0".to_owned());
/// # let committer = Committer { output, ledger, model_id, engine, settings: serde_json::Value::Null, unfinished: Unfinished::default(), shutdown: Shutdown::default(), runtime: runtime.handle().clone() };
/// # let (name, attempt, kind) = ("night-1".to_owned(), "first".to_owned(), FileKind::Galaxies);
/// # let plan = DropPlan { name, attempt, began: 1, kind, id_kind: None, keep: Default::default(), inputs: vec![], ignored: vec![], rows: 2, parts: 1, failure: None, splits: Default::default() };
/// # let staged = Staged { files: vec![], rows: RowCounts { read: 2, written: 0, learned: 0, rejected: 2 }, flags: Default::default(), failures: vec![], tally: Tally::default() };
///
/// timely::example(move |scope| {
///     // Two rows were promised, and two came through.
///     let plans = [PlannedDrop::from(plan)].to_stream(scope).container::<Vec<_>>();
///     [staged].to_stream(scope).container::<Vec<_>>().commit(plans, &committer).inspect(|settled| {
///         assert_eq!(settled.outcome, Outcome::Committed(1));
///     });
/// });
/// ```
pub trait Commit<'s> {
    /// Brings what was planned and what was staged together, and settles one drop after another, each at its time.
    fn commit(self, plans: Flow<'s, PlannedDrop>, committer: &Committer) -> Flow<'s, Settled>;
}

impl<'s> Commit<'s> for Flow<'s, Staged> {
    fn commit(self, plans: Flow<'s, PlannedDrop>, committer: &Committer) -> Flow<'s, Settled> {
        let told = plans
            .map(|plan| CommitInput::Plan(Box::new(plan)))
            .concat(self.map(CommitInput::Part));
        let drops = told.gather_to(Rank::FIRST, Round::Time);
        let committer = committer.clone();
        // One at a time: numbers of the ledger follow the order of the drops.
        offload(drops, Pipeline, "Commit", 1, move |told, reply| {
            let of = committer.clone();
            committer.runtime.spawn(async move {
                of.shutdown.begin();
                if let Some(settled) = of.settle(told).await {
                    reply.send(settled);
                }
                reply.finish();
                of.shutdown.end(1);
            });
        })
    }
}

impl Committer {
    /// Settles a drop by all that was told of it.
    async fn settle(&self, told: Vec<(Rank, CommitInput)>) -> Option<Settled> {
        let (mut plan, mut parts) = (None, Vec::new());
        for (_, told) in told {
            match told {
                CommitInput::Plan(told) => plan = Some(*told),
                CommitInput::Part(part) => parts.push(part),
            }
        }
        let PlannedDrop {
            plan,
            has_checkpoints,
            ..
        } = plan?;
        let (drop, failure) = (plan.name.clone(), plan.failure.clone());
        let mut whole = Staged {
            failures: Vec::from_iter(failure),
            ..Staged::default()
        };
        parts.into_iter().for_each(|part| whole += part);
        let Staged {
            files,
            rows,
            flags,
            mut failures,
            tally,
        } = whole;
        if failures.is_empty() && (rows.read != plan.rows || !rows.balance()) {
            let (promised, read) = (plan.rows, rows.read);
            failures.push(format!(
                "{promised} rows were promised by the footers, and {read} came through"
            ));
        }
        let mut settled = Settled {
            drop,
            outcome: Outcome::Abandoned,
            rows,
            flags,
            files: files.len() as u64,
            tally,
        };
        let has_checkpoints = has_checkpoints || tally.checkpoints > 0;
        if failures.is_empty() {
            let committed = self.commit(plan, files, &mut settled).await;
            settled.outcome =
                committed.unwrap_or_else(|error| Outcome::Failed(vec![error.to_string()]));
        } else {
            settled.outcome = self.fail(&plan, failures).await;
        }
        if let Outcome::Committed(sequence) = settled.outcome
            && has_checkpoints
        {
            let cleared = self.output.clear_checkpoints(&settled.drop, sequence);
            if let Err(error) = cleared.await {
                tracing::warn!("{error}; the next start removes the checkpoints");
            }
        }
        Some(settled)
    }

    async fn commit(
        &self,
        plan: DropPlan,
        mut files: Vec<FileRecord>,
        settled: &mut Settled,
    ) -> Result<Outcome, Error> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let entry = Entry {
            format: FORMAT,
            sequence: 0,
            kind: EntryKind::Drop,
            attempt: plan.attempt,
            drop: plan.name,
            model_id: self.model_id.clone(),
            engine: self.engine.clone(),
            settings: self.settings.clone(),
            object_id: plan.id_kind,
            keep: plan.keep,
            inputs: plan.inputs,
            ignored: plan.ignored,
            rows: settled.rows,
            flags: Some(settled.flags.clone()),
            files,
        };
        let attempt = entry.attempt.clone();
        let committed = {
            let mut ledger = self.ledger.lock().await;
            let output = &self.output;
            let committed = output.commit_and_keep_stage(&mut ledger, entry, plan.began);
            committed.await
        };
        // A thousand staged files take long to delete: others may have the ledger meanwhile.
        match self.output.finish(&attempt, committed).await {
            Ok(Appended::Overtaken(sequence)) => {
                let mut ledger = self.ledger.lock().await;
                self.overtaken(&mut ledger, &attempt, sequence, settled)
                    .await
            }
            Ok(appended) => Ok(appended.into()),
            Err(error) => {
                if may_be_published_later(&error) {
                    self.unfinished.add(&attempt, &settled.drop);
                }
                Err(error)
            }
        }
    }

    /// What becomes of a drop that has an entry already: where its files are not all published, they are.
    async fn overtaken(
        &self,
        ledger: &mut Ledger,
        attempt: &str,
        sequence: u64,
        settled: &mut Settled,
    ) -> Result<Outcome, Error> {
        let newest = ledger.newest(&settled.drop);
        let Some(entry) = newest.filter(|newest| newest.sequence == sequence).cloned() else {
            return Ok(Outcome::Overtaken(sequence));
        };
        let is_ours = run_of(&entry.attempt) == run_of(attempt);
        if !self.unfinished.has(&entry.attempt) {
            return Ok(match is_ours {
                true => Outcome::Known(sequence),
                false => Outcome::Overtaken(sequence),
            });
        }
        let published = self.output.publish(ledger, &entry).await;
        published.map_err(|source| Error::Unpublished {
            sequence,
            source: Box::new(source),
        })?;
        self.unfinished.remove(&entry.attempt);
        if !is_ours {
            return Ok(Outcome::Overtaken(sequence));
        }
        (settled.rows, settled.files) = (entry.rows, entry.files.len() as u64);
        settled.flags = entry.flags.unwrap_or_default();
        Ok(Outcome::Committed(sequence))
    }

    /// What becomes of a drop that cannot be committed. Where another run has taken this attempt's stage away, the
    /// failures are no more than that.
    async fn fail(&self, plan: &DropPlan, mut failures: Vec<String>) -> Outcome {
        failures.sort();
        failures.dedup();
        let verdict = {
            let mut ledger = self.ledger.lock().await;
            let known = ledger.refresh().await;
            let verdict = ledger.verdict(&plan.attempt, &plan.name, plan.began);
            // What keeps the ledger from being read is one more failure: the others are as true as before.
            failures.extend(known.err().map(|error| error.to_string()));
            verdict
        };
        // What was staged is of no use; where it cannot be removed, the next run does.
        if let Err(error) = self.output.clear_stage(&plan.attempt).await {
            failures.push(error.to_string());
        }
        verdict.map_or(Outcome::Failed(failures), Outcome::from)
    }
}

/// Whether a drop that was not committed or not published for this reason may be in the ledger, and can be published when
/// that is tried again. It cannot where the entry itself is wrong.
pub fn may_be_published_later(error: &Error) -> bool {
    match error {
        Error::Unpublished { source, .. } => may_be_published_later(source),
        Error::Mixed { .. }
        | Error::Ledger { .. }
        | Error::Link { .. }
        | Error::Format { .. }
        | Error::Url { .. } => false,
        _ => true,
    }
}

/// The run that makes an attempt: attempts are named by their run and counted.
fn run_of(attempt: &str) -> &str {
    attempt.rsplit_once('-').map_or(attempt, |(run, _)| run)
}

impl From<Appended> for Outcome {
    fn from(appended: Appended) -> Self {
        match appended {
            Appended::Committed(sequence) => Self::Committed(sequence),
            Appended::Overtaken(sequence) => Self::Overtaken(sequence),
            Appended::Abandoned(_) => Self::Abandoned,
        }
    }
}
