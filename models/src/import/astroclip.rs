//! AstroCLIP's image encoder: the tensors below `image_encoder.` of the published checkpoint, or without this prefix.

use std::path::Path;

use super::tensors::ImportedTensors;
use super::{Given, sizes::number_of_heads};
use crate::checkpoint::StoredWeights;
use crate::config::{AstroClipConfig, BackboneConfig, QueryConfig};
use crate::directory::Directory;
use crate::error::Error;
use crate::layout::astroclip_layout;
use crate::tensor_file::f32_bytes;

/// A tensor that AstroMAE does not have. Its name tells the prefix of the backbone.
const ANCHOR: &str = "blocks.0.0.ls1.gamma";
/// The prefix of the backbone's names in a model directory.
const BACKBONE: &str = "backbone.";
/// The channels of a head in the published backbone, which is a ViT of DINOv2.
const HEAD_CHANNELS: usize = 64;
/// The heads of the query in the published model.
const QUERY_HEADS: usize = 4;

/// Whether these are the tensors of an AstroCLIP, and not of an AstroMAE.
///
/// ```
/// use hubbleflow_models::import::{ImportedTensors, is_astroclip};
/// let mut imported = ImportedTensors::default();
/// assert!(!is_astroclip(&imported));
/// let name = "image_encoder.backbone.blocks.0.0.ls1.gamma".to_owned();
/// imported.tensors.insert(name, (vec![0], vec![]));
/// assert!(is_astroclip(&imported));
/// ```
pub fn is_astroclip(imported: &ImportedTensors) -> bool {
    prefix(imported).is_some()
}

/// Writes a model directory of the image encoder of an AstroCLIP, the content of the file `source`, and returns its
/// configuration. Tensors of other parts of the model are left out.
///
/// The number of heads in `given` is the backbone's; without it a head has 64 channels, as in DINOv2. The published model
/// takes g, r and z. A backbone alone, as DINOv2 saves it, becomes a model whose embedding is its class token.
///
/// # Errors
/// [`Error::Import`] if the tensors do not make an AstroCLIP. [`Error::Misfit`], [`Error::Unexpected`] or
/// [`Error::Tensor`] if one of them does not fit the others. [`Error::Exists`] if `dir` holds another model,
/// [`Error::Io`] if a file cannot be written.
pub fn import_astroclip(
    dir: &Path,
    source: &Path,
    imported: ImportedTensors,
    name: &str,
    given: &Given,
) -> Result<AstroClipConfig, Error> {
    let refuse = |reason: String| Error::Import {
        path: source.to_owned(),
        reason,
    };
    let imported = image_encoder(imported).map_err(refuse)?;
    let config = configuration(&imported, name, given).map_err(refuse)?;
    config
        .validate()
        .map_err(|broken| refuse(broken.to_string()))?;
    let bytes = f32_bytes(imported.arrays()).map_err(|error| Error::Corrupt {
        path: source.to_owned(),
        source: error,
    })?;
    drop(imported);
    // Checked before anything is written, so that an error names the file that the tensors came from.
    let weights = StoredWeights::open(source, &bytes, astroclip_layout(&config), |_| false)?;
    let blocks = config.block_paths().map(|path| format!("{path}."));
    let parts = ["backbone.norm", "backbone.p", "cross_attention.", "mlp."].map(str::to_owned);
    for part in blocks.chain(parts) {
        weights.below(&part)?;
    }
    Directory::write(dir, &config, &bytes)?;
    Ok(config)
}

/// The prefix of the names of the backbone's tensors. A student, which DINOv2 keeps beside its teacher, is left out.
fn prefix(imported: &ImportedTensors) -> Option<String> {
    let names = imported.tensors.keys();
    let prefixes = names.filter_map(|name| {
        let prefix = name.strip_suffix(ANCHOR)?;
        (prefix.is_empty() || prefix.ends_with('.')).then_some(prefix)
    });
    let teachers = prefixes.filter(|prefix| !prefix.contains("student"));
    teachers
        .min_by_key(|prefix| prefix.len())
        .map(str::to_owned)
}

/// The tensors of the backbone, and of the head where there is one, by the names of a model directory.
fn image_encoder(imported: ImportedTensors) -> Result<ImportedTensors, String> {
    let prefix = prefix(&imported).ok_or_else(|| format!("it has no tensor {ANCHOR}"))?;
    let outer = prefix.strip_suffix(BACKBONE).unwrap_or(&prefix);
    let has_head = imported
        .tensors
        .contains_key(&format!("{outer}cross_attention.query"));
    let rename = |name: String| match name.strip_prefix(&prefix) {
        Some(rest) => Some(format!("{BACKBONE}{rest}")),
        None => {
            let rest = name.strip_prefix(outer)?;
            let is_head = rest.starts_with("cross_attention.") || rest.starts_with("mlp.");
            (has_head && is_head).then(|| rest.to_owned())
        }
    };
    let tensors = imported.tensors.into_iter();
    let tensors = tensors.filter_map(|(name, tensor)| Some((rename(name)?, tensor)));
    let numbers = imported.numbers.into_iter();
    Ok(ImportedTensors {
        tensors: tensors.collect(),
        numbers: numbers
            .filter_map(|(name, number)| Some((rename(name)?, number)))
            .collect(),
    })
}

/// The configuration that the shapes tell.
fn configuration(
    imported: &ImportedTensors,
    name: &str,
    given: &Given,
) -> Result<AstroClipConfig, String> {
    let shape = |name: &str, axes: usize| match imported.tensors.get(name) {
        Some((shape, _)) if shape.len() == axes && !shape.contains(&0) => Ok(shape.as_slice()),
        Some((shape, _)) => Err(format!(
            "its tensor {name} is of shape {shape:?}, not of {axes} axes"
        )),
        None => Err(format!("its image encoder has no tensor {name}")),
    };
    let patch = shape("backbone.patch_embed.proj.weight", 4)?;
    let (width, patch_px) = (patch[0], patch[3]);
    let patches = shape("backbone.pos_embed", 3)?[1] - 1;
    let query = match imported.tensors.contains_key("cross_attention.query") {
        true => Some(QueryConfig {
            width: shape("cross_attention.query", 3)?[2],
            heads: QUERY_HEADS,
        }),
        false => None,
    };
    let (chunks, depth) = blocks(imported)?;
    let public = AstroClipConfig::public();
    let attributes = imported.numbers.keys();
    let says_heads = attributes
        .into_iter()
        .any(|name| name.ends_with("attn.num_heads"));
    let heads = match given.heads {
        None if !says_heads => (width / HEAD_CHANNELS).max(1),
        _ => number_of_heads(imported, given.heads)?,
    };
    Ok(AstroClipConfig {
        name: name.to_owned(),
        bands: given.bands.clone().unwrap_or_else(|| public.bands.clone()),
        cutout_px: patches.isqrt() * patch_px,
        encoder: BackboneConfig {
            width,
            depth,
            heads,
            patch_px,
            chunks,
        },
        query,
        ..public
    })
}

/// The number of chunks and of blocks, from the names `backbone.blocks.CHUNK.BLOCK.…`.
fn blocks(imported: &ImportedTensors) -> Result<(usize, usize), String> {
    let place = |name: &String| {
        let mut parts = name.strip_prefix("backbone.blocks.")?.split('.');
        let chunk: usize = parts.next()?.parse().ok()?;
        let block: usize = parts.next()?.parse().ok()?;
        Some((chunk, block))
    };
    let last = imported.tensors.keys().filter_map(place).max();
    let (chunk, block) =
        last.ok_or("its backbone has no blocks.CHUNK.BLOCK, as DINOv2 saves them")?;
    Ok((chunk.saturating_add(1), block.saturating_add(1)))
}
