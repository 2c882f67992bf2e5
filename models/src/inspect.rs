//! What a model directory holds, and whether it computes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use tch::Device;

use crate::checkpoint::read_names;
use crate::config::{Architecture, Branch};
use crate::device::Precision;
use crate::{Directory, Error, init};

/// A model directory, described without running it.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Which network.
    pub architecture: Architecture,
    /// The name in its configuration.
    pub name: String,
    /// SHA-256 of its files, in hex.
    pub id: String,
    /// What feeds its head.
    pub branches: Vec<Branch>,
    /// Numbers that training may set: all but the statistics of batch normalisation.
    pub parameters: usize,
    /// Size of the weights' file.
    pub bytes: usize,
    /// Tensors by the type that they are stored as.
    pub dtypes: BTreeMap<String, usize>,
    /// Where the parameters are.
    pub modules: Vec<Module>,
}

/// A part of the network.
#[derive(Debug, Clone, Serialize)]
pub struct Module {
    /// The first part of its tensors' names; a block of the encoder is a module of its own.
    pub name: String,
    /// Its tensors, statistics included.
    pub tensors: usize,
    /// Its parameters.
    pub parameters: usize,
}

/// Describes the model in `dir`.
///
/// # Errors
/// [`Error::Io`], [`Error::Config`] or [`Error::Corrupt`]; whether the weights fit the configuration
/// is [`check`]'s to say.
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let directory = Directory::read(dir)?;
    let config = directory.config()?;
    let mut dtypes = BTreeMap::new();
    let mut modules: Vec<Module> = Vec::new();
    for (name, view) in read_names(&directory.weights_path, &directory.weights)? {
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
        name: config.name,
        parameters: modules.iter().map(|module| module.parameters).sum(),
        bytes: directory.weights.len(),
        dtypes,
        modules,
    })
}

/// `blocks.0` and `inception_model.vis_inception` are modules; otherwise the first part of a name is.
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

/// What a trial run of a model gave.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The name in its configuration.
    pub name: String,
    /// SHA-256 of its files, in hex.
    pub id: String,
    /// Where it ran.
    pub device: String,
    /// With which numbers.
    pub precision: Precision,
    /// Its photometric redshifts for [`init::inputs`].
    pub z_phot: Vec<f32>,
    /// Whether all of them are finite.
    pub finite: bool,
}

/// Loads the model in `dir` and runs it once, on a batch of four made-up galaxies.
///
/// # Errors
/// As [`load`](crate::load), and those of the forward pass. Predictions that are not finite are no
/// error, but [`Check::finite`] is false.
pub fn check(dir: &Path, device: Device, precision: Precision) -> Result<Check, Error> {
    let model = crate::load(dir, device, precision)?;
    let output = model.forward(&init::inputs(4, model.cutout_px())?)?;
    let z_phot = Vec::<f32>::try_from(&output)?;
    Ok(Check {
        name: model.name().to_owned(),
        id: model.id().to_owned(),
        device: match device {
            Device::Cuda(index) => format!("cuda:{index}"),
            other => format!("{other:?}").to_lowercase(),
        },
        precision,
        finite: z_phot.iter().all(|z| z.is_finite()),
        z_phot,
    })
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.finite { "finite" } else { "NOT FINITE" };
        writeln!(f, "{} ({})", self.name, &self.id[..12])?;
        writeln!(
            f,
            "on {} in {}: predictions are {verdict}",
            self.device, self.precision
        )
    }
}
