//! A module on its device: it takes tensors and returns tensors.

use std::path::PathBuf;

use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use super::config::{ModuleOutput, TorchScriptConfig};
use crate::directory::Directory;
use crate::error::Error;
use crate::inputs::{InputName, Inputs};
use crate::needs::Needs;

/// A module and its configuration. Any number of threads can run a module.
#[derive(Debug)]
pub(super) struct Module {
    module: CModule,
    path: PathBuf,
    device: Device,
    inputs: Vec<InputName>,
    outputs: Vec<ModuleOutput>,
    pub(super) needs: Needs,
}

impl Module {
    /// Loads the module of a directory.
    ///
    /// # Errors
    /// [`Error::Module`] if the file is not a module.
    pub(super) fn load(
        directory: &Directory,
        config: &TorchScriptConfig,
        device: Device,
    ) -> Result<Self, Error> {
        Ok(Self {
            module: opened(directory, device)?,
            path: directory.weights_path.clone(),
            device,
            inputs: config.inputs.clone(),
            outputs: config.outputs.clone(),
            needs: config.needs(),
        })
    }

    /// Runs the module. Returns its outputs, float32 on the CPU, in shapes that the module chose.
    ///
    /// # Errors
    /// [`Error::Inputs`] if the batch does not fit the configuration, [`Error::Module`] if the module fails or returns
    /// something else than the outputs in the configuration.
    pub(super) fn forward(&self, inputs: &Inputs) -> Result<Vec<Tensor>, Error> {
        let _guard = tch::no_grad_guard();
        let inputs = inputs.checked(&self.needs)?;
        let arguments = inputs
            .named(&self.inputs)
            .into_iter()
            .map(|tensor| Ok(IValue::Tensor(tensor.f_to_device(self.device)?)));
        let arguments: Vec<IValue> = arguments.collect::<Result<_, TchError>>()?;
        // Otherwise libtorch watches the first calls, then compiles other kernels, whose last bits differ.
        tch::jit::f_set_graph_executor_optimize(false)?;
        let returned = self.module.forward_is(&arguments);
        let returned = returned.map_err(|error| {
            let reason = gist(&error.to_string());
            self.refusal(format!("the module failed: {reason}"))
        })?;
        self.tensors(returned)?.iter().map(on_cpu).collect()
    }

    /// The tensors in what the module returned.
    fn tensors(&self, returned: IValue) -> Result<Vec<Tensor>, Error> {
        let values = match returned {
            IValue::Tuple(values) => values,
            value => vec![value],
        };
        let kinds: Vec<&str> = values.iter().map(kind_of).collect();
        let kinds = kinds.join(", ");
        let tensors = values.into_iter().filter_map(|value| match value {
            IValue::Tensor(tensor) if tensor.defined() => Some(tensor),
            _ => None,
        });
        let tensors: Vec<Tensor> = tensors.collect();
        let expected = self.outputs.len();
        if tensors.len() != expected || kinds.split(", ").count() != expected {
            let names: Vec<&str> = self.outputs.iter().map(|output| output.name()).collect();
            return Err(self.refusal(format!(
                "expected {expected} tensors ({}), found {kinds}",
                names.join(", ")
            )));
        }
        match tensors
            .iter()
            .zip(&self.outputs)
            .find(|(t, _)| t.kind() != Kind::Float)
        {
            None => Ok(tensors),
            Some((tensor, output)) => Err(self.refusal(format!(
                "{}: expected float32, found {:?}",
                output.name(),
                tensor.kind()
            ))),
        }
    }

    /// The error for a module that does not fit its configuration.
    pub(super) fn refusal(&self, reason: String) -> Error {
        Error::Module {
            path: self.path.clone(),
            reason,
        }
    }
}

/// Opens the module of a directory.
pub(super) fn opened(directory: &Directory, device: Device) -> Result<CModule, Error> {
    let mut bytes = directory.weights.as_slice();
    let refuse = |error: TchError| Error::Module {
        path: directory.weights_path.clone(),
        reason: format!(
            "not a module that torch.jit.save has written: {}",
            gist(&error.to_string())
        ),
    };
    let mut module = CModule::load_data_on_device(&mut bytes, device).map_err(refuse)?;
    module.f_set_eval().map_err(refuse)?;
    Ok(module)
}

impl ModuleOutput {
    /// The name in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            ModuleOutput::ZPhot => "z_phot",
            ModuleOutput::ZQuantiles => "z_quantiles",
            ModuleOutput::Embedding => "embedding",
        }
    }
}

/// Copies a tensor, so that nothing that a module keeps is shared with its caller.
fn on_cpu(tensor: &Tensor) -> Result<Tensor, Error> {
    let copy = tensor.f_to_device_(Device::Cpu, Kind::Float, false, true)?;
    Ok(copy.f_contiguous()?)
}

fn kind_of(value: &IValue) -> &'static str {
    match value {
        IValue::Tensor(tensor) if tensor.defined() => "a tensor",
        IValue::None | IValue::Tensor(_) => "nothing",
        IValue::Tuple(_) => "a tuple",
        IValue::TensorList(_) | IValue::GenericList(_) => "a list",
        IValue::GenericDict(_) => "a dict",
        _ => "no tensor",
    }
}

/// The line of libtorch's message that says what was wrong, without the traces before and after it.
fn gist(message: &str) -> String {
    let before_trace = message.split("Exception raised from").next();
    let lines: Vec<&str> = before_trace
        .unwrap_or(message)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let error = lines.iter().rev().find(|line| line.contains("Error: "));
    let line = error.or(lines.last()).copied().unwrap_or(message);
    line.strip_prefix("RuntimeError: ")
        .unwrap_or(line)
        .to_owned()
}
