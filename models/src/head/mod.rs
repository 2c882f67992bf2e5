//! A dense network on embeddings and magnitudes: the last, small part of a predictor, which predicts a whole survey again
//! without its cutouts.
//!
//! | part | shapes |
//! |---|---|
//! | inputs | `[batch, width]` and `[batch, band]`, side by side in the order of the configuration |
//! | `layers.N` | linear, with a ReLU after all but the last |
//! | z_phot | `[batch]`: the output, or the middle one of a quantile head |
//! | z_quantiles | `[batch, level]`, of a quantile head |

mod config;

use tch::{Device, Kind, Tensor};

pub use self::config::HeadConfig;
use crate::checkpoint::Checkpoint;
use crate::directory::Directory;
use crate::error::Error;
use crate::fast::{Backend, FoldedDense};
use crate::inputs::Inputs;
use crate::model::Model;
use crate::needs::Needs;
use crate::output::{ModelOutput, check_wanted, of_no_galaxies};

/// A dense network with its weights on a device.
#[derive(Debug)]
pub struct Head {
    id: String,
    config: HeadConfig,
    needs: Needs,
    outputs: Vec<ModelOutput>,
    layers: FoldedDense,
}

impl Head {
    /// Builds the network of a model directory on a backend.
    pub(crate) fn from_directory(directory: &Directory, backend: Backend) -> Result<Self, Error> {
        let (config, weights) = stored_head(directory)?;
        let depth = config.hidden.len() + 1;
        Ok(Self {
            id: directory.id(),
            needs: config.needs(),
            outputs: config.head.outputs(),
            layers: FoldedDense::new(&weights, depth, backend)?,
            config,
        })
    }
}

/// The configuration and the weights of a head in a model directory.
pub(crate) fn stored_head(directory: &Directory) -> Result<(HeadConfig, Checkpoint), Error> {
    let config: HeadConfig = directory.config_of(HeadConfig::validate)?;
    let (path, weights) = (&directory.weights_path, &directory.weights);
    let weights = Checkpoint::of_layout(path, weights, config.layout(), |_| false)?;
    Ok((config, weights))
}

impl Model for Head {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.config.name
    }

    fn needs(&self) -> &Needs {
        &self.needs
    }

    fn outputs(&self) -> &[ModelOutput] {
        &self.outputs
    }

    fn forward(&self, inputs: &Inputs, wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
        check_wanted(wanted, self.outputs())?;
        if inputs.batch() == 0 {
            return Ok(of_no_galaxies(wanted)?);
        }
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(&self.needs)?;
        let x = self.config.first_layer(&inputs)?;
        let outputs = self.layers.outputs(&x, wanted)?;
        let on_host = |output: &Tensor| output.f_to_device_(Device::Cpu, Kind::Float, false, false);
        Ok(outputs.iter().map(on_host).collect::<Result<_, _>>()?)
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self {
            id: self.id.clone(),
            config: self.config.clone(),
            needs: self.needs.clone(),
            outputs: self.outputs.clone(),
            layers: self.layers.clone(),
        }))
    }
}
