//! Renames the tensors of another program to the names of [`layout`](crate::layout).
//!
//! | there | here |
//! |---|---|
//! | `module.…`, or any other prefix of all names | without the prefix |
//! | `conv2d_init.…` without a prefix (the Inception network alone) | `inception_model.conv2d_init.…`, and so on |
//! | `inception_model.head_incept_mag.…`, `inception_model.Inception_head_block.…` | `concat_block.…` |

use std::collections::BTreeMap;

use super::tensors::ImportedTensors;

/// Tensors that every AstroMAE has at least one of. Their names tell the prefix.
const ANCHORS: [&str; 3] = [
    "cls_token",
    "conv2d_init.weight",
    "magnitude_block.0.weight",
];

/// The names of the head in an Inception network alone.
const INCEPTION_HEADS: [&str; 2] = [
    "inception_model.head_incept_mag.",
    "inception_model.Inception_head_block.",
];

/// Renames all tensors. A tensor that has two names is kept once.
pub(super) fn renamed(imported: ImportedTensors) -> Result<ImportedTensors, String> {
    let anchored = |name: &String| {
        ANCHORS.iter().find_map(|anchor| {
            let prefix = name.strip_suffix(anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        })
    };
    let prefixes: Vec<String> = imported.tensors.keys().filter_map(anchored).collect();
    let outermost = prefixes.iter().min_by_key(|prefix| prefix.len()).ok_or(
        "its tensors are not those of an AstroMAE: it has no cls_token, no conv2d_init and no magnitude_block",
    )?;
    let prefix = outermost
        .strip_suffix("inception_model.")
        .unwrap_or(outermost);
    let cls_token = format!("{prefix}cls_token");
    let alone = prefix == outermost && !imported.tensors.contains_key(&cls_token);
    let rename = |name: String| {
        let mut name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
        if alone {
            name = format!("inception_model.{name}");
        }
        for head in INCEPTION_HEADS {
            name = name.replace(head, "concat_block.");
        }
        name
    };
    let is_counter = |name: &String| name.ends_with("num_batches_tracked");
    let tensors = imported.tensors.into_iter();
    let mut tensors: BTreeMap<_, _> = tensors
        .filter(|(name, _)| !is_counter(name))
        .map(|(name, tensor)| (rename(name), tensor))
        .collect();
    // One tensor has two names. If the two differ, the second stays, and is refused later.
    for part in ["weight", "bias"] {
        let twin = format!("inception_model.vis_inception.0.{part}");
        if tensors.get(&twin) == tensors.get(&format!("inception_model.conv2d_init.{part}")) {
            tensors.remove(&twin);
        }
    }
    let numbers = imported.numbers.into_iter();
    Ok(ImportedTensors {
        tensors,
        numbers: numbers
            .map(|(name, number)| (rename(name), number))
            .collect(),
    })
}
