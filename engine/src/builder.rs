//! Puts a job together.
use std::{sync::Arc, time::Duration};

use connectors::{Location, StoreOptions};
use models::Model;
use tokio::runtime::{Handle, Runtime};

use crate::{
    Error, Job, Observer, SettingsError,
    clock::clock,
    cluster::{ClusterSettings, Meeting, Rendezvous},
    job::{JobParts, JobRuntime},
    model::LoadedModel,
    plan::Places,
    settings::JobSettings,
    start::Start,
    stop::{Stop, Stopper},
};

/// Where a job's model comes from.
enum ModelSource {
    Missing,
    Directory(String),
    Loaded(LoadedModel),
}

/// What a job will be. What is not given has the default of the command line; a model must be given.
pub struct JobBuilder {
    catalog: String,
    out: String,
    places: Option<Places>,
    model: ModelSource,
    settings: JobSettings,
    store: Vec<(String, String)>,
    observer: Arc<dyn Observer>,
    stop: Option<Stop>,
    runtime: Option<Handle>,
    start: Option<Start>,
    began: Duration,
}

impl Job {
    /// Begins a job between two places, each a URL or a path.
    ///
    /// ```no_run
    /// use hubbleflow::Job;
    ///
    /// let job = Job::builder("s3://survey/catalog", "s3://survey/photoz").model("astromae").build()?;
    /// let summary = job.run()?;
    /// println!("{} galaxies, {:.0} a second", summary.rows_written, summary.galaxies_per_second);
    /// # Ok::<(), hubbleflow::Error>(())
    /// ```
    pub fn builder(catalog: &str, out: &str) -> JobBuilder {
        JobBuilder::new(catalog, out)
    }
}

impl JobBuilder {
    fn new(catalog: &str, out: &str) -> Self {
        Self {
            catalog: catalog.to_owned(),
            out: out.to_owned(),
            places: None,
            model: ModelSource::Missing,
            settings: JobSettings::default(),
            store: Vec::new(),
            observer: Arc::new(()),
            stop: None,
            runtime: None,
            start: None,
            began: clock(),
        }
    }

    /// The model: a directory with `config.json` and its weights, as a path or a URL.
    pub fn model(mut self, directory: &str) -> Self {
        self.model = ModelSource::Directory(directory.to_owned());
        self
    }

    /// A model of your own, which runs on the CPU.
    pub fn own_model(mut self, model: impl Model + 'static) -> Self {
        self.model = ModelSource::Loaded(LoadedModel::own(Box::new(model)));
        self
    }

    /// A model that is loaded already.
    pub fn loaded_model(mut self, model: LoadedModel) -> Self {
        self.model = ModelSource::Loaded(model);
        self
    }

    /// Options of the stores, by the names of their environment variables in lower case, as `aws_region`.
    pub fn store(mut self, options: &StoreOptions) -> Self {
        self.store = options.to_vec();
        self
    }

    /// The catalog and the output in any stores that object_store knows, instead of those that the URLs name.
    pub fn places(mut self, places: Places) -> Self {
        self.places = Some(places);
        self
    }

    /// All settings that have no method here, as fields.
    pub fn settings(mut self, settings: JobSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Upper bound on what the process has in flight.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.settings.memory_bytes = bytes;
        self
    }

    /// The cluster that this process belongs to.
    pub fn cluster(mut self, cluster: ClusterSettings) -> Self {
        self.settings.cluster = Some(cluster);
        self
    }

    /// Receives what happens in the run.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Ends the run early when `stop` says so: drops in flight that cannot be committed within seconds are left for the next
    /// run, which goes on with their finished results.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Waits for stores on this runtime, instead of one of the job's own.
    pub fn runtime(mut self, runtime: &Handle) -> Self {
        self.runtime = Some(runtime.clone());
        self
    }

    /// One of several starts of the same command: its summary counts what the earlier starts committed.
    pub fn start(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// Checks the settings, opens the places and loads the model. No request is sent to the catalog or the output yet.
    ///
    /// # Errors
    /// [`Error::Settings`] for settings that contradict each other; the model's; the store's where the model is at a URL.
    pub fn build(self) -> Result<Job, Error> {
        let runtime = match self.runtime {
            Some(handle) => JobRuntime::Callers(handle),
            None => JobRuntime::Own(
                Runtime::new().map_err(|source| Error::io("starting the runtime", source))?,
            ),
        };
        let places = match self.places {
            Some(places) => places,
            None => Places::open(&self.catalog, &self.out, &self.store)?,
        };
        let rendezvous = match &self.settings.cluster {
            Some(cluster) => rendezvous(cluster, &places, &self.store)?,
            None => None,
        };
        let model = match self.model {
            ModelSource::Loaded(model) => model,
            ModelSource::Directory(url) => {
                LoadedModel::load(&url, &self.settings, &self.store, runtime.handle())?
            }
            ModelSource::Missing => {
                return Err(SettingsError::NoModel.into());
            }
        };
        Job::new(JobParts {
            settings: self.settings,
            model,
            places,
            rendezvous,
            start: self.start,
            began: self.began,
            observer: self.observer,
            stop: self.stop.unwrap_or_else(|| Stopper::new().1),
            runtime,
        })
    }
}

/// Opens the place where the processes meet; `None` if they know each other's addresses. No request is sent yet.
///
/// # Errors
/// [`Error`] for a URL that cannot be understood, or that lies in the catalog, where a folder is a drop.
fn rendezvous(
    cluster: &ClusterSettings,
    places: &Places,
    options: &StoreOptions,
) -> Result<Option<Rendezvous>, Error> {
    let Meeting::Rendezvous { url, .. } = &cluster.meeting else {
        return Ok(None);
    };
    let Some(url) = url else {
        return Ok(Some(Rendezvous::below(places.out.clone())));
    };
    let location = Location::open(url, options)?;
    if location.overlaps(&places.catalog) {
        let url = location.url;
        return Err(SettingsError::RendezvousInCatalog { url }.into());
    }
    Ok(Some(Rendezvous::at(location)))
}
