//! From a model directory to a model.

use std::path::Path;

use tch::Device;

use crate::astroclip::AstroClip;
use crate::astromae::AstroMae;
use crate::config::Architecture;
use crate::directory::{Directory, architecture_of};
use crate::error::Error;
use crate::fast::Backend;
use crate::head::Head;
use crate::instruction_set::InstructionSet;
use crate::model::Model;
use crate::precision::{Precision, PrecisionChoice};
use crate::threads::single_threaded;
use crate::torchscript::TorchScript;

/// Loads the model in `dir` onto `device`. The `architecture` in its configuration says which network it is.
///
/// A second thread helps. In both threads libtorch computes with one thread from then on, as after
/// [`single_threaded`](crate::single_threaded).
///
/// # Errors
/// [`Error::Io`] if a file is missing, [`Error::Config`] if the configuration is not understood, [`Error::Misfit`] or
/// [`Error::Unexpected`] if the weights do not fit the configuration.
///
/// ```
/// use hubbleflow_models::{Config, Precision, init, load};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let model = load(dir.path(), tch::Device::Cpu, Precision::Fp32)?;
/// let z_phot = model.z_phot(&init::inputs(2, model.needs())?)?;
/// assert_eq!(z_phot.size(), [2]);
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Box<dyn Model>, Error> {
    load_with(dir, device, precision, precision.instructions())
}

/// The precision that the model in `dir` computes in: `choice`, or for `auto` the fastest that its architecture has, at
/// most `fastest`.
///
/// # Errors
/// [`Error::Device`] if the architecture does not have the chosen precision; those of [`architecture_of`].
///
/// ```
/// use hubbleflow_models::{Config, Precision, device::PrecisionChoice, init, precision};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let chosen = precision(dir.path(), PrecisionChoice::Auto, Precision::Bf16)?;
/// assert_eq!(chosen, Precision::Bf16);
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn precision(
    dir: &Path,
    choice: PrecisionChoice,
    fastest: Precision,
) -> Result<Precision, Error> {
    let architecture = architecture_of(dir)?;
    let precision = choice.or(fastest);
    if choice == PrecisionChoice::Auto && !architecture.computes_in(precision) {
        return Ok(Precision::Fp32);
    }
    check_precision(architecture, precision)?;
    Ok(precision)
}

fn check_precision(architecture: Architecture, precision: Precision) -> Result<(), Error> {
    if architecture.computes_in(precision) {
        return Ok(());
    }
    Err(Error::Device(format!(
        "a model of architecture {architecture} computes in fp32 alone: use --precision fp32 or auto"
    )))
}

/// Loads the model in `dir`, to predict with one instruction set of the CPU.
///
/// Processors of different kinds predict the same bits if they use the same instruction set. A GPU ignores the
/// instruction set.
///
/// # Errors
/// Those of [`load`], and [`Error::Device`] if this processor does not have the instructions.
///
/// ```
/// use hubbleflow_models::{Config, InstructionSet, Precision, init, load_with};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let model = load_with(dir.path(), tch::Device::Cpu, Precision::Fp32, InstructionSet::Any)?;
/// assert_eq!(model.name(), "astromae-tiny, initialised (not trained)");
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn load_with(
    dir: &Path,
    device: Device,
    precision: Precision,
    instructions: InstructionSet,
) -> Result<Box<dyn Model>, Error> {
    // Threads that wait for each other cost more than they save.
    single_threaded();
    let directory = Directory::read(dir)?;
    let architecture = directory.architecture()?;
    check_precision(architecture, precision)?;
    match architecture {
        Architecture::AstroMae => {
            instructions.check()?;
            let backend = Backend::with_instructions(device, precision.kind(), instructions);
            Ok(Box::new(AstroMae::from_directory(&directory, backend)?))
        }
        Architecture::Mae => Err(Error::Config {
            path: directory.config_path,
            reason: "`architecture` is mae: a pretrained encoder, which predicts nothing yet; \
                     `hubbleflow train finetune --pretrained` makes a model of it"
                .to_owned(),
        }),
        Architecture::Head => {
            instructions.check()?;
            let backend = Backend::with_instructions(device, precision.kind(), instructions);
            Ok(Box::new(Head::from_directory(&directory, backend)?))
        }
        Architecture::AstroClip => {
            instructions.check()?;
            let backend = Backend::with_instructions(device, precision.kind(), instructions);
            Ok(Box::new(AstroClip::from_directory(&directory, backend)?))
        }
        Architecture::TorchScript => Ok(Box::new(TorchScript::from_directory(&directory, device)?)),
    }
}
