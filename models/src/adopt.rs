//! A model directory from the tensors of a network that another program has trained.
//!
//! Sizes are read from the tensors' shapes; the number of heads, which no shape tells, from the attribute `num_heads`
//! of the blocks. Names become those of [`layout`](crate::layout):
//!
//! | there | here |
//! |---|---|
//! | `module.…` and whatever else all names begin with | without it |
//! | `conv2d_init.…` where it is outermost (the Inception network alone) | `inception_model.conv2d_init.…`, and so on |
//! | `inception_model.head_incept_mag.…`, `inception_model.Inception_head_block.…` | `concat_block.…` |

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, tensor::TensorView};

use crate::config::{Branch, Config, Encoder, EncoderKind};
use crate::{Checkpoint, Directory, Error};

/// A network's tensors (row-major shape and numbers) and the plain numbers among its modules' attributes, by their names.
#[derive(Debug, Default)]
pub struct Foreign {
    /// `blocks.0.attn.qkv.weight` and so on, by the public checkpoint's names, all behind one prefix perhaps.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// `blocks.0.attn.num_heads` and so on, behind the same prefix.
    pub numbers: BTreeMap<String, f64>,
}

/// Writes a model directory of `foreign`, the content of `source`, and answers its configuration.
///
/// `heads` is needed where `foreign` does not tell, and must not contradict it.
///
/// # Errors
/// [`Error::Foreign`] where the tensors make no AstroMAE; [`Error::Misfit`], [`Error::Unexpected`] and
/// [`Error::Tensor`] where one of them does not fit the others; [`Error::Exists`] where `dir` holds another model,
/// [`Error::Io`].
pub fn adopt(
    dir: &Path,
    source: &Path,
    foreign: Foreign,
    name: &str,
    heads: Option<usize>,
) -> Result<Config, Error> {
    let refuse = |reason: String| Error::Foreign {
        path: source.to_owned(),
        reason,
    };
    let foreign = renamed(foreign).map_err(refuse)?;
    let config = Config {
        name: name.to_owned(),
        ..configuration(&foreign, heads).map_err(refuse)?
    };
    config.validate().map_err(refuse)?;
    check_arithmetic(&foreign).map_err(refuse)?;
    let bytes = safetensors_bytes(&foreign).map_err(|error| Error::Corrupt {
        path: source.to_owned(),
        source: error,
    })?;
    // What is refused names the file it came from, and nothing is written of it.
    Checkpoint::parse(source, &bytes, &config)?;
    Directory::write(dir, &config, &bytes)?;
    Ok(config)
}

/// Tensors by the names of the layout, each once.
fn renamed(foreign: Foreign) -> Result<Foreign, String> {
    let anchors = [
        "cls_token",
        "conv2d_init.weight",
        "magnitude_block.0.weight",
    ];
    let is_anchor = |name: &str| {
        anchors.iter().find_map(|anchor| {
            let prefix = name.strip_suffix(anchor)?;
            (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
        })
    };
    let prefixes: Vec<String> = foreign
        .tensors
        .keys()
        .filter_map(|name| is_anchor(name))
        .collect();
    let outermost = prefixes.iter().min_by_key(|prefix| prefix.len()).ok_or(
        "its tensors are none of an AstroMAE: neither cls_token nor conv2d_init nor magnitude_block is among them",
    )?;
    let prefix = outermost
        .strip_suffix("inception_model.")
        .unwrap_or(outermost);
    let alone = prefix == outermost && !foreign.tensors.contains_key(&format!("{prefix}cls_token"));
    let rename = |name: String| {
        let mut name = name.strip_prefix(prefix).unwrap_or(&name).to_owned();
        if alone {
            name = format!("inception_model.{name}");
        }
        for head in [
            "inception_model.head_incept_mag.",
            "inception_model.Inception_head_block.",
        ] {
            name = name.replace(head, "concat_block.");
        }
        name
    };
    let counters = |name: &String| name.ends_with("num_batches_tracked");
    let tensors = foreign.tensors.into_iter();
    let mut tensors: BTreeMap<_, _> = tensors
        .filter(|(name, _)| !counters(name))
        .map(|(name, tensor)| (rename(name), tensor))
        .collect();
    // One tensor under two names; where they differ, the twin stays and is refused.
    for part in ["weight", "bias"] {
        let twin = format!("inception_model.vis_inception.0.{part}");
        if tensors.get(&twin) == tensors.get(&format!("inception_model.conv2d_init.{part}")) {
            tensors.remove(&twin);
        }
    }
    Ok(Foreign {
        tensors,
        numbers: foreign
            .numbers
            .into_iter()
            .map(|(name, number)| (rename(name), number))
            .collect(),
    })
}

/// What the shapes say.
fn configuration(foreign: &Foreign, heads: Option<usize>) -> Result<Config, String> {
    let has = |prefix: &str| foreign.tensors.keys().any(|name| name.starts_with(prefix));
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
        ..Config::preset("astromae").expect("a preset")
    };
    if config.has(Branch::Encoder) {
        let grid;
        (config.encoder, grid) = encoder(foreign, heads)?;
        config.cutout_px = grid * config.encoder.patch_px;
    }
    Ok(config)
}

/// The encoder, and its patches along a side of the cutout.
fn encoder(foreign: &Foreign, heads: Option<usize>) -> Result<(Encoder, usize), String> {
    let shape = |name: &str, axes: usize| match foreign.tensors.get(name) {
        Some((shape, _)) if shape.len() == axes && !shape.contains(&0) => Ok(shape.as_slice()),
        Some((shape, _)) => Err(format!(
            "its tensor {name} is of shape {shape:?}, not of {axes} axes"
        )),
        None => Err(format!("its encoder has no tensor {name}")),
    };
    let width = shape("cls_token", 3)?[2];
    let patches = shape("pos_embed", 3)?[1] - 1;
    let number = |name: &String| {
        name.strip_prefix("blocks.")?
            .split('.')
            .next()?
            .parse()
            .ok()
    };
    let depth = foreign.tensors.keys().filter_map(number).max();
    let depth = depth.map_or(0, |last: usize| last.saturating_add(1));
    let hidden = shape("blocks.0.mlp.fc1.weight", 2)?[0];
    let is_pcm = foreign.tensors.contains_key("blocks.0.PCM.0.weight");
    let (kind, pcm_kernel, pcm_group) = if is_pcm {
        let pcm = shape("blocks.0.PCM.0.weight", 4)?;
        (EncoderKind::Pcm, pcm[2], width / pcm[1])
    } else {
        (EncoderKind::Plain, 1, 1)
    };
    let encoder = Encoder {
        kind,
        width,
        depth,
        heads: number_of_heads(foreign, heads)?,
        mlp_ratio: hidden / width,
        patch_px: shape("patch_embed.proj.weight", 4)?[2],
        pcm_kernel,
        pcm_group,
    };
    Ok((encoder, patches.isqrt()))
}

/// What the blocks say, or the caller.
fn number_of_heads(foreign: &Foreign, given: Option<usize>) -> Result<usize, String> {
    let names = [".attn.num_heads", ".attn.heads"];
    let mut said = foreign.numbers.iter().filter(|(name, _)| {
        name.starts_with("blocks.") && names.iter().any(|end| name.ends_with(end))
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

/// Constants that are no tensors, where the modules tell them: another one would give other redshifts.
fn check_arithmetic(foreign: &Foreign) -> Result<(), String> {
    let expected = |name: &str| {
        let module = name.strip_suffix(".eps")?;
        let ends = |ends: &[&str]| ends.iter().any(|end| module.ends_with(end));
        if ends(&["norm1", "norm2", "fc_norm"]) {
            Some(1e-6)
        } else {
            ends(&[".bn", ".PCM.1"]).then_some(1e-5)
        }
    };
    for (name, &number) in &foreign.numbers {
        if expected(name).is_some_and(|eps: f64| (number - eps).abs() > 1e-3 * eps) {
            return Err(format!(
                "its {name} is {number}; AstroMAE has 1e-6 in the encoder's norms and 1e-5 in those of batches"
            ));
        }
    }
    Ok(())
}

fn safetensors_bytes(foreign: &Foreign) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = foreign
        .tensors
        .iter()
        .map(|(name, (shape, numbers))| {
            let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
            (name.as_str(), shape.as_slice(), bytes.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
    });
    let views: Vec<(&str, TensorView<'_>)> =
        views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout;
    use proptest::prelude::*;

    /// The tensors that the layout of `config` asks for, of zeros.
    fn zeros(config: &Config) -> Foreign {
        let entries = layout::layout(config).into_iter();
        Foreign {
            tensors: entries
                .map(|entry| {
                    let len = entry.shape.iter().product();
                    (entry.name, (entry.shape, vec![0.0; len]))
                })
                .collect(),
            numbers: BTreeMap::new(),
        }
    }

    fn prefixed(foreign: Foreign, prefix: &str) -> Foreign {
        let tensors = foreign.tensors.into_iter();
        Foreign {
            tensors: tensors
                .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
                .collect(),
            numbers: BTreeMap::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_shapes_tell_the_configuration(
            plain in any::<bool>(),
            depth in 1usize..4,
            heads in 1usize..4,
            kernel in 0usize..2,
            group in prop::sample::select(vec![4usize, 8, 24]),
            patch_px in prop::sample::select(vec![4usize, 8, 16]),
            wrapped in any::<bool>(),
        ) {
            let mut config = Config::preset("astromae").unwrap();
            config.encoder = Encoder {
                kind: if plain { EncoderKind::Plain } else { EncoderKind::Pcm },
                width: 24,
                depth,
                heads,
                mlp_ratio: 2,
                patch_px,
                pcm_kernel: if plain { 1 } else { 2 * kernel + 1 },
                pcm_group: if plain { 1 } else { group },
            };
            let foreign = prefixed(zeros(&config), if wrapped { "module." } else { "" });
            let found = configuration(&renamed(foreign).unwrap(), Some(heads)).unwrap();
            prop_assert_eq!(found.encoder, config.encoder);
            prop_assert_eq!((found.cutout_px, found.branches), (32, config.branches));
        }
    }

    #[test]
    fn the_inception_network_alone_goes_by_its_own_names() {
        let mut config = Config::preset("astromae").unwrap();
        config.branches = vec![Branch::Inception, Branch::Magnitude];
        let tensors = zeros(&config).tensors.into_iter().map(|(name, tensor)| {
            let name = name.replace("concat_block.", "head_incept_mag.");
            (name.replace("inception_model.", ""), tensor)
        });
        let foreign = Foreign {
            tensors: tensors.collect(),
            numbers: BTreeMap::new(),
        };
        let foreign = renamed(foreign).unwrap();
        assert_eq!(
            configuration(&foreign, None).unwrap().branches,
            config.branches
        );
        let bytes = safetensors_bytes(&foreign).unwrap();
        Checkpoint::parse(Path::new("alone"), &bytes, &config).unwrap();
    }

    #[test]
    fn heads_are_never_guessed() {
        let foreign = |said: &[f64]| Foreign {
            tensors: BTreeMap::new(),
            numbers: said
                .iter()
                .enumerate()
                .map(|(block, heads)| (format!("blocks.{block}.attn.num_heads"), *heads))
                .collect(),
        };
        assert_eq!(number_of_heads(&foreign(&[3.0, 3.0]), None), Ok(3));
        assert_eq!(number_of_heads(&foreign(&[]), Some(6)), Ok(6));
        for (said, given, word) in [
            (&[][..], None, "--heads"),
            (&[3.0, 6.0], None, "different"),
            (&[3.0], Some(6), "--heads says 6"),
        ] {
            let error = number_of_heads(&foreign(said), given).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn another_epsilon_is_refused() {
        let mut foreign = Foreign::default();
        foreign
            .numbers
            .insert("blocks.0.norm1.eps".to_owned(), 1e-6);
        assert_eq!(check_arithmetic(&foreign), Ok(()));
        foreign
            .numbers
            .insert("blocks.0.norm1.eps".to_owned(), 1e-5);
        assert!(check_arithmetic(&foreign).is_err());
    }
}
