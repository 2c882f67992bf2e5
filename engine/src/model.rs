//! Loads the model of a job onto its device.
use std::path::{Path, PathBuf};

use connectors::{Location, StoreOptions, scheme::scheme};
use models::{InstructionSet, Model, Precision};
use object_store::ObjectStoreExt;
use tch::Device;
use tokio::runtime::Handle;

use crate::{ClusterSettings, Error, settings::JobSettings};

/// A model on its device. Several jobs can share it.
pub struct LoadedModel {
    pub(crate) model: Box<dyn Model>,
    pub(crate) device: Device,
    pub(crate) precision: Precision,
    /// The instructions of the CPU that it uses; `None` on a GPU, and for a model that Hubbleflow did not load.
    pub(crate) instructions: Option<InstructionSet>,
}

impl LoadedModel {
    /// Loads a model directory, at a path or a URL, for the device, precision and instructions of the settings.
    ///
    /// # Errors
    /// The model's or the store's; [`Error::Settings`] if the device or the instructions are not there.
    pub fn load(
        url: &str,
        settings: &JobSettings,
        options: &StoreOptions,
        runtime: &Handle,
    ) -> Result<Self, Error> {
        models::single_threaded();
        let process = settings
            .cluster
            .as_ref()
            .and_then(ClusterSettings::process)
            .unwrap_or(0);
        let device = settings.device.resolve(process)?;
        let fastest = Precision::fastest(device, settings.instructions);
        let dir = runtime.block_on(model_directory(url, options))?;
        let precision = models::precision(&dir.path, settings.precision, fastest)?;
        let set = settings.instructions.unwrap_or(precision.instructions());
        let model = models::load_with(&dir.path, device, precision, set)?;
        Ok(Self {
            model,
            device,
            precision,
            instructions: (!device.is_cuda()).then_some(set),
        })
    }

    /// A model of your own. It runs on the CPU.
    pub fn own(model: Box<dyn Model>) -> Self {
        Self {
            model,
            device: Device::Cpu,
            precision: Precision::Fp32,
            instructions: None,
        }
    }

    /// The same model for another job.
    ///
    /// # Errors
    /// The model's.
    pub fn share(&self) -> Result<Self, Error> {
        Ok(Self {
            model: self.model.replica()?,
            ..*self
        })
    }

    /// The device as people name it: `cpu`, `cuda:0`.
    pub fn device_name(&self) -> String {
        device_name(self.device)
    }
}

/// A device as people name it: `cpu`, `cuda:0`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// A model's directory on this machine.
pub struct ModelDirectory {
    /// The directory.
    pub path: PathBuf,
    /// Removes a fetched copy after the model is loaded.
    _fetched: Option<tempfile::TempDir>,
}

/// Finds the directory of a model: a path itself, or a copy of the files at a URL.
///
/// # Errors
/// The store's.
pub async fn model_directory(url: &str, options: &StoreOptions) -> Result<ModelDirectory, Error> {
    let here = |path| ModelDirectory {
        path,
        _fetched: None,
    };
    if scheme(url)?.is_none() {
        return Ok(here(url.into()));
    }
    let place = Location::open(url, options)?;
    if let Some(folder) = place.folder {
        return Ok(here(folder));
    }
    let copy = tempfile::tempdir();
    let copy = copy.map_err(|source| Error::io("making a folder for the model", source))?;
    fetch(&place, models::CONFIG_FILE, copy.path()).await?;
    let weights = models::architecture_of(copy.path())?.weights_file();
    fetch(&place, weights, copy.path()).await?;
    Ok(ModelDirectory {
        path: copy.path().to_owned(),
        _fetched: Some(copy),
    })
}

/// Copies a file of a model to a folder on this machine.
async fn fetch(place: &Location, name: &str, to: &Path) -> Result<(), Error> {
    let fail = |source| connectors::Error::store(place.url_of(name), source);
    let found = place.store.get(&place.path(name)?).await.map_err(fail)?;
    let bytes = found.bytes().await.map_err(fail)?;
    let file = to.join(name);
    std::fs::write(&file, bytes).map_err(|source| Error::io(file.display().to_string(), source))
}
