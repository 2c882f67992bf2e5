//! The networks: cutouts and magnitudes in, photometric redshifts out.
//!
//! | | shape | |
//! |---|---|---|
//! | cutouts | `[batch, 5, px, px]` | float32, bands ugriz, nanomaggies |
//! | mags | `[batch, 5]` | float32, bands ugriz, AB, extinction-corrected |
//! | z_phot | `[batch]` | float32 |
//!
//! A model is a directory of two files, `config.json` ([`Config`]) and `model.safetensors`
//! ([`layout`]), which [`load`] turns into a [`Model`]; anyone's own [`Model`] does as well.
//!
//! **Architecture invariant.** This crate knows tensors and files: no Arrow, no environment, no clock.

pub mod adopt;
pub mod astromae;
pub mod checkpoint;
pub mod config;
mod cpp;
mod cuda;
pub mod device;
mod encoder;
mod error;
mod fast;
mod inception;
pub mod init;
mod inspect;
mod layers;
pub mod layout;
mod network;
pub mod preprocess;
pub mod train;

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use fast::Backend;

pub use astromae::{AstroMae, Taps};
pub use checkpoint::Checkpoint;
pub use config::{Architecture, Branch, Config};
pub use device::{InstructionSet, Precision, single_threaded};
pub use error::{Error, Found};
pub use inspect::{Check, Inspection, Module, check, inspect};

/// The configuration's file in a model directory.
pub const CONFIG_FILE: &str = "config.json";
/// The weights' file in a model directory.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// A batch at the model's door.
#[derive(Debug)]
pub struct Inputs {
    /// `[batch, 5, px, px]` float32 on the CPU: bands ugriz, nanomaggies.
    pub cutouts: Option<Tensor>,
    /// `[batch, 5]` float32 on the CPU: bands ugriz, AB magnitudes.
    pub mags: Option<Tensor>,
}

/// Which inputs a model looks at; the others may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Whether it looks at cutouts.
    pub cutouts: bool,
    /// Whether it looks at magnitudes.
    pub mags: bool,
}

/// Something that predicts redshifts.
///
/// A model of one's own is a few lines; here one that reads the redshift off the r magnitude:
///
/// ```
/// use models::{Error, Inputs, Model, Needs};
/// use tch::Tensor;
///
/// struct Hubble1929;
///
/// impl Model for Hubble1929 {
///     fn id(&self) -> &str { "hubble-1929" }
///     fn name(&self) -> &str { "fainter is farther" }
///     fn cutout_px(&self) -> usize { 32 }
///     fn needs(&self) -> Needs { Needs { cutouts: false, mags: true } }
///     fn forward(&self, inputs: &Inputs) -> Result<Tensor, Error> {
///         let Some(mags) = &inputs.mags else {
///             return Err(Error::Inputs("no magnitudes".to_owned()));
///         };
///         let mag_r = mags.f_select(1, 2)?;
///         Ok(((mag_r - 17.77) * 0.2 * std::f64::consts::LN_10).f_exp()? * 0.1)
///     }
///     fn replica(&self) -> Result<Box<dyn Model>, Error> { Ok(Box::new(Hubble1929)) }
/// }
///
/// let mags = Tensor::from_slice(&[19.0f32, 18.2, 17.77, 17.5, 17.3]).reshape([1, 5]);
/// let z_phot = Hubble1929.forward(&Inputs { cutouts: None, mags: Some(mags) })?;
/// assert!((z_phot.double_value(&[0]) - 0.1).abs() < 1e-6);
/// # Ok::<(), Error>(())
/// ```
pub trait Model: Send {
    /// Tells this model from every other: predictions are filed under it.
    ///
    /// For a model directory the SHA-256 of `config.json`'s bytes followed by `model.safetensors`'s,
    /// in hex; for a model of one's own, any string that changes when its predictions do.
    fn id(&self) -> &str;

    /// A name for people.
    fn name(&self) -> &str;

    /// Side of the cutouts that it looks at; it takes larger ones and crops them about their centre.
    fn cutout_px(&self) -> usize;

    /// Which inputs it looks at.
    fn needs(&self) -> Needs;

    /// Memory for an input, `shape` of float32 on the CPU, whose values are yet to be written: where the model's device
    /// reads it fastest.
    ///
    /// # Errors
    /// [`Error::Torch`] where there is none.
    fn host_tensor(&self, shape: &[i64]) -> Result<Tensor, Error> {
        host_tensor(shape)
    }

    /// Predicts: `[batch]` float32 on the CPU. The same batch gives the same bits, whatever ran before.
    ///
    /// # Errors
    /// [`Error::Inputs`] where the batch does not fit, [`Error::Torch`] where libtorch cannot compute.
    fn forward(&self, inputs: &Inputs) -> Result<Tensor, Error>;

    /// Another handle on this model, for another thread. Weights are shared, not copied.
    ///
    /// # Errors
    /// [`Error::Torch`] where its device has no room for what each thread needs.
    fn replica(&self) -> Result<Box<dyn Model>, Error>;
}

/// [`Model::host_tensor`] of a model on the CPU.
///
/// # Errors
/// [`Error::Torch`] where there is no memory.
pub fn host_tensor(shape: &[i64]) -> Result<Tensor, Error> {
    Ok(Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?)
}

/// Loads the model in `dir` onto `device`; `architecture` in its configuration says which network.
///
/// A second thread helps, and leaves libtorch computing with one thread in each, as [`single_threaded`] does.
///
/// # Errors
/// [`Error::Io`] and [`Error::Config`] where a file is missing or not understood; where the weights
/// do not fit the configuration, [`Error::Misfit`] or [`Error::Unexpected`] names the tensor.
pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Box<dyn Model>, Error> {
    load_with(dir, device, precision, precision.instructions())
}

/// The same with an instruction set of the CPU: predictions of processors that differ are the same to the bit where they are
/// made with the same instruction set. A GPU ignores the instruction set.
///
/// # Errors
/// As [`load`], and [`Error::Device`] where this processor has no such instructions.
pub fn load_with(
    dir: &Path,
    device: Device,
    precision: Precision,
    instructions: InstructionSet,
) -> Result<Box<dyn Model>, Error> {
    let directory = Directory::read(dir)?;
    match directory.architecture()? {
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
    }
}

impl AstroMae {
    /// Loads the AstroMAE in `dir`, for whoever wants its [`taps`](AstroMae::taps).
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self, Error> {
        let backend = Backend::new(device, precision.kind());
        Self::from_directory(&Directory::read(dir)?, backend)
    }

    fn from_directory(directory: &Directory, backend: Backend) -> Result<Self, Error> {
        let config = directory.config()?;
        let checkpoint = Checkpoint::parse(&directory.weights_path, &directory.weights, &config)?;
        Self::on(&directory.id(), &config, checkpoint, backend)
    }
}

/// The bytes of a model directory.
struct Directory {
    config_path: PathBuf,
    config: Vec<u8>,
    weights_path: PathBuf,
    weights: Vec<u8>,
}

impl Directory {
    fn read(dir: &Path) -> Result<Self, Error> {
        let (config_path, weights_path) = (dir.join(CONFIG_FILE), dir.join(WEIGHTS_FILE));
        let read = |path: &Path| {
            read_file(path).map_err(|source| Error::Io {
                path: path.to_owned(),
                what: "cannot read it; a model is a directory of config.json and model.safetensors",
                source,
            })
        };
        let (config, weights) = (read(&config_path)?, read(&weights_path)?);
        Ok(Self {
            config_path,
            config,
            weights_path,
            weights,
        })
    }

    /// Writes a model directory, where there is none or this very one.
    fn write(dir: &Path, config: &Config, weights: &[u8]) -> Result<(), Error> {
        let path = dir.join(CONFIG_FILE);
        let mut json = serde_json::to_vec_pretty(config).map_err(|e| Error::Config {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        json.push(b'\n');
        fs::create_dir_all(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            what: "cannot make the model's directory",
            source,
        })?;
        write_new(&path, &json)?;
        write_new(&dir.join(WEIGHTS_FILE), weights)
    }

    fn architecture(&self) -> Result<Architecture, Error> {
        let header: config::Header =
            serde_json::from_slice(&self.config).map_err(|e| Error::Config {
                path: self.config_path.clone(),
                reason: e.to_string(),
            })?;
        Ok(header.architecture)
    }

    fn config(&self) -> Result<Config, Error> {
        Config::parse(&self.config_path, &self.config)
    }

    fn id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(&self.config)
            .chain_update(&self.weights)
            .finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads a regular file; a device may have no end.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        let reason = "it is no regular file";
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            reason,
        ));
    }
    fs::read(path)
}

/// Writes a file that is not there yet; one with these very bytes is left alone.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    match fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => Err(Error::Exists {
            path: path.to_owned(),
        }),
        Err(_) => fs::write(path, bytes).map_err(|source| Error::Io {
            path: path.to_owned(),
            what: "cannot write the model's file",
            source,
        }),
    }
}

impl Inputs {
    /// Galaxies in the batch, by whichever input is there.
    pub fn batch(&self) -> usize {
        let first = self.cutouts.as_ref().or(self.mags.as_ref());
        first.and_then(|t| t.size().first().copied()).unwrap_or(0) as usize
    }

    /// The inputs that `needs` names, with their shapes checked and cutouts cropped to `cutout_px`.
    ///
    /// The tensors that come back begin at a multiple of 64 bytes, copied where they did not: the
    /// last bits of a product can depend on it.
    pub(crate) fn checked(&self, needs: Needs, cutout_px: usize) -> Result<Inputs, Error> {
        let cutouts = match (&self.cutouts, needs.cutouts) {
            (_, false) => None,
            (None, true) => return Err(Error::Inputs("it needs cutouts".to_owned())),
            (Some(cutouts), true) => Some(centre(cutouts, cutout_px as i64)?),
        };
        let mags = match (&self.mags, needs.mags) {
            (_, false) => None,
            (None, true) => return Err(Error::Inputs("it needs magnitudes".to_owned())),
            (Some(mags), true) => match mags.size()[..] {
                [_, 5] if mags.kind() == Kind::Float => Some(aligned(mags.f_contiguous()?)?),
                _ => return Err(misshapen("mags", "[batch, 5]", mags)),
            },
        };
        match (&cutouts, &mags) {
            (Some(c), Some(m)) if c.size()[0] != m.size()[0] => Err(Error::Inputs(format!(
                "{} cutouts, but {} rows of magnitudes",
                c.size()[0],
                m.size()[0]
            ))),
            _ => Ok(Inputs { cutouts, mags }),
        }
    }
}

/// The `side` by `side` pixels about the centre of each cutout.
fn centre(cutouts: &Tensor, side: i64) -> Result<Tensor, Error> {
    match cutouts.size()[..] {
        [_, 5, y, x] if y == x && x >= side && cutouts.kind() == Kind::Float => {
            let start = (x - side) / 2;
            let cropped = cutouts.f_narrow(2, start, side)?.f_narrow(3, start, side)?;
            aligned(cropped.f_contiguous()?)
        }
        _ => Err(misshapen(
            "cutouts",
            &format!("[batch, 5, px, px], px >= {side}"),
            cutouts,
        )),
    }
}

fn aligned(tensor: Tensor) -> Result<Tensor, Error> {
    if (tensor.data_ptr() as usize).is_multiple_of(64) {
        Ok(tensor)
    } else {
        Ok(tensor.f_to_device_(tensor.device(), tensor.kind(), false, true)?)
    }
}

fn misshapen(name: &str, expected: &str, found: &Tensor) -> Error {
    let (shape, kind) = (found.size(), found.kind());
    Error::Inputs(format!(
        "{name} must be {expected} of Float, not {shape:?} of {kind:?}"
    ))
}
