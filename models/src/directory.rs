//! The two files of a model directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::config::{Architecture, BrokenRule, Config, Header};
pub use crate::config::{MODULE_FILE, WEIGHTS_FILE};
use crate::error::Error;
use crate::threads::joined;

/// The configuration's file in a model directory.
pub const CONFIG_FILE: &str = "config.json";

/// The content of a model directory.
pub(crate) struct Directory {
    pub(crate) config_path: PathBuf,
    config: Vec<u8>,
    pub(crate) weights_path: PathBuf,
    pub(crate) weights: Vec<u8>,
}

impl Directory {
    /// Reads both files.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing or cannot be read.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let (config_path, config) = read_config(dir)?;
        let weights_path = dir.join(architecture(&config_path, &config)?.weights_file());
        let weights = read(&weights_path)?;
        Ok(Self {
            config_path,
            config,
            weights_path,
            weights,
        })
    }

    /// Writes a model directory. Files that exist with the same content are left alone.
    ///
    /// # Errors
    /// [`Error::Exists`] if `dir` holds another model, [`Error::Io`] if a file cannot be written.
    pub(crate) fn write(dir: &Path, config: &impl Serialize, weights: &[u8]) -> Result<(), Error> {
        let path = dir.join(CONFIG_FILE);
        let json = config_json(&path, config)?;
        fs::create_dir_all(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            what: "cannot make the model's directory",
            source,
        })?;
        write_new(&path, &json)?;
        write_new(&dir.join(WEIGHTS_FILE), weights)
    }

    /// The architecture that the configuration names, before the rest of the configuration is read.
    ///
    /// # Errors
    /// [`Error::Config`] if this version does not know it.
    pub(crate) fn architecture(&self) -> Result<Architecture, Error> {
        architecture(&self.config_path, &self.config)
    }

    /// The configuration of an AstroMAE or of its pretrained encoder.
    ///
    /// # Errors
    /// [`Error::Config`] if this version does not understand it, or if it is of another architecture.
    pub(crate) fn config(&self) -> Result<Config, Error> {
        match self.architecture()? {
            Architecture::AstroMae | Architecture::Mae => {
                Config::parse(&self.config_path, &self.config)
            }
            other => Err(self.refusal(format!(
                "`architecture` is {other}, and must be astromae or mae here"
            ))),
        }
    }

    /// The configuration of any architecture, as `C` reads it.
    ///
    /// # Errors
    /// [`Error::Config`] if this version does not understand it, or `check` refuses it.
    pub(crate) fn config_of<C: DeserializeOwned>(
        &self,
        check: impl FnOnce(&C) -> Result<(), BrokenRule>,
    ) -> Result<C, Error> {
        let config = serde_json::from_slice(&self.config);
        let config = config.map_err(|error| self.refusal(error.to_string()))?;
        check(&config).map_err(|broken| self.refusal(broken.to_string()))?;
        Ok(config)
    }

    fn refusal(&self, reason: String) -> Error {
        Error::Config {
            path: self.config_path.clone(),
            reason,
        }
    }

    /// The SHA-256 of the bytes of `config.json` followed by those of the weights' file, in hex.
    pub(crate) fn id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(&self.config)
            .chain_update(&self.weights)
            .finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The [`id`](Directory::id), and what `load` returns. A second thread computes the hash meanwhile.
    pub(crate) fn id_beside<T>(&self, load: impl FnOnce() -> T) -> (String, T) {
        thread::scope(|threads| {
            let id = threads.spawn(|| self.id());
            let loaded = load();
            (joined(id), loaded)
        })
    }
}

/// The architecture of the model in `dir`.
///
/// # Errors
/// [`Error::Io`] if `config.json` cannot be read, [`Error::Config`] if this version does not know the architecture.
///
/// ```
/// use hubbleflow_models::{Architecture, Config, architecture_of, init};
/// let dir = tempfile::tempdir().unwrap();
/// init::init(dir.path(), &Config::preset("astromae-tiny").unwrap(), "")?;
/// let architecture = architecture_of(dir.path())?;
/// assert_eq!((architecture, architecture.weights_file()), (Architecture::AstroMae, "model.safetensors"));
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn architecture_of(dir: &Path) -> Result<Architecture, Error> {
    let (path, config) = read_config(dir)?;
    architecture(&path, &config)
}

/// The path and the content of the `config.json` in `dir`.
fn read_config(dir: &Path) -> Result<(PathBuf, Vec<u8>), Error> {
    let path = dir.join(CONFIG_FILE);
    let config = read(&path)?;
    Ok((path, config))
}

fn architecture(path: &Path, config: &[u8]) -> Result<Architecture, Error> {
    let header: Header = serde_json::from_slice(config).map_err(|error| Error::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(header.architecture)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_file(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        what: "cannot read it; a model is a directory of config.json and model.safetensors (model.pt for torchscript)",
        source,
    })
}

/// The content of a `config.json` at `path`.
///
/// # Errors
/// [`Error::Config`] if the configuration cannot be written as JSON.
pub(crate) fn config_json(path: &Path, config: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut json = serde_json::to_vec_pretty(config).map_err(|error| Error::Config {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    json.push(b'\n');
    Ok(json)
}

/// Reads a regular file. (A device may have no end.)
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        let reason = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    fs::read(path)
}

/// Writes a file that does not exist yet. A file with the same bytes is left alone.
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
