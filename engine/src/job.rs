//! A job as it will be run: settings resolved, places opened, the model loaded.
use std::{path::PathBuf, sync::Arc};

use connectors::{
    Catalog, DropBy, Location, Output,
    budget::Budget,
    galaxy::{ColumnNames, KeptTypes, Request, check_kept},
    scheme::scheme,
};
use models::{InstructionSet, Model, Precision};
use operators::{Inference, Reader, Rules, Writer};
use tch::Device;
use tokio::runtime::Handle;

use crate::{
    Error, bundled,
    clock::clock,
    cluster::Cluster,
    settings::{BATCH_MAX, CatalogArgs, RunArgs, check_mags, check_z_spec},
    supervise::Start,
};

pub use connectors::location::StoreOptions;

/// What is read, and where it goes.
pub struct Plan {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// Where the predictions go.
    pub output: Output,
    /// The drops asked for; all where none is named.
    pub drops: Vec<String>,
    /// Take the first rows alone.
    pub limit: Option<u64>,
    /// Take committed drops in again.
    pub again: bool,
    /// Bytes of a split.
    pub split_bytes: u64,
    /// Galaxies that the model takes at a time; splits are whole batches.
    pub batch: usize,
    /// What a row must have.
    pub rules: Rules,
    /// The columns that are kept.
    pub keep: Vec<String>,
    /// Types that kept columns have where a drop does not say them.
    pub kept_types: KeptTypes,
    /// The model's whole id.
    pub model_id: String,
    /// Go on beside another model's predictions.
    pub model_change: bool,
    /// The settings that change results, for the ledger.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// Where a job reads from and writes to.
#[derive(Clone, Debug)]
pub struct Places {
    /// The catalog.
    pub catalog: Location,
    /// The output.
    pub out: Location,
}

impl Places {
    /// The places that settings name; nothing is asked of their stores yet.
    ///
    /// # Errors
    /// [`Error::Usage`] where an URL cannot be understood.
    pub fn open(args: &CatalogArgs, options: &StoreOptions) -> Result<Self, Error> {
        Ok(Self {
            catalog: Location::open(&args.catalog, options)?,
            out: Location::open(&args.out, options)?,
        })
    }
}

/// A job in one process of its cluster.
pub struct Job {
    /// What is read, and where it goes.
    pub plan: Arc<Plan>,
    /// How rows are read.
    pub reader: Reader,
    /// How they are predicted.
    pub inference: Inference,
    /// How predictions are written.
    pub writer: Writer,
    /// The other processes.
    pub cluster: Cluster,
    /// Which start of its command this is, where that may start it again.
    pub start: Option<Start>,
    /// Where the model runs, as `cpu`.
    pub device: String,
    /// Its arithmetic, as `fp32`.
    pub precision: String,
}

impl Plan {
    /// Resolves settings for a model.
    ///
    /// # Errors
    /// [`Error::Usage`] where they contradict each other.
    pub fn new(
        args: &CatalogArgs,
        model: &dyn Model,
        Places { catalog, out }: Places,
    ) -> Result<Self, Error> {
        let usage = |reason: String| Error::Usage(reason);
        if catalog.overlaps(&out) {
            let reason = "one lies in the other, so predictions would be read as galaxies; choose an --out outside the catalog";
            return Err(usage(format!(
                "catalog {} and output {}: {reason}",
                args.catalog, args.out
            )));
        }
        check_mags(args.mag_min, args.mag_max)?;
        check_z_spec(args.z_spec_min, args.z_spec_max)?;
        if args.split_bytes.0 == 0 {
            return Err(usage("--split-bytes is 0; 25MB is a good size".to_owned()));
        }
        let needs = model.needs();
        let names: ColumnNames =
            ColumnNames::parse(&args.column).map_err(|error| usage(error.to_string()))?;
        check_kept(&args.keep).map_err(|error| usage(error.to_string()))?;
        let request = Request {
            names,
            keep: args.keep.clone(),
            needs_cutouts: needs.cutouts,
            needs_mags: needs.mags,
            cutout_px: model.cutout_px(),
        };
        let drop_by = DropBy::from(args.drop_by);
        let rules = Rules {
            needs,
            cutout_px: model.cutout_px(),
            mag_min: args.mag_min,
            mag_max: args.mag_max,
            z_spec_min: args.z_spec_min,
            z_spec_max: args.z_spec_max,
        };
        let settings = settings_of(args, drop_by, &catalog.url);
        Ok(Self {
            catalog: Arc::new(Catalog::new(catalog, drop_by, request)),
            output: Output::new(out),
            drops: args.drop.clone(),
            limit: args.limit,
            again: args.again,
            split_bytes: args.split_bytes.0,
            batch: models::device::batch(Device::Cpu),
            rules,
            keep: args.keep.clone(),
            kept_types: args.kept_types.clone(),
            model_id: model.id().to_owned(),
            model_change: args.model_change,
            settings,
        })
    }
}

/// Refuses a batch that no model can take: a ledger may say one too.
fn check_batch(batch: Option<u32>) -> Result<(), Error> {
    match batch {
        Some(batch) if !(1..=BATCH_MAX).contains(&batch) => Err(Error::Usage(format!(
            "a batch of {batch} galaxies; a model takes 1 to {BATCH_MAX} at a time"
        ))),
        _ => Ok(()),
    }
}

/// The settings of reading that change results, as the ledger keeps them.
fn settings_of(
    args: &CatalogArgs,
    drop_by: DropBy,
    catalog: &str,
) -> serde_json::Map<String, serde_json::Value> {
    let value = serde_json::json!({
        "catalog": catalog,
        "drop_by": drop_by,
        "column": args.column,
        "keep": args.keep,
        "limit": args.limit,
        "split_bytes": args.split_bytes.0,
        "mag_min": args.mag_min,
        "mag_max": args.mag_max,
        "z_spec_min": args.z_spec_min,
        "z_spec_max": args.z_spec_max,
    });
    match value {
        serde_json::Value::Object(map) => map,
        _ => unreachable!("an object was written"),
    }
}

impl Job {
    /// Resolves settings, loads the model and opens the places; nothing is asked of their stores yet.
    ///
    /// # Errors
    /// [`Error::Usage`], or the model's.
    pub fn new(args: &RunArgs, options: &StoreOptions, runtime: &Handle) -> Result<Self, Error> {
        let places = Places::open(&args.catalog, options)?;
        let loaded = LoadedModel::load(args, options, runtime)?;
        let LoadedModel {
            model,
            device,
            precision,
            instructions,
        } = loaded;
        Self::on_device(
            args,
            model,
            places,
            runtime,
            device,
            precision,
            instructions,
        )
    }

    /// A job with a model that is loaded already, for its device and precision.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn with_loaded(
        args: &RunArgs,
        loaded: &LoadedModel,
        options: &StoreOptions,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let places = Places::open(&args.catalog, options)?;
        Self::on_device(
            args,
            loaded.model.replica()?,
            places,
            runtime,
            loaded.device,
            loaded.precision,
            loaded.instructions,
        )
    }

    /// A job with a model of one's own, which runs on the CPU.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn with_model(
        args: &RunArgs,
        model: &dyn Model,
        options: &StoreOptions,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        Self::between(args, model, Places::open(&args.catalog, options)?, runtime)
    }

    /// A job with a model of one's own between places of one's own: in any store that object_store knows.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn between(
        args: &RunArgs,
        model: &dyn Model,
        places: Places,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        let (model, device, precision) = (model.replica()?, Device::Cpu, Precision::Fp32);
        Self::on_device(args, model, places, runtime, device, precision, None)
    }

    fn on_device(
        args: &RunArgs,
        model: Box<dyn Model>,
        places: Places,
        runtime: &Handle,
        device: Device,
        precision: Precision,
        instructions: Option<InstructionSet>,
    ) -> Result<Self, Error> {
        let split_bytes = args.catalog.split_bytes;
        if args.memory.0 / 4 < split_bytes.0 {
            let memory = args.memory;
            return Err(Error::Usage(format!(
                "--memory {memory} is less than four splits of --split-bytes {split_bytes}; raise the one or lower the other"
            )));
        }
        check_batch(args.batch)?;
        let mut plan = Plan::new(&args.catalog, model.as_ref(), places)?;
        let kind = if device.is_cuda() { "cuda" } else { "cpu" };
        plan.batch = args.batch(device);
        plan.settings.insert("batch".to_owned(), plan.batch.into());
        plan.settings.insert("device".to_owned(), kind.into());
        plan.settings
            .insert("precision".to_owned(), precision.to_string().into());
        if let Some(set) = instructions {
            plan.settings
                .insert("instructions".to_owned(), set.to_string().into());
        }
        let cluster = Cluster::new(args)?;
        let workers = cluster.workers();
        let cores = (cores() / cluster.processes_here()).max(1);
        let threads = args.threads(device, cores);
        // A quarter is kept for predictions that wait to be written; the rest is for rows that wait to be predicted.
        let held_bytes = args.memory.0 / 4;
        let reader = Reader {
            catalog: plan.catalog.clone(),
            budget: Budget::new(args.memory.0 - held_bytes),
            runtime: runtime.clone(),
            splits_in_hand: splits_in_hand(device, threads, cores)
                .div_ceil(workers)
                .max(2),
            clock,
        };
        let others = (1..threads).map(|_| model.replica());
        let mut replicas = others.collect::<Result<Vec<_>, _>>()?;
        replicas.push(model);
        let inference = Inference::new(replicas, plan.batch, clock)
            .map_err(|error| Error::Worker(format!("cannot start {threads} threads: {error}")))?;
        let writer = Writer {
            output: plan.output.clone(),
            model_id: plan.model_id.clone(),
            held_bytes: held_bytes / workers as u64,
            budget: reader.budget.clone(),
            runtime: runtime.clone(),
            clock,
        };
        let (device, precision) = (device_name(device), precision.to_string());
        let plan = Arc::new(plan);
        Ok(Self {
            plan,
            reader,
            inference,
            writer,
            cluster,
            start: args.supervised.clone(),
            device,
            precision,
        })
    }
}

/// A model on its device, which several jobs can share.
pub struct LoadedModel {
    model: Box<dyn Model>,
    device: Device,
    precision: Precision,
    /// What it computes with on a CPU.
    instructions: Option<InstructionSet>,
}

impl LoadedModel {
    /// Loads the model that settings name, for their device, precision and instructions.
    ///
    /// # Errors
    /// The model's, or [`Error::Usage`] where there is no such device.
    pub fn load(args: &RunArgs, options: &StoreOptions, runtime: &Handle) -> Result<Self, Error> {
        models::single_threaded();
        let device = args.device.resolve(args.process.unwrap_or(0))?;
        let fastest = match args.instructions {
            Some(set) if !device.is_cuda() => Precision::fastest_with(set),
            _ => Precision::fastest(device),
        };
        let precision = args.precision.or(fastest);
        let set = args.instructions.unwrap_or(precision.instructions());
        let dir = runtime.block_on(model_directory(&args.catalog.model, options))?;
        let model = models::load_with(&dir.path, device, precision, set)?;
        Ok(Self {
            model,
            device,
            precision,
            instructions: (!device.is_cuda()).then_some(set),
        })
    }
}

/// How many splits a process has in hand: what is computed, and what is read meanwhile. Beside a GPU all cores read.
fn splits_in_hand(device: Device, threads: usize, cores: usize) -> usize {
    match device {
        Device::Cpu => threads + 1,
        _ => threads + cores,
    }
}

/// A device as a person names it: `cpu`, `cuda:0`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The cores of this machine that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A model's directory on this machine.
pub struct ModelDirectory {
    /// The directory.
    pub path: PathBuf,
    /// Removes a fetched copy when the model is loaded.
    _fetched: Option<tempfile::TempDir>,
}

/// The directory of a model: itself, or a copy of what lies at a URL.
///
/// # Errors
/// The store's.
pub async fn model_directory(url: &str, options: &StoreOptions) -> Result<ModelDirectory, Error> {
    use object_store::ObjectStoreExt;
    let here = |path| ModelDirectory {
        path,
        _fetched: None,
    };
    if scheme(url)?.is_none() {
        return bundled::resolve(url.into()).map(here);
    }
    let place = Location::open(url, options)?;
    if let Some(folder) = place.folder {
        return Ok(here(folder));
    }
    let copy = tempfile::tempdir();
    let copy = copy.map_err(|source| Error::io("making a folder for the model", source))?;
    for name in [models::CONFIG_FILE, models::WEIGHTS_FILE] {
        let fail = |source| connectors::Error::store(place.url_of(name), source);
        let bytes = place
            .store
            .get(&place.path(name)?)
            .await
            .map_err(fail)?
            .bytes()
            .await
            .map_err(fail)?;
        let file = copy.path().join(name);
        std::fs::write(&file, bytes)
            .map_err(|source| Error::io(file.display().to_string(), source))?;
    }
    Ok(ModelDirectory {
        path: copy.path().to_owned(),
        _fetched: Some(copy),
    })
}
