//! Any network that PyTorch has traced or scripted: a model directory of `config.json` and `model.pt`.
//!
//! | file | purpose |
//! |---|---|
//! | `config.rs` | the configuration, checked |
//! | `module.rs` | the module: tensors in, tensors out |
//! | `trial.rs` | whether the module fits its configuration |
//!
//! The module computes in the numbers that it was saved in. It must return float32.

mod config;
mod module;
mod trial;

use std::sync::Arc;

use tch::{Device, Tensor};

pub use self::config::{ModuleOutput, TorchScriptConfig};
use self::module::Module;
use crate::directory::Directory;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::model::Model;
use crate::needs::Needs;
use crate::output::{ModelOutput, check_wanted, of_no_galaxies};

/// A module of PyTorch on a device. Replicas share it.
#[derive(Debug)]
pub struct TorchScript {
    id: String,
    name: String,
    /// In the order in which the module returns them.
    outputs: Vec<ModelOutput>,
    module: Arc<Module>,
}

impl TorchScript {
    /// Loads the module of a directory onto `device`, and tries it.
    pub(crate) fn from_directory(directory: &Directory, device: Device) -> Result<Self, Error> {
        let config = directory.config_of(TorchScriptConfig::validate)?;
        let module = Module::load(directory, &config, device)?;
        let outputs = trial::tried(&module, &config)?;
        Ok(Self {
            id: directory.id(),
            name: config.name,
            outputs,
            module: Arc::new(module),
        })
    }

    /// An output of a batch, in its shape: a redshift may come as a column.
    fn shaped(&self, output: &ModelOutput, tensor: &Tensor, batch: usize) -> Result<Tensor, Error> {
        let shape = output.shape(batch);
        if tensor.numel() as i64 == shape.iter().product::<i64>() {
            return Ok(tensor.f_reshape(&shape[..])?);
        }
        Err(self.module.refusal(format!(
            "{} of a batch of {batch}: expected the shape {shape:?}, found {:?}",
            output.name(),
            tensor.size()
        )))
    }

    /// The parameters of a module by name, without running it.
    pub(crate) fn parameters(directory: &Directory) -> Result<Vec<(String, Tensor)>, Error> {
        Ok(module::opened(directory, Device::Cpu)?.named_parameters()?)
    }
}

impl Model for TorchScript {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn needs(&self) -> &Needs {
        &self.module.needs
    }

    fn outputs(&self) -> &[ModelOutput] {
        &self.outputs
    }

    fn forward(&self, inputs: &Inputs, wanted: &[ModelOutput]) -> Result<Vec<Tensor>, Error> {
        check_wanted(wanted, &self.outputs)?;
        let batch = inputs.batch();
        if batch == 0 {
            return Ok(of_no_galaxies(wanted)?);
        }
        let returned = self.module.forward(inputs)?;
        let one = |output: &ModelOutput| {
            let place = self.outputs.iter().position(|given| given == output);
            let tensor = &returned[place.expect("invariant: wanted outputs are given")];
            self.shaped(output, tensor, batch)
        };
        wanted.iter().map(one).collect()
    }

    fn replica(&self) -> Result<Box<dyn Model>, Error> {
        Ok(Box::new(Self {
            id: self.id.clone(),
            name: self.name.clone(),
            outputs: self.outputs.clone(),
            module: Arc::clone(&self.module),
        }))
    }
}
