//! The model that comes with the program.
use std::path::{Path, PathBuf};

use crate::Error;

/// What stands for it where a model's directory or URL is asked for.
pub const NAME: &str = "bundled";

/// Below the folder of libraries where the program is installed, and below `models` in a checkout.
const FOLDER: &str = "pretrained/pcm-astromae";

/// The directory of the bundled model: beside an installed program's libraries, or in the checkout that built it.
///
/// # Errors
/// [`Error::Usage`] where it is at neither place.
pub fn directory() -> Result<PathBuf, Error> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let installed = std::env::current_exe().ok().and_then(|program| {
        let root = program.parent()?.parent()?;
        Some(root.join("lib/hubbleflow"))
    });
    let places: Vec<PathBuf> = installed
        .into_iter()
        .chain([checkout])
        .map(|place| place.join(FOLDER))
        .collect();
    let is_there = |place: &&PathBuf| place.join(models::CONFIG_FILE).exists();
    places.iter().find(is_there).cloned().ok_or_else(|| {
        let places: Vec<String> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        Error::usage(format!(
            "the bundled model is not at {}; install the program with `make install`, or name a model's directory",
            places.join(" nor at ")
        ))
    })
}

/// A model's directory as a user names it: [`NAME`] is the bundled one's.
///
/// # Errors
/// As [`directory`].
pub fn resolve(dir: PathBuf) -> Result<PathBuf, Error> {
    if dir.as_os_str() == NAME {
        return directory();
    }
    Ok(dir)
}

/// A model's directory or URL as a user names it: [`NAME`] is the bundled one's.
///
/// # Errors
/// As [`directory`].
pub fn resolve_url(url: &str) -> Result<String, Error> {
    if url == NAME {
        return Ok(directory()?.display().to_string());
    }
    Ok(url.to_owned())
}
