//! A model directory from the tensors of a network that another program has trained.
//!
//! | file | purpose |
//! |---|---|
//! | `names.rs` | renames the tensors to the names of [`layout`](crate::layout) |
//! | `sizes.rs` | reads the configuration from the tensors' shapes |
//! | `band_names.rs` | names the bands, whose number the shapes tell |
//! | `astroclip.rs` | all this for AstroCLIP's image encoder |
//! | `constants.rs` | checks the numbers among the modules' attributes |

mod astroclip;
mod band_names;
mod constants;
mod names;
mod sizes;
mod tensors;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use self::astroclip::{import_astroclip, is_astroclip};
pub use self::tensors::ImportedTensors;
use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::directory::Directory;
use crate::error::Error;
use crate::tensor_file::f32_bytes;

/// Facts about a network that its tensors do not tell.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The number of attention heads.
    pub heads: Option<usize>,
    /// The bands of the cutouts. May be left out if there are five: u, g, r, i and z.
    pub bands: Option<Vec<String>>,
    /// The bands of the magnitudes. May be left out if there are as many as of the cutouts, or five.
    pub mags: Option<Vec<String>>,
}

/// Writes a model directory of `imported`, the content of the file `source`, and returns its configuration.
///
/// `given` has facts that the tensors do not tell. It must not contradict the tensors.
///
/// # Errors
/// [`Error::Import`] if the tensors do not make an AstroMAE. [`Error::Misfit`], [`Error::Unexpected`] or
/// [`Error::Tensor`] if one of them does not fit the others. [`Error::Exists`] if `dir` holds another model, [`Error::Io`]
/// if a file cannot be written.
///
/// ```
/// use hubbleflow_models::import::{Given, ImportedTensors, import_weights};
/// use hubbleflow_models::{Branch, Config, layout};
/// let mut config = Config::preset("astromae").unwrap();
/// config.branches = vec![Branch::Inception, Branch::Magnitude];
/// // The tensors of a network that another program has trained; here they are zeros.
/// let tensors = layout::layout(&config).into_iter().map(|entry| {
///     let numbers = vec![0.0; entry.shape.iter().product()];
///     (format!("module.{}", entry.name), (entry.shape, numbers))
/// });
/// let imported = ImportedTensors { tensors: tensors.collect(), ..ImportedTensors::default() };
/// let dir = tempfile::tempdir().unwrap();
/// let written = import_weights(dir.path(), "net.pt".as_ref(), imported, "mine", &Given::default())?;
/// assert_eq!((written.name.as_str(), written.branches), ("mine", config.branches));
/// # Ok::<(), hubbleflow_models::Error>(())
/// ```
pub fn import_weights(
    dir: &Path,
    source: &Path,
    imported: ImportedTensors,
    name: &str,
    given: &Given,
) -> Result<Config, Error> {
    let refuse = |reason: String| Error::Import {
        path: source.to_owned(),
        reason,
    };
    let imported = names::renamed(imported).map_err(refuse)?;
    let config = Config {
        name: name.to_owned(),
        ..sizes::configuration(&imported, given).map_err(refuse)?
    };
    config
        .validate()
        .map_err(|broken| refuse(broken.to_string()))?;
    constants::check(&imported).map_err(refuse)?;
    let bytes = f32_bytes(imported.arrays()).map_err(|error| Error::Corrupt {
        path: source.to_owned(),
        source: error,
    })?;
    // Checked before anything is written, so that an error names the file that the tensors came from.
    Checkpoint::parse(source, &bytes, &config)?;
    Directory::write(dir, &config, &bytes)?;
    Ok(config)
}
