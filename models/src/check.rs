//! A trial run of a model directory: `hubbleflow model check`.

use std::fmt;
use std::path::Path;

use serde::Serialize;
use tch::Device;

use crate::error::Error;
use crate::init;
use crate::load::load;
use crate::output::ModelOutput;
use crate::precision::Precision;

/// The result of a trial run.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The name in the model's configuration.
    pub name: String,
    /// SHA-256 of the model's files, in hex.
    pub id: String,
    /// The device that it ran on.
    pub device: String,
    /// The precision that it ran in.
    pub precision: Precision,
    /// The outputs of the model.
    pub outputs: Vec<String>,
    /// The photometric redshifts of the galaxies of [`init::inputs`]. Empty for a model that gives no redshifts.
    pub z_phot: Vec<f32>,
    /// Whether all outputs are finite.
    pub finite: bool,
}

/// Loads the model in `dir` and runs it once, on a batch of four made-up galaxies.
///
/// Predictions that are not finite are not an error; [`Check::finite`] is then false.
///
/// # Errors
/// Those of [`load`] and of [`Model::forward`](crate::Model::forward).
///
/// ```
/// use hubbleflow_models::{Config, Precision, check, init};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let checked = check(dir.path(), tch::Device::Cpu, Precision::Fp32)?;
/// assert!(checked.finite);
/// assert_eq!(checked.outputs, ["z_phot", "embedding (192 values)"]);
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn check(dir: &Path, device: Device, precision: Precision) -> Result<Check, Error> {
    let model = load(dir, device, precision)?;
    let outputs = model.outputs();
    let predicted = model.forward(&init::inputs(4, model.needs())?, outputs)?;
    let (mut z_phot, mut finite) = (Vec::new(), true);
    for (output, values) in outputs.iter().zip(&predicted) {
        let values = Vec::<f32>::try_from(values.f_flatten(0, -1)?)?;
        finite &= values.iter().all(|value| value.is_finite());
        if *output == ModelOutput::ZPhot {
            z_phot = values;
        }
    }
    Ok(Check {
        name: model.name().to_owned(),
        id: model.id().to_owned(),
        device: match device {
            Device::Cuda(index) => format!("cuda:{index}"),
            other => format!("{other:?}").to_lowercase(),
        },
        precision,
        outputs: outputs.iter().map(ModelOutput::to_string).collect(),
        z_phot,
        finite,
    })
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.finite { "finite" } else { "NOT FINITE" };
        writeln!(f, "{} ({})", self.name, &self.id[..12])?;
        writeln!(f, "gives {}", self.outputs.join(", "))?;
        writeln!(
            f,
            "on {} in {}: predictions are {verdict}",
            self.device, self.precision
        )
    }
}
