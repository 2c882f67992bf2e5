//! A summary of a model directory, without running the model: `hubbleflow model inspect`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::config::{Architecture, AstroClipConfig, Branch, HeadKind};
use crate::directory::Directory;
use crate::error::Error;
use crate::head::HeadConfig;
use crate::needs::Needs;
use crate::tensor_file::read_tensors;
use crate::torchscript::{TorchScript, TorchScriptConfig};

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
    /// The side of its cutouts in pixels; `None` if it uses no cutouts.
    pub cutout_px: Option<usize>,
    /// The extinction of each band for which it corrects cutouts, in magnitudes for an E(B-V) of 1; empty if it takes them
    /// as they are. If not, it needs the column `ebv`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dereddening: Vec<f64>,
    /// The bands of its magnitudes.
    pub mags: Vec<String>,
    /// The form of its redshift; `None` if it has no head of a known form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadKind>,
    /// The branches that feed its head; empty if it is no AstroMAE.
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
    let Described {
        name,
        needs,
        branches,
        head,
    } = described(&directory)?;
    let mut dtypes = BTreeMap::new();
    let mut modules: Vec<Module> = Vec::new();
    for StoredTensor {
        name,
        dtype,
        numbers,
    } in stored(&directory)?
    {
        *dtypes.entry(dtype).or_default() += 1;
        let statistic = ["running_mean", "running_var", "num_batches_tracked"];
        let is_statistic = statistic.iter().any(|suffix| name.ends_with(suffix));
        let parameters = if is_statistic { 0 } else { numbers };
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
    let (bands, cutout_px) = match needs.cutouts {
        Some(cutouts) => (cutouts.bands, Some(cutouts.px)),
        None => (Vec::new(), None),
    };
    Ok(Inspection {
        architecture: directory.architecture()?,
        id: directory.id(),
        branches,
        head,
        dereddening: needs.dereddening,
        mags: needs.mags,
        bands,
        cutout_px,
        name,
        parameters: modules.iter().map(|module| module.parameters).sum(),
        bytes: directory.weights.len(),
        dtypes,
        modules,
    })
}

/// What a configuration says.
struct Described {
    name: String,
    needs: Needs,
    branches: Vec<Branch>,
    head: Option<HeadKind>,
}

fn described(directory: &Directory) -> Result<Described, Error> {
    let of = |name, needs| Described {
        name,
        needs,
        branches: Vec::new(),
        head: None,
    };
    Ok(match directory.architecture()? {
        Architecture::AstroMae | Architecture::Mae => {
            let config = directory.config()?;
            Described {
                branches: config.ordered_branches(),
                head: config.decoder.is_none().then(|| config.head.clone()),
                needs: config.needs(),
                name: config.name,
            }
        }
        Architecture::TorchScript => {
            let config = directory.config_of(TorchScriptConfig::validate)?;
            of(config.name.clone(), config.needs())
        }
        Architecture::Head => {
            let config = directory.config_of(HeadConfig::validate)?;
            Described {
                head: Some(config.head.clone()),
                ..of(config.name.clone(), config.needs())
            }
        }
        Architecture::AstroClip => {
            let config = directory.config_of(AstroClipConfig::validate)?;
            of(config.name.clone(), config.needs())
        }
    })
}

/// A tensor of the weights' file.
struct StoredTensor {
    name: String,
    dtype: String,
    /// The number of its values.
    numbers: usize,
}

fn stored(directory: &Directory) -> Result<Vec<StoredTensor>, Error> {
    if directory.architecture()? == Architecture::TorchScript {
        let parameters = TorchScript::parameters(directory)?.into_iter();
        let stored = parameters.map(|(name, tensor)| StoredTensor {
            name,
            dtype: format!("{:?}", tensor.kind()),
            numbers: tensor.numel(),
        });
        return Ok(stored.collect());
    }
    let tensors = read_tensors(&directory.weights_path, &directory.weights)?;
    let stored = tensors.into_iter().map(|(name, view)| StoredTensor {
        dtype: format!("{:?}", view.dtype()),
        numbers: view.shape().iter().product(),
        name,
    });
    Ok(stored.collect())
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
        let head = self.head.as_ref().map(HeadKind::to_string);
        let cutout = self.cutout_px.map(|px| match self.dereddening.is_empty() {
            true => format!("{px} x {px} pixels"),
            false => format!("{px} x {px} pixels, corrected for dust by the column ebv"),
        });
        let rows = [
            ("name", self.name.clone()),
            ("architecture", self.architecture.to_string()),
            ("id", self.id.clone()),
            ("bands", self.bands.join(", ")),
            ("cutout", cutout.unwrap_or_default()),
            ("magnitudes", self.mags.join(", ")),
            ("branches", branches.join(", ")),
            ("head", head.unwrap_or_default()),
            ("parameters", self.parameters.to_string()),
            ("bytes", self.bytes.to_string()),
            ("tensors", dtypes.join(", ")),
        ];
        for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(f, "{name:<12}  {value}")?;
        }
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
