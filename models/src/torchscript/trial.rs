//! Tries a module when it is loaded: its outputs must fit its configuration, for batches of any size.

use tch::Tensor;

use super::config::{ModuleOutput, TorchScriptConfig};
use super::module::Module;
use crate::error::Error;
use crate::init;
use crate::output::ModelOutput;

/// The sizes of the batches. A module that was traced for one size fails for another.
const BATCHES: [usize; 2] = [3, 1];
/// The difference that a batch may make, in units of the largest value. Kernels for other sizes round differently; a
/// normalisation by the statistics of the batch differs far more.
const DIFFERENCE_MAX: f64 = 1e-3;

/// Runs the module on made-up galaxies, and returns its outputs.
///
/// # Errors
/// [`Error::Module`] if the module does not fit its configuration.
pub(super) fn tried(
    module: &Module,
    config: &TorchScriptConfig,
) -> Result<Vec<ModelOutput>, Error> {
    let run = |batch: usize| {
        let outputs = module.forward(&init::inputs(batch, &module.needs)?);
        outputs.map_err(|error| in_batch(error, batch))
    };
    let [whole, alone] = BATCHES;
    let (first, again, single) = (run(whole)?, run(whole)?, run(alone)?);
    let mut outputs = Vec::new();
    for (n, output) in config.outputs.iter().enumerate() {
        let output = output_of(*output, config, &first[n]);
        for (tensor, batch) in [(&first[n], whole), (&single[n], alone)] {
            check_shape(&output, tensor, batch).map_err(|reason| module.refusal(reason))?;
        }
        let checks = check_ascending(&output, &first[n])
            .and_then(|()| check_repeatable(&output, &first[n], &again[n]))
            .and_then(|()| check_alone(&output, &first[n], &single[n]));
        checks.map_err(|reason| module.refusal(reason))?;
        outputs.push(output);
    }
    Ok(outputs)
}

/// Says in which batch a module failed.
fn in_batch(error: Error, batch: usize) -> Error {
    match error {
        Error::Module { path, reason } => Error::Module {
            path,
            reason: format!("with a batch of {batch}: {reason}"),
        },
        error => error,
    }
}

/// The output of this name. Only the tensor tells the width of an embedding.
fn output_of(output: ModuleOutput, config: &TorchScriptConfig, tensor: &Tensor) -> ModelOutput {
    match output {
        ModuleOutput::ZPhot => ModelOutput::ZPhot,
        ModuleOutput::ZQuantiles => ModelOutput::ZQuantiles {
            levels: config.levels.clone().unwrap_or_default(),
        },
        ModuleOutput::Embedding => ModelOutput::Embedding {
            width: tensor.size().last().copied().unwrap_or(0) as usize,
        },
    }
}

fn check_shape(output: &ModelOutput, tensor: &Tensor, batch: usize) -> Result<(), String> {
    let (found, expected) = (tensor.size(), output.shape(batch));
    let is_column = *output == ModelOutput::ZPhot && found == [batch as i64, 1];
    if (found == expected || is_column) && output.width() > 0 {
        return Ok(());
    }
    let expected = match output {
        ModelOutput::Embedding { .. } => format!("[{batch}, width]"),
        ModelOutput::ZPhot => format!("[{batch}] or [{batch}, 1]"),
        _ => format!("{expected:?}"),
    };
    Err(format!(
        "{} of a batch of {batch}: expected the shape {expected}, found {found:?}",
        output.name()
    ))
}

fn check_ascending(output: &ModelOutput, tensor: &Tensor) -> Result<(), String> {
    let ModelOutput::ZQuantiles { levels } = output else {
        return Ok(());
    };
    let quantiles = values(tensor)?;
    let ascends = |row: &[f32]| row.is_sorted_by(|a, b| a <= b);
    match quantiles.chunks(levels.len()).find(|row| !ascends(row)) {
        None => Ok(()),
        Some(row) => Err(format!(
            "z_quantiles: expected values that ascend with their levels, found {row:?}"
        )),
    }
}

fn check_repeatable(output: &ModelOutput, first: &Tensor, again: &Tensor) -> Result<(), String> {
    let bits = |tensor| Ok::<_, String>(values(tensor)?.into_iter().map(f32::to_bits));
    if bits(first)?.eq(bits(again)?) {
        return Ok(());
    }
    Err(format!(
        "{}: two runs of the same batch differ; export the module in evaluation mode (model.eval()), and without random \
         numbers",
        output.name()
    ))
}

/// Whether the first galaxy of a batch gets the same alone.
fn check_alone(output: &ModelOutput, whole: &Tensor, alone: &Tensor) -> Result<(), String> {
    let width = output.width();
    let (whole, alone) = (values(whole)?, values(alone)?);
    let difference = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
    let scale = alone
        .iter()
        .fold(1.0f64, |scale, x| scale.max(f64::from(x.abs())));
    let differs = whole[..width]
        .iter()
        .zip(&alone)
        .any(|pair| difference(pair) > DIFFERENCE_MAX * scale);
    if !differs {
        return Ok(());
    }
    Err(format!(
        "{}: {} for a galaxy in a batch, but {} alone, so galaxies of a batch are mixed; export the module in evaluation \
         mode (model.eval())",
        output.name(),
        whole[0],
        alone[0]
    ))
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, String> {
    let flat = tensor
        .f_flatten(0, -1)
        .and_then(|flat| Vec::try_from(&flat));
    flat.map_err(|error| error.to_string())
}
