//! The plan of a job: which catalog, read how, into which output.
use std::sync::Arc;

use connectors::{
    Catalog, DropListing, Ledger, ListedDrop, Location, Output, StoreOptions,
    checkpoint::{Checkpoints, digest},
    galaxy::{KeptTypes, Request, check_kept, mag_column},
    ledger::{Entry, LEVELS, QUANTILES, REFERENCE_BAND},
};
use models::{Model, ModelOutput, config::are_levels};
use operators::Rules;
use serde_json::{Map, Value, json};
use tch::Device;

use crate::{Error, SettingsError, changed::Changed, settings::PlanSettings};

/// Where a job reads from and writes to.
#[derive(Clone, Debug)]
pub struct Places {
    /// The catalog.
    pub catalog: Location,
    /// The output.
    pub out: Location,
}

impl Places {
    /// Opens a catalog and an output. No request is sent to their stores yet.
    ///
    /// # Errors
    /// [`Error::Connectors`] for a URL that cannot be understood.
    pub fn open(catalog: &str, out: &str, options: &StoreOptions) -> Result<Self, Error> {
        Ok(Self {
            catalog: Location::open(catalog, options)?,
            out: Location::open(out, options)?,
        })
    }
}

/// What is read, and where it goes.
pub struct Plan {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// The output.
    pub output: Output,
    /// The drops to take; empty takes all.
    pub drops: Vec<String>,
    /// Take only this many rows.
    pub limit_rows: Option<u64>,
    /// Take committed drops again.
    pub again: bool,
    /// Bytes of a split.
    pub split_bytes: u64,
    /// Galaxies that the model takes at a time; splits are whole batches.
    pub batch: usize,
    /// What a row must have.
    pub rules: Rules,
    /// The columns that are kept.
    pub keep: Vec<String>,
    /// Types of kept columns for drops whose files do not say them.
    pub kept_types: KeptTypes,
    /// The model's whole id.
    pub model_id: String,
    /// The outputs that the job asks the model for.
    pub wanted: Vec<ModelOutput>,
    /// Whether the quantiles of the redshift are written.
    pub stores_quantiles: bool,
    /// The band whose magnitude the predictions have, if the model knows magnitudes.
    pub reference_band: Option<String>,
    /// Go on in an output that holds another model's predictions.
    pub model_change: bool,
    /// The settings that change results, for the ledger.
    pub settings: Map<String, Value>,
}

/// Chooses the outputs of a model: redshifts and their quantiles if the model gives redshifts, and embeddings if the user
/// asks for embeddings or the model gives no redshifts.
fn wanted(model: &dyn Model, embeddings: bool) -> Result<Vec<ModelOutput>, SettingsError> {
    let outputs = model.outputs();
    let redshift = outputs.contains(&ModelOutput::ZPhot);
    let is_wanted = |output: &&ModelOutput| match output {
        ModelOutput::ZPhot => true,
        ModelOutput::Embedding { .. } => embeddings || !redshift,
        ModelOutput::ZQuantiles { .. } => redshift,
        _ => false,
    };
    let wanted: Vec<ModelOutput> = outputs.iter().filter(is_wanted).cloned().collect();
    if let Some(levels) = levels(&wanted).filter(|levels| !are_levels(levels)) {
        let (model, levels) = (model.name().to_owned(), levels.to_vec());
        return Err(SettingsError::Levels { model, levels });
    }
    let is_embedding = |output: &ModelOutput| matches!(output, ModelOutput::Embedding { .. });
    let given: Vec<String> = outputs.iter().map(ModelOutput::to_string).collect();
    let (model, given) = (model.name().to_owned(), given.join(", "));
    if embeddings && !wanted.iter().any(is_embedding) {
        return Err(SettingsError::NoEmbedding { model, given });
    }
    match wanted.is_empty() {
        true => Err(SettingsError::NothingToWrite { model, given }),
        false => Ok(wanted),
    }
}

/// The levels of the quantiles among some outputs.
fn levels(outputs: &[ModelOutput]) -> Option<&[f64]> {
    outputs.iter().find_map(|output| match output {
        ModelOutput::ZQuantiles { levels } => Some(levels.as_slice()),
        _ => None,
    })
}

impl Plan {
    /// Resolves settings for a model.
    ///
    /// # Errors
    /// [`SettingsError`] if settings contradict each other.
    pub fn new(
        settings: &PlanSettings,
        model: &dyn Model,
        places: Places,
    ) -> Result<Self, SettingsError> {
        let Places { catalog, out } = places;
        if catalog.overlaps(&out) {
            let (catalog, out) = (catalog.url, out.url);
            return Err(SettingsError::OutputInCatalog { catalog, out });
        }
        let needs = model.needs();
        let wanted = wanted(model, settings.embeddings)?;
        let rules = settings.rows.rules(needs)?;
        if settings.split_bytes == 0 {
            return Err(SettingsError::NoSplitBytes);
        }
        let reference_band = needs.reference_band();
        check_kept(&settings.keep, reference_band)?;
        let request = Request {
            keep: settings.keep.clone(),
            ..settings.rows.request(model.name(), needs)?
        };
        Ok(Self {
            settings: for_ledger(settings, reference_band, &wanted, &catalog.url),
            wanted,
            stores_quantiles: settings.quantiles,
            reference_band: reference_band.map(str::to_owned),
            catalog: Arc::new(Catalog::new(catalog, settings.drop_by, request)),
            output: Output::new(out),
            drops: settings.drops.clone(),
            limit_rows: settings.limit_rows,
            again: settings.again,
            split_bytes: settings.split_bytes,
            batch: models::device::batch(Device::Cpu),
            rules,
            keep: settings.keep.clone(),
            kept_types: settings.kept_types.clone(),
            model_id: model.id().to_owned(),
            model_change: settings.model_change,
        })
    }

    /// The checkpoints that a job of this plan may adopt. To be called when the settings are complete.
    pub fn checkpoints(&self) -> Checkpoints {
        let depends_on = json!({
            "engine": env!("CARGO_PKG_VERSION"),
            "model": self.model_id,
            "settings": self.settings,
        });
        Checkpoints::new(self.output.clone(), &self.model_id, digest(&depends_on))
    }

    /// Whether this drop was asked for.
    pub fn wants(&self, listing: &DropListing) -> bool {
        self.drops.is_empty() || self.drops.contains(&listing.name)
    }

    /// Whether the whole catalog is one drop.
    pub fn is_one_drop(&self) -> bool {
        self.catalog.drop_by() == connectors::DropBy::All
    }

    /// Whether a drop with this newest entry is to be taken: all drops with `again`, else those that are not committed.
    pub fn is_pending(&self, entry: Option<&Entry>) -> bool {
        entry.is_none_or(|entry| self.again || (entry.is_try() && self.limit_rows.is_none()))
    }

    /// The objects of a drop that differ from its newest entry, or `None` if nothing changed.
    pub fn changed(&self, entry: Option<&Entry>, listed_drop: &ListedDrop) -> Option<Changed> {
        Changed::since(entry?, listed_drop, &self.catalog.location().url)
    }

    /// Refuses to mix the predictions of two models, unless that is asked for and both have the same magnitude.
    ///
    /// # Errors
    /// [`Error::ModelDiffers`] naming both models; [`Error::ReferenceBandDiffers`] naming both magnitudes.
    pub fn check_model(&self, ledger: &Ledger) -> Result<(), Error> {
        let predicted = ledger.entries().iter().rev().find(|entry| entry.predicts());
        let reference_band = self.reference_band.as_deref();
        match predicted {
            Some(entry) if entry.reference_band() != reference_band => {
                Err(Error::ReferenceBandDiffers {
                    out: self.output.location().url.clone(),
                    committed: mag_name(entry.reference_band()),
                    drop: entry.drop.clone(),
                    now: mag_name(reference_band),
                })
            }
            Some(entry) if entry.model_id != self.model_id && !self.model_change => {
                Err(Error::ModelDiffers {
                    out: self.output.location().url.clone(),
                    committed: entry.model_id.clone(),
                    drop: entry.drop.clone(),
                    model_id: self.model_id.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// The types of kept columns for a drop whose files do not say them: those of the settings, else of other drops.
    pub fn kept_types(&self, ledger: &Ledger, drop: &str) -> KeptTypes {
        let known = self.keep.iter().filter_map(|column| {
            let (known, _) = ledger.kept_type(drop, column)?;
            Some((column.clone(), known.to_owned()))
        });
        let mut known: KeptTypes = known.collect();
        known.extend(self.kept_types.clone());
        known
    }
}

/// The column of the magnitude in a reference band, for messages.
fn mag_name(reference_band: Option<&str>) -> String {
    reference_band.map_or("no magnitude".to_owned(), mag_column)
}

/// The settings of reading that change results, as the ledger keeps them.
fn for_ledger(
    settings: &PlanSettings,
    reference_band: Option<&str>,
    wanted: &[ModelOutput],
    catalog: &str,
) -> Map<String, Value> {
    let bands = &settings.rows.bands;
    let value = json!({
        "catalog": catalog,
        "drop_by": settings.drop_by,
        "column": settings.rows.columns,
        "bands": (!bands.is_empty()).then_some(bands),
        "flux_zero_point": settings.rows.flux_zero_point,
        REFERENCE_BAND: reference_band,
        "embeddings": settings.embeddings,
        QUANTILES: settings.quantiles,
        LEVELS: levels(wanted),
        "keep": settings.keep,
        "limit": settings.limit_rows,
        "split_bytes": settings.split_bytes,
        "mag_min": settings.rows.mag_min,
        "mag_max": settings.rows.mag_max,
        "z_spec_min": settings.rows.z_spec_min,
        "z_spec_max": settings.rows.z_spec_max,
    });
    match value {
        Value::Object(map) => map,
        _ => unreachable!("invariant: the macro wrote an object"),
    }
}
