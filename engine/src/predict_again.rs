//! Predict drops again, as `verify` does: what their entries should say.
use std::collections::HashSet;

use connectors::{Input, Ledger, Location, catalog::drops, ledger::Entry};
use tokio::runtime::Handle;

use crate::{DropBy, Error, Job, JobSettings, LoadedModel, StoreOptions, Summary};

/// Upper bounds on the drops that one run predicts again, and on the bytes of their files.
const DROPS_A_RUN: usize = 256;
const BYTES_A_RUN: u64 = 1_000_000_000;

/// A catalog and a model to predict with again.
#[derive(Clone, Debug)]
pub struct Again {
    /// The catalog's URL.
    pub catalog: String,
    /// The model's directory.
    pub model: String,
}

/// What messages call an entry.
pub(crate) fn name_of(entry: &Entry) -> String {
    format!("entry {} ({})", entry.sequence, entry.drop)
}

/// Groups entries that one run predicts again: entries with the same settings, and no more files than a folder should
/// take. A run costs a listing of the catalog, so a group has as many entries as possible.
pub(crate) fn together<'a>(stand: &[&'a Entry]) -> Vec<Vec<&'a Entry>> {
    let bytes = |entry: &Entry| entry.files.iter().map(|file| file.bytes).sum::<u64>();
    let (mut groups, mut group_bytes) = (Vec::<Vec<&Entry>>::new(), 0);
    for entry in stand {
        let last = groups.last_mut().filter(|group| {
            let first = group[0];
            let is_like = (&first.settings, &first.keep) == (&entry.settings, &entry.keep);
            is_like
                && !entry.is_try()
                && group.len() < DROPS_A_RUN
                && group_bytes + bytes(entry) <= BYTES_A_RUN
        });
        match last {
            Some(group) => {
                group.push(entry);
                group_bytes += bytes(entry);
            }
            None => {
                groups.push(vec![entry]);
                group_bytes = bytes(entry);
            }
        }
    }
    groups
}

/// Predicts drops again, with one model that is loaded once for each device and precision.
pub(crate) struct Predictor<'a> {
    pub(crate) again: &'a Again,
    options: &'a StoreOptions,
    models: Vec<(String, LoadedModel)>,
    /// The drops of the catalog, by how it is divided into them.
    drops: Option<(DropBy, HashSet<String>)>,
}

impl<'a> Predictor<'a> {
    pub(crate) fn new(again: &'a Again, options: &'a StoreOptions) -> Self {
        Self {
            again,
            options,
            models: Vec::new(),
            drops: None,
        }
    }

    /// The drops of the catalog as an entry's run saw it.
    pub(crate) async fn drops_like(&mut self, entry: &Entry) -> Result<&HashSet<String>, Error> {
        let drop_by = settings_of(entry).plan.drop_by;
        let known = self.drops.take().filter(|(known, _)| *known == drop_by);
        let known = match known {
            Some(known) => known,
            None => {
                let catalog = Location::open(&self.again.catalog, self.options)?;
                let there = drops(&catalog, drop_by).await?;
                (drop_by, there.into_iter().map(|drop| drop.name).collect())
            }
        };
        Ok(&self.drops.insert(known).1)
    }

    /// Predicts the drops of entries with the same settings, into another output.
    pub(crate) async fn predict(
        &mut self,
        entries: &[&Entry],
        out: &str,
    ) -> Result<Summary, Error> {
        let mut settings = settings_of(entries[0]);
        settings.plan.drops = entries.iter().map(|entry| entry.drop.clone()).collect();
        let key = format!(
            "{:?} {:?} {:?}",
            settings.device, settings.precision, settings.instructions
        );
        let known = self.models.iter().position(|(known, _)| *known == key);
        let known = known.map(|place| self.models.swap_remove(place).1);
        let (options, runtime) = (self.options.to_vec(), Handle::current());
        let (again, out) = (self.again.clone(), out.to_owned());
        let ran = tokio::task::spawn_blocking(move || {
            let model = match known {
                Some(model) => model,
                None => LoadedModel::load(&again.model, &settings, &options, &runtime)?,
            };
            let job = Job::builder(&again.catalog, &out)
                .settings(settings)
                .loaded_model(model.share()?)
                .store(&options)
                .runtime(&runtime)
                .build()?;
            Ok::<_, Error>((job.run()?, (key, model)))
        });
        let (summary, used) = ran
            .await
            .expect("a run does not panic: its errors are values")?;
        self.models.push(used);
        Ok(summary)
    }
}

/// The differences between an entry and the entry of the same drop that was predicted again.
pub(crate) fn differences(entry: &Entry, ran: &Summary, ledger: &Ledger) -> Vec<String> {
    let name = name_of(entry);
    let Some(made) = ledger.newest(&entry.drop) else {
        let reasons = ran.failures.get(&entry.drop);
        let reasons = reasons.map(|reasons| reasons.join("; "));
        let reasons = reasons.unwrap_or_default();
        return vec![format!("{name}: cannot be predicted again: {reasons}")];
    };
    if made.model_id != entry.model_id {
        let (made, told) = (&made.model_id, &entry.model_id);
        return vec![format!(
            "{name}: this is model {made:.12}, and it was {told:.12}"
        )];
    }
    let mut faults = Vec::new();
    if made.object_id != entry.object_id {
        faults.push(format!(
            "{name}: predicted again its ids are of another type"
        ));
    }
    // Another catalog, a copy say, gives other ETags to the same objects.
    let same_place = made.settings["catalog"] == entry.settings["catalog"];
    let facts = |input: &Input| {
        let etag = input.etag.clone().filter(|_| same_place);
        (input.path.clone(), etag, input.bytes, input.rows)
    };
    let read: HashSet<_> = entry.inputs.iter().map(facts).collect();
    let other = made
        .inputs
        .iter()
        .find(|input| !read.contains(&facts(input)));
    let count = (made.inputs.len(), entry.inputs.len());
    match other {
        Some(other) => faults.push(format!(
            "{name}: its inputs are not what is read again, as {}",
            other.path
        )),
        None if count.0 != count.1 => faults.push(format!(
            "{name}: it has {} inputs, and {} are read again",
            count.1, count.0
        )),
        None => (),
    }
    let differs = made.files.iter().filter(|file| !entry.files.contains(file));
    faults.extend(differs.map(|file| format!("{name}: predicted again it is {}", file.path)));
    if made.files.len() != entry.files.len() {
        faults.push(format!(
            "{name}: predicted again it has {} files",
            made.files.len()
        ));
    }
    faults
}

/// The settings that an entry was made with.
fn settings_of(entry: &Entry) -> JobSettings {
    let mut settings = JobSettings::default();
    let setting = |name: &str| entry.settings.get(name).cloned().unwrap_or_default();
    let list =
        |name: &str| serde_json::from_value::<Vec<String>>(setting(name)).unwrap_or_default();
    let number = |name: &str| setting(name).as_f64();
    let plan = &mut settings.plan;
    let rows = &mut plan.rows;
    rows.columns = list("column");
    rows.bands = list("bands");
    rows.flux_zero_point = number("flux_zero_point");
    if let (Some(min), Some(max)) = (number("mag_min"), number("mag_max")) {
        (rows.mag_min, rows.mag_max) = (min as f32, max as f32);
    }
    if let (Some(min), Some(max)) = (number("z_spec_min"), number("z_spec_max")) {
        (rows.z_spec_min, rows.z_spec_max) = (min as f32, max as f32);
    }
    plan.drops = vec![entry.drop.clone()];
    plan.keep = list("keep");
    plan.embeddings = setting("embeddings") == true;
    plan.quantiles = setting("quantiles") != false;
    plan.kept_types = entry.keep.clone();
    plan.limit_rows = setting("limit").as_u64().map(|_| entry.rows.read);
    if setting("drop_by") == "all" {
        plan.drop_by = DropBy::All;
    }
    if let Some(bytes) = setting("split_bytes").as_u64() {
        plan.split_bytes = bytes;
        settings.memory_bytes = settings.memory_bytes.max(bytes.saturating_mul(4));
    }
    if let Some(batch) = setting("batch").as_u64() {
        settings.batch = Some(u32::try_from(batch).unwrap_or(u32::MAX));
    }
    let parsed = |name: &str| setting(name).as_str().unwrap_or("auto").to_owned();
    settings.device = parsed("device").parse().unwrap_or_default();
    settings.precision = parsed("precision").parse().unwrap_or_default();
    settings.instructions = parsed("instructions").parse().ok();
    settings
}
