//! Reads the configuration from the shapes of the tensors. No shape tells the number of heads: it is read from the
//! attribute `num_heads` of the blocks, or given by the user.

use super::Given;
use super::band_names::name_bands;
use super::tensors::ImportedTensors;
use crate::config::{Branch, Config, EncoderConfig, EncoderKind};
use crate::layout::LAST_CHANNELS;

/// Returns the configuration that the shapes of renamed tensors tell.
pub(super) fn configuration(imported: &ImportedTensors, given: &Given) -> Result<Config, String> {
    let has = |prefix: &str| imported.tensors.keys().any(|name| name.starts_with(prefix));
    let branches: Vec<Branch> = [Branch::Encoder, Branch::Inception, Branch::Magnitude]
        .into_iter()
        .filter(|branch| match branch {
            Branch::Encoder => has("vit_block."),
            Branch::Inception => has("inception_model.vis_inception.10."),
            Branch::Magnitude => has("inception_model.magnitude_block."),
        })
        .collect();
    let mut config = Config {
        name: String::new(),
        branches,
        ..Config::preset("astromae").expect("invariant: a preset")
    };
    if config.has(Branch::Encoder) {
        let grid;
        (config.encoder, grid) = encoder(imported, given.heads)?;
        config.cutout_px = grid * config.encoder.patch_px;
    } else if let Some(side) = last_map(imported) {
        config.cutout_px = 8 * side;
    }
    name_bands(&mut config, imported, given)?;
    Ok(config)
}

/// The side of the last map of the Inception network, which has halved the cutout three times.
fn last_map(imported: &ImportedTensors) -> Option<usize> {
    let tail = imported
        .tensors
        .get("inception_model.vis_inception.10.weight");
    let inputs = *tail?.0.get(1)?;
    Some((inputs / LAST_CHANNELS).isqrt().max(1))
}

/// The sizes of the encoder, and the number of patches along a side of the cutout.
fn encoder(
    imported: &ImportedTensors,
    heads: Option<usize>,
) -> Result<(EncoderConfig, usize), String> {
    let shape = |name: &str, axes: usize| match imported.tensors.get(name) {
        Some((shape, _)) if shape.len() == axes && !shape.contains(&0) => Ok(shape.as_slice()),
        Some((shape, _)) => Err(format!(
            "its tensor {name} is of shape {shape:?}, not of {axes} axes"
        )),
        None => Err(format!("its encoder has no tensor {name}")),
    };
    let width = shape("cls_token", 3)?[2];
    let patches = shape("pos_embed", 3)?[1] - 1;
    let number = |name: &String| {
        let rest = name.strip_prefix("blocks.")?;
        rest.split('.').next()?.parse().ok()
    };
    let depth = imported.tensors.keys().filter_map(number).max();
    let depth = depth.map_or(0, |last: usize| last.saturating_add(1));
    let hidden = shape("blocks.0.mlp.fc1.weight", 2)?[0];
    let is_pcm = imported.tensors.contains_key("blocks.0.PCM.0.weight");
    let (kind, pcm_kernel, pcm_group) = if is_pcm {
        let pcm = shape("blocks.0.PCM.0.weight", 4)?;
        (EncoderKind::Pcm, pcm[2], width / pcm[1])
    } else {
        (EncoderKind::Plain, 1, 1)
    };
    let encoder = EncoderConfig {
        kind,
        width,
        depth,
        heads: number_of_heads(imported, heads)?,
        mlp_ratio: hidden / width,
        patch_px: shape("patch_embed.proj.weight", 4)?[2],
        pcm_kernel,
        pcm_group,
    };
    Ok((encoder, patches.isqrt()))
}

/// The number of heads in the blocks' attributes, or the given number.
pub(super) fn number_of_heads(
    imported: &ImportedTensors,
    given: Option<usize>,
) -> Result<usize, String> {
    let paths = ["blocks.", "backbone.blocks."];
    let names = [".attn.num_heads", ".attn.heads"];
    let mut said = imported.numbers.iter().filter(|(name, _)| {
        paths.iter().any(|path| name.starts_with(path))
            && names.iter().any(|end| name.ends_with(end))
    });
    let first = said.next().map(|(_, heads)| *heads as usize);
    if let Some((block, other)) = said.find(|(_, heads)| Some(**heads as usize) != first) {
        return Err(format!(
            "its blocks have different numbers of heads: {block} is {other}"
        ));
    }
    match (first, given) {
        (Some(said), Some(given)) if said != given => {
            Err(format!("its blocks have {said} heads, and --heads says {given}"))
        }
        (Some(heads), _) | (None, Some(heads)) => Ok(heads),
        (None, None) => Err(
            "it does not say how many heads its attention has (a state_dict never does): give --heads N, 3 for the \
             published AstroMAE"
                .to_owned(),
        ),
    }
}
