//! A job that is ready to run: settings resolved, places opened, the model loaded.
use std::{sync::Arc, time::Duration};

use operators::Shutdown;
use serde_json::{Map, Value};
use tokio::runtime::{Handle, Runtime};

use crate::{
    ClusterError, Error, Observer,
    cluster::{ClusterSettings, Joined, Joining, Rendezvous},
    model::LoadedModel,
    plan::{Places, Plan},
    settings::JobSettings,
    start::Start,
    stations::Stations,
    stop::Stop,
};

/// A job in one process of its cluster.
pub struct Job {
    /// What is read, and where it goes.
    pub(crate) plan: Arc<Plan>,
    settings: JobSettings,
    model: LoadedModel,
    /// Where the processes meet, if they meet through a store.
    rendezvous: Option<Rendezvous>,
    /// Asks the run to end early.
    pub(crate) stop: Stop,
    /// This start of the command, if the command may be started again.
    pub(crate) start: Option<Start>,
    /// Where the model runs, as `cpu`.
    pub(crate) device: String,
    /// The model's arithmetic, as `fp32`.
    pub(crate) precision: String,
    /// When the job was begun, by [`clock`](crate::clock::clock).
    pub(crate) began: Duration,
    /// Receives what happens.
    pub(crate) observer: Arc<dyn Observer>,
    /// Runs what waits for stores.
    pub(crate) runtime: Arc<JobRuntime>,
}

/// The tokio runtime of a job: the caller's, or one that ends with the job.
pub(crate) enum JobRuntime {
    Callers(Handle),
    Own(Runtime),
}

impl JobRuntime {
    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Callers(handle) => handle,
            Self::Own(runtime) => runtime.handle(),
        }
    }
}

/// What a job is made of.
pub(crate) struct JobParts {
    pub settings: JobSettings,
    pub model: LoadedModel,
    pub places: Places,
    pub rendezvous: Option<Rendezvous>,
    pub start: Option<Start>,
    pub began: Duration,
    pub observer: Arc<dyn Observer>,
    pub stop: Stop,
    pub runtime: JobRuntime,
}

impl Job {
    pub(crate) fn new(parts: JobParts) -> Result<Self, Error> {
        let JobParts {
            settings,
            model,
            places,
            rendezvous,
            start,
            began,
            observer,
            stop,
            runtime,
        } = parts;
        settings.check()?;
        Ok(Self {
            plan: Arc::new(plan(&settings, &model, places)?),
            device: model.device_name(),
            precision: model.precision.to_string(),
            settings,
            model,
            rendezvous,
            stop,
            start,
            began,
            observer,
            runtime: Arc::new(runtime),
        })
    }

    /// Waits for the other processes of the cluster, and makes ready to work with them. A run for which
    /// nothing is left to do does not wait: the others may have done it and be gone.
    ///
    /// # Errors
    /// [`Error::Cluster`] if they do not come together; the model's and the system's, for threads.
    pub(crate) fn join(self, watches: bool) -> Result<(Stations, Joined), Error> {
        let (shutdown, handle) = (Shutdown::default(), self.runtime.handle().clone());
        let cluster = self.settings.cluster.as_ref();
        let joining = Joining {
            settings: cluster,
            workers: self.settings.workers as usize,
            agreement: self.agreement(),
            rendezvous: self.rendezvous,
            start: self.start,
            shutdown: shutdown.clone(),
            observer: self.observer,
        };
        let plan = &self.plan;
        let meets = cluster.is_some_and(|cluster| cluster.process().is_none());
        let is_done = async || Ok::<_, Error>(!watches && meets && plan.is_done().await?);
        let joined = handle.block_on(async {
            if is_done().await? {
                return joining.alone();
            }
            match joining.join(self.stop).await {
                Err(Error::Cluster(ClusterError::NotGathered { .. })) if is_done().await? => {
                    joining.alone()
                }
                joined => joined,
            }
        })?;
        let process = (shutdown, joined.cluster.clone());
        let stations = Stations::new(&self.settings, self.model, &self.plan, process, &handle)?;
        Ok((stations, joined))
    }

    /// What must be the same in all processes of a cluster.
    fn agreement(&self) -> Map<String, Value> {
        let plan = &self.plan;
        let mut agreement = plan.settings.clone();
        for (key, value) in [
            ("engine", env!("CARGO_PKG_VERSION")),
            ("model", plan.model_id.as_str()),
            ("output", plan.output.location().url.as_str()),
        ] {
            agreement.insert(key.to_owned(), value.into());
        }
        agreement.insert("drop".to_owned(), plan.drops.clone().into());
        agreement.insert("again".to_owned(), plan.again.into());
        agreement.insert("model_change".to_owned(), plan.model_change.into());
        agreement.insert("workers".to_owned(), self.settings.workers.into());
        let cluster = self.settings.cluster.as_ref();
        let processes = cluster.map_or("1".to_owned(), ClusterSettings::sizes);
        agreement.insert("processes".to_owned(), processes.into());
        agreement
    }
}

/// The plan, with the settings of the model in what the ledger keeps.
fn plan(settings: &JobSettings, model: &LoadedModel, places: Places) -> Result<Plan, Error> {
    let mut plan = Plan::new(&settings.plan, model.model.as_ref(), places)?;
    let kind = if model.device.is_cuda() {
        "cuda"
    } else {
        "cpu"
    };
    plan.batch = settings.batch(model.device);
    let mut keep = |name: &str, value: Value| plan.settings.insert(name.to_owned(), value);
    keep("batch", plan.batch.into());
    keep("device", kind.into());
    keep("precision", model.precision.to_string().into());
    if let Some(set) = model.instructions {
        keep("instructions", set.to_string().into());
    }
    Ok(plan)
}
