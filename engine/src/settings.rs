//! The settings of a job: what is read, and how it runs. Every field has the default of the command line.
use std::{cmp::Ordering, time::Duration};

use connectors::{
    DropBy,
    galaxy::{ColumnNames, CutoutRequest, KeptTypes, MagRequest, Request, check_bands},
};
use models::{
    CutoutNeeds, InstructionSet, Needs,
    device::{DeviceChoice, PrecisionChoice},
};
use operators::Rules;
use tch::Device;

use crate::{SettingsError, cluster::ClusterSettings};

/// Upper bound on the workers of a process: each worker has a channel to each other worker.
pub const WORKERS_MAX: u32 = 128;
/// Upper bound on the threads that run a model in a process.
pub const THREADS_MAX: usize = 1024;
/// Upper bound on the galaxies that a model takes at a time.
pub const BATCH_MAX: u32 = 65_536;

/// How rows are read and judged. A run and a training read rows in the same way.
#[derive(Clone, Debug)]
pub struct RowSettings {
    /// Columns that have another name in the catalog, as `cutout=image`.
    pub columns: Vec<String>,
    /// The bands that the catalog's cutouts hold, in their order; empty: those of the model.
    pub bands: Vec<String>,
    /// The magnitude of a flux of 1. With it, magnitudes that a file lacks are made of its fluxes.
    pub flux_zero_point: Option<f64>,
    /// Magnitudes at or below this mean "not measured".
    pub mag_min: f32,
    /// Magnitudes at or above this mean "not measured".
    pub mag_max: f32,
    /// A `z_spec` below this is ignored; so is exactly 0.
    pub z_spec_min: f32,
    /// A `z_spec` above this is ignored: many tables write 99 or 9999 for a missing redshift.
    pub z_spec_max: f32,
}

impl Default for RowSettings {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            bands: Vec::new(),
            flux_zero_point: None,
            mag_min: 0.0,
            mag_max: 40.0,
            z_spec_min: -0.01,
            z_spec_max: 10.0,
        }
    }
}

impl RowSettings {
    /// The columns that are read for a model with these needs. `model` is the name of the model.
    ///
    /// # Errors
    /// [`SettingsError`] if a mapping of columns is malformed or names an unknown column, or if the catalog has no cutouts of
    /// the model's bands.
    pub fn request(&self, model: &str, needs: &Needs) -> Result<Request, SettingsError> {
        let names = ColumnNames::parse(&self.columns)?;
        names.check_bands(&needs.mags)?;
        let of_model = |source| SettingsError::ModelBands {
            model: model.to_owned(),
            source,
        };
        check_bands(&needs.mags).map_err(of_model)?;
        if needs.mags_required && needs.mags.is_empty() {
            let model = model.to_owned();
            return Err(SettingsError::NoMagBands { model });
        }
        if let Some(zero_point) = self.flux_zero_point.filter(|point| !point.is_finite()) {
            return Err(SettingsError::FluxZeroPoint { zero_point });
        }
        Ok(Request {
            names,
            keep: Vec::new(),
            cutouts: self.cutouts(model, needs)?,
            mags: MagRequest {
                bands: needs.mags.clone(),
                required: needs.mags_required,
                reference_band: needs.reference_band().map(str::to_owned),
                flux_zero_point: self.flux_zero_point,
            },
            embedding_width: needs.embedding_width,
            ebv: !needs.dereddening.is_empty(),
        })
    }

    /// The cutouts of a model, in cutouts of the catalog's bands.
    fn cutouts(&self, model: &str, needs: &Needs) -> Result<Option<CutoutRequest>, SettingsError> {
        let of_model = |source| SettingsError::ModelBands {
            model: model.to_owned(),
            source,
        };
        let of_catalog = |source| SettingsError::CatalogBands {
            bands: self.bands.join(","),
            model: model.to_owned(),
            source,
        };
        check_bands(&self.bands).map_err(of_catalog)?;
        let Some(CutoutNeeds { bands, px }) = &needs.cutouts else {
            return Ok(None);
        };
        let cutouts = match self.bands.is_empty() {
            true => CutoutRequest::new(bands, *px).map_err(of_model),
            false => CutoutRequest::in_catalog(bands, *px, &self.bands).map_err(of_catalog),
        };
        cutouts.map(Some)
    }

    /// The rules for a model with these needs.
    ///
    /// # Errors
    /// [`SettingsError`] if no value can lie between two bounds.
    pub fn rules(&self, needs: &Needs) -> Result<Rules, SettingsError> {
        self.check_mags()?;
        self.check_z_spec()?;
        Ok(Rules {
            needs: needs.clone(),
            mag_min: self.mag_min,
            mag_max: self.mag_max,
            z_spec_min: self.z_spec_min,
            z_spec_max: self.z_spec_max,
        })
    }

    fn check_mags(&self) -> Result<(), SettingsError> {
        let (min, max) = (self.mag_min, self.mag_max);
        match min.partial_cmp(&max) {
            Some(Ordering::Less) => Ok(()),
            _ => Err(SettingsError::MagBounds { min, max }),
        }
    }

    fn check_z_spec(&self) -> Result<(), SettingsError> {
        let (min, max) = (self.z_spec_min, self.z_spec_max);
        if min.is_nan() || min <= -1.0 {
            return Err(SettingsError::ZSpecMin { min });
        }
        if min < max && max.is_finite() {
            return Ok(());
        }
        Err(SettingsError::ZSpecBounds { min, max })
    }
}

/// Which drops are taken, and how they are read.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// How rows are read and judged.
    pub rows: RowSettings,
    /// The drops to take; empty takes all.
    pub drops: Vec<String>,
    /// Whether each child of the catalog is a drop, or the whole catalog is one drop.
    pub drop_by: DropBy,
    /// Columns of the catalog that are carried through to the predictions.
    pub keep: Vec<String>,
    /// Ask the model for embeddings too. A model that gives nothing else is asked for them anyway.
    pub embeddings: bool,
    /// Write the quantiles of the redshift, if the model gives them. The bounds of the intervals are written anyway.
    pub quantiles: bool,
    /// Types of kept columns for drops whose files do not say them (a column of nulls).
    pub kept_types: KeptTypes,
    /// Take only this many rows: a first try, which the next run without a limit replaces.
    pub limit_rows: Option<u64>,
    /// Take committed drops again; their new files replace the old ones.
    pub again: bool,
    /// About how many bytes of rows are read, batched and retried together.
    pub split_bytes: u64,
    /// Go on in an output that holds another model's predictions.
    pub model_change: bool,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            rows: RowSettings::default(),
            drops: Vec::new(),
            drop_by: DropBy::Child,
            keep: Vec::new(),
            embeddings: false,
            quantiles: true,
            kept_types: KeptTypes::default(),
            limit_rows: None,
            again: false,
            split_bytes: 25_000_000,
            model_change: false,
        }
    }
}

/// How a job runs. Only `plan`, `device`, `precision`, `instructions` and `batch` change predictions.
///
/// ```
/// use hubbleflow::JobSettings;
///
/// let settings = JobSettings { batch: Some(64), ..JobSettings::default() };
/// assert_eq!((settings.memory_bytes, settings.workers), (512_000_000, 1));
/// ```
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// Which drops are taken, and how they are read.
    pub plan: PlanSettings,
    /// Where the model runs.
    pub device: DeviceChoice,
    /// The model's arithmetic.
    pub precision: PrecisionChoice,
    /// Instructions of the CPU that the model uses; `None` takes the fastest that this machine has. Machines that differ
    /// give the same bits if they use the same instructions.
    pub instructions: Option<InstructionSet>,
    /// Galaxies that the model takes at a time; `None` takes 128 on a CPU and 1024 on a GPU.
    pub batch: Option<u32>,
    /// Upper bound on what a process has in flight: fetched, decoded, waiting, not yet written.
    pub memory_bytes: u64,
    /// How often results are stored before their drop is committed: what a crash may cost. Zero switches it off.
    pub checkpoint: Duration,
    /// Threads that run the model in a process; `None` takes its share of the cores, and 3 on a GPU.
    pub threads: Option<usize>,
    /// Workers of the dataflow in a process.
    pub workers: u32,
    /// The cluster that this process belongs to; `None` runs alone.
    pub cluster: Option<ClusterSettings>,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            plan: PlanSettings::default(),
            device: DeviceChoice::Auto,
            precision: PrecisionChoice::Auto,
            instructions: None,
            batch: None,
            memory_bytes: 512_000_000,
            checkpoint: Duration::from_secs(30),
            threads: None,
            workers: 1,
            cluster: None,
        }
    }
}

impl JobSettings {
    /// Refuses settings that contradict each other.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let (memory_bytes, split_bytes) = (self.memory_bytes, self.plan.split_bytes);
        if memory_bytes / 4 < split_bytes {
            return Err(SettingsError::Memory {
                memory_bytes,
                split_bytes,
            });
        }
        // A ledger may name a batch too.
        if let Some(batch) = self.batch
            && !(1..=BATCH_MAX).contains(&batch)
        {
            let max = BATCH_MAX;
            return Err(SettingsError::Batch { batch, max });
        }
        let (workers, max) = (self.workers, WORKERS_MAX);
        if !(1..=max).contains(&workers) {
            return Err(SettingsError::Workers { workers, max });
        }
        let workers = self.workers as usize;
        let cluster = self.cluster.as_ref();
        cluster.map_or(Ok(()), |cluster| cluster.check(workers))
    }

    /// Galaxies that a model on a device takes at a time.
    pub fn batch(&self, device: Device) -> usize {
        let asked = self.batch.map(|batch| batch as usize);
        asked.unwrap_or_else(|| models::device::batch(device))
    }

    /// Threads that run a model on a device, in a process that has this many cores.
    pub fn threads(&self, device: Device, cores: usize) -> usize {
        let threads = self.threads;
        threads.map_or_else(|| models::device::threads(device, cores), |n| n.max(1))
    }
}

/// The cores of this machine that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
