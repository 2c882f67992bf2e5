//! Names the bands of a network. Its tensors tell how many there are, and the user tells their names.

use super::Given;
use super::tensors::ImportedTensors;
use crate::config::{Config, UGRIZ};

/// Writes the bands of the cutouts and magnitudes into the configuration.
pub(super) fn name_bands(
    config: &mut Config,
    imported: &ImportedTensors,
    given: &Given,
) -> Result<(), String> {
    let inputs = |name: &str| {
        let (shape, _) = imported.tensors.get(name)?;
        shape.get(1).copied()
    };
    let of_cutouts =
        inputs("patch_embed.proj.weight").or_else(|| inputs("inception_model.conv2d_init.weight"));
    let of_mags = inputs("inception_model.magnitude_block.0.weight");
    let ugriz = || UGRIZ.map(str::to_owned).to_vec();
    // A network on magnitudes alone has no cutouts whose bands could be counted.
    config.bands = match (of_cutouts, &given.bands) {
        (Some(found), _) => named("--bands", "cutouts", found, &given.bands, None)?,
        (None, Some(bands)) => bands.clone(),
        (None, None) => given.mags.clone().unwrap_or_else(ugriz),
    };
    let mags = match of_mags {
        Some(found) => named(
            "--mags",
            "magnitudes",
            found,
            &given.mags,
            Some(&config.bands),
        )?,
        None => given.mags.clone().unwrap_or_else(|| config.bands.clone()),
    };
    config.mags = (mags != config.bands).then_some(mags);
    Ok(())
}

/// The names of `found` bands: those that are given, else `usual` ones if they are as many, else u, g, r, i and z.
fn named(
    flag: &str,
    what: &str,
    found: usize,
    given: &Option<Vec<String>>,
    usual: Option<&Vec<String>>,
) -> Result<Vec<String>, String> {
    if let Some(names) = given {
        return match names.len() == found {
            true => Ok(names.clone()),
            false => Err(format!(
                "it takes {what} in {found} bands, and {flag} names {}",
                names.len()
            )),
        };
    }
    match usual {
        Some(usual) if usual.len() == found => Ok(usual.clone()),
        _ if found == UGRIZ.len() => Ok(UGRIZ.map(str::to_owned).to_vec()),
        _ => Err(format!(
            "it takes {what} in {found} bands and does not say which: name them in the network's order, as {flag} g,r,z"
        )),
    }
}
