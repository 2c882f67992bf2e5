//! A summary of a model directory, without running the model: `hubbleflow model inspect`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::config::{Architecture, Branch};
use crate::directory::Directory;
use crate::error::Error;
use crate::tensor_file::read_tensors;

/// The summary of a model directory.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The network.
    pub architecture: Architecture,
    /// The name in its configuration.
    pub name: String,
    /// SHA-256 of its files, in hex.
    pub id: String,
    /// The bands of its cutouts.
    pub bands: Vec<String>,
    /// The side of its cutouts in pixels.
    pub cutout_px: usize,
    /// The bands of its magnitudes.
    pub mags: Vec<String>,
    /// The branches that feed its head.
    pub branches: Vec<Branch>,
    /// The number of parameters: all numbers except the statistics of batch normalisations.
    pub parameters: usize,
    /// The size of the weights' file in bytes.
    pub bytes: usize,
    /// The number of tensors, by the type that they are stored as.
    pub dtypes: BTreeMap<String, usize>,
    /// The parts of the network.
    pub modules: Vec<Module>,
}

/// A part of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Module {
    /// The prefix of its tensors' names. Each block of the encoder is a module.
    pub name: String,
    /// The number of its tensors, statistics included.
    pub tensors: usize,
    /// The number of its parameters.
    pub parameters: usize,
}

/// Summarises the model in `dir`. It does not check that the weights fit the configuration; [`check`](crate::check()) does.
///
/// # Errors
/// [`Error::Io`] if a file cannot be read, [`Error::Config`] if the configuration is not understood, [`Error::Corrupt`] if
/// the weights are damaged.
///
/// ```
/// use hubbleflow_models::{Config, init, inspect};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let summary = inspect(dir.path())?;
/// assert_eq!(summary.modules[0].name, "blocks.0");
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let directory = Directory::read(dir)?;
    let config = directory.config()?;
    let mut dtypes = BTreeMap::new();
    let mut modules: Vec<Module> = Vec::new();
    for (name, view) in read_tensors(&directory.weights_path, &directory.weights)? {
        *dtypes.entry(format!("{:?}", view.dtype())).or_default() += 1;
        let statistic = ["running_mean", "running_var", "num_batches_tracked"];
        let is_statistic = statistic.iter().any(|suffix| name.ends_with(suffix));
        let parameters = if is_statistic {
            0
        } else {
            view.shape().iter().product()
        };
        let module = module_of(&name);
        match modules.iter_mut().find(|known| known.name == module) {
            Some(known) => {
                known.tensors += 1;
                known.parameters += parameters;
            }
            None => modules.push(Module {
                name: module,
                tensors: 1,
                parameters,
            }),
        }
    }
    Ok(Inspection {
        architecture: config.architecture,
        id: directory.id(),
        branches: config.ordered_branches(),
        mags: config.mags().to_vec(),
        bands: config.bands,
        cutout_px: config.cutout_px,
        name: config.name,
        parameters: modules.iter().map(|module| module.parameters).sum(),
        bytes: directory.weights.len(),
        dtypes,
        modules,
    })
}

/// The module of a tensor: the first two parts of the name for `blocks.0` and `inception_model.vis_inception`, else the first.
fn module_of(name: &str) -> String {
    let parts = match name.split('.').next() {
        Some("blocks" | "inception_model") => 2,
        _ => 1,
    };
    name.split('.').take(parts).collect::<Vec<_>>().join(".")
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branches: Vec<String> = self
            .branches
            .iter()
            .map(|branch| format!("{branch:?}").to_lowercase())
            .collect();
        let dtypes: Vec<String> = self
            .dtypes
            .iter()
            .map(|(dtype, tensors)| format!("{tensors} {dtype}"))
            .collect();
        writeln!(f, "name          {}", self.name)?;
        writeln!(
            f,
            "architecture  {}",
            format!("{:?}", self.architecture).to_lowercase()
        )?;
        writeln!(f, "id            {}", self.id)?;
        writeln!(f, "bands         {}", self.bands.join(", "))?;
        writeln!(f, "cutout        {0} x {0} pixels", self.cutout_px)?;
        writeln!(f, "magnitudes    {}", self.mags.join(", "))?;
        writeln!(f, "branches      {}", branches.join(", "))?;
        writeln!(f, "parameters    {}", self.parameters)?;
        writeln!(f, "bytes         {}", self.bytes)?;
        writeln!(f, "tensors       {}", dtypes.join(", "))?;
        writeln!(
            f,
            "\n{:<34} {:>7} {:>11}",
            "module", "tensors", "parameters"
        )?;
        for Module {
            name,
            tensors,
            parameters,
        } in &self.modules
        {
            writeln!(f, "{name:<34} {tensors:>7} {parameters:>11}")?;
        }
        Ok(())
    }
}
