//! `model.safetensors`: named tensors, each checked against the configuration before it is used.
//!
//! | stored as | used as |
//! |---|---|
//! | `F32`, `F16`, `BF16`, little-endian, row-major | float32, contiguous |

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use crate::config::{Branch, Config};
use crate::error::Found;
use crate::{Error, layout};

/// The tensors that a configuration's forward pass needs, by the public checkpoint's names.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads the weights of `config` from `bytes`, the content of `path`, into float32 on the CPU.
    ///
    /// Every tensor of the branches that are switched on must be there with its shape. Tensors of
    /// branches that are switched off may be there; any other is refused.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Misfit`], [`Error::Unexpected`] or [`Error::Tensor`].
    pub fn parse(path: &Path, bytes: &[u8], config: &Config) -> Result<Self, Error> {
        let mut stored = read_names(path, bytes)?;
        let mut tensors = BTreeMap::new();
        for entry in layout::layout(config) {
            let misfit = |found| Error::Misfit {
                path: path.to_owned(),
                tensor: entry.name.clone(),
                expected: entry.shape.clone(),
                found,
            };
            match stored.remove(&entry.name) {
                Some(view) if view.shape() != entry.shape => {
                    return Err(misfit(Found::Shape(view.shape().to_vec())));
                }
                Some(view) if entry.required => {
                    let tensor = to_tensor(path, &entry.name, &view)?;
                    check_finite(path, &entry.name, &tensor)?;
                    tensors.insert(entry.name.clone(), tensor);
                }
                None if entry.required => return Err(misfit(Found::Nothing)),
                _ => {}
            }
        }
        match stored.iter().find(|(name, _)| !tolerated(name, config)) {
            Some((name, view)) => Err(Error::Unexpected {
                path: path.to_owned(),
                tensor: name.clone(),
                found: view.shape().to_vec(),
            }),
            None => Ok(Self {
                path: path.to_owned(),
                tensors,
            }),
        }
    }

    /// Weights that are not a file's yet, by their names.
    pub(crate) fn of(tensors: BTreeMap<String, Tensor>) -> Self {
        let path = PathBuf::from("(in training)");
        Self { path, tensors }
    }

    /// All tensors, by name.
    pub(crate) fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// The same weights on `device`, as numbers of `kind`; batch normalisation stays float32.
    pub(crate) fn to(self, device: Device, kind: Kind) -> Result<Self, Error> {
        let moved = self.tensors.into_iter().map(|(name, tensor)| {
            let kind = if layout::is_batch_norm(&name) {
                Kind::Float
            } else {
                kind
            };
            let tensor = tensor.f_to_device_(device, kind, false, false)?;
            Ok((name, tensor))
        });
        Ok(Self {
            tensors: moved.collect::<Result<_, Error>>()?,
            path: self.path,
        })
    }

    /// The tensor called `name`; it shares its storage with the checkpoint's.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the configuration that the checkpoint was read for has no such tensor.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor.shallow_clone()),
            None => Err(Error::Tensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
                reason: "is not part of the configuration that was read".to_owned(),
            }),
        }
    }

    /// Another handle, for another thread, on the same weights.
    pub(crate) fn share(&self) -> Self {
        let shared = self
            .tensors
            .iter()
            .map(|(name, t)| (name.clone(), t.shallow_clone()));
        Self {
            path: self.path.clone(),
            tensors: shared.collect(),
        }
    }
}

/// The two names under which the public checkpoint holds the first convolution of the inception network.
const FIRST_PREFIX: &str = "inception_model.conv2d_init.";
const TWIN_PREFIX: &str = "inception_model.vis_inception.0.";

/// Every tensor of the file by its first name: the alias of `conv2d_init` is resolved.
pub(crate) fn read_names<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<BTreeMap<String, TensorView<'a>>, Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| Error::Corrupt {
        path: path.to_owned(),
        source,
    })?;
    // A file hands out its tensors in no particular order: the twin is compared whichever name comes first.
    let mut stored: BTreeMap<String, TensorView<'a>> = BTreeMap::new();
    for (name, view) in file.tensors() {
        let first = name.replace(TWIN_PREFIX, FIRST_PREFIX);
        match stored.get(&first) {
            Some(twin) if *twin != view => {
                return Err(Error::Tensor {
                    path: path.to_owned(),
                    tensor: first.replace(FIRST_PREFIX, TWIN_PREFIX),
                    reason: format!("differs from `{first}`, which is the same tensor"),
                });
            }
            _ => stored.insert(first, view),
        };
    }
    Ok(stored)
}

/// Whether a tensor that is not in the layout may stand in the file: a counter that only training
/// uses, or a tensor of a branch that is switched off.
fn tolerated(name: &str, config: &Config) -> bool {
    let off = [Branch::Encoder, Branch::Inception, Branch::Magnitude]
        .into_iter()
        .filter(|branch| !config.has(*branch));
    name.ends_with(".num_batches_tracked")
        || off
            .flat_map(layout::prefixes)
            .any(|prefix| name.starts_with(prefix))
}

/// A stored tensor in float32, exactly.
fn to_tensor(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Tensor, Error> {
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        other => {
            return Err(Error::Tensor {
                path: path.to_owned(),
                tensor: name.to_owned(),
                reason: format!("holds {other:?}; weights are F32, F16 or BF16"),
            });
        }
    };
    // Little-endian in the file, and on every processor that libtorch runs on.
    let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
    let stored = Tensor::f_from_data_size(view.data(), &shape, kind)?;
    Ok(stored.f_to_kind(Kind::Float)?)
}

/// Refuses numbers that would make every prediction wrong.
fn check_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), Error> {
    if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0 {
        return Ok(());
    }
    Err(Error::Tensor {
        path: path.to_owned(),
        tensor: name.to_owned(),
        reason: "holds numbers that are not finite, so every prediction would be wrong; train the model again, \
                 or copy its weights again from their source"
            .to_owned(),
    })
}

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;
/// What stands in a file's header beside the tensors' places.
pub(crate) type Notes = HashMap<String, String>;

/// The tensors of a file, float32 on the CPU, and the notes in its header.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`], [`Error::Tensor`].
pub(crate) fn from_file(path: &Path) -> Result<(Tensors, Notes), Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        what: "cannot read it",
        source,
    })?;
    let corrupt = |source| Error::Corrupt {
        path: path.to_owned(),
        source,
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(corrupt)?;
    let notes = header.metadata().clone().unwrap_or_default();
    let views = read_names(path, &bytes)?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let tensor = to_tensor(path, &name, &view)?;
        Ok((name, tensor))
    };
    Ok((
        views
            .into_iter()
            .map(tensor)
            .collect::<Result<_, Error>>()?,
        notes,
    ))
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// As they were trained.
    #[default]
    Fp32,
    /// Matrices and kernels in half precision, 11 bits a number; vectors, which are few, as they were trained.
    Fp16,
}

/// The bytes of a safetensors file of `tensors`, with `notes` in its header.
///
/// # Errors
/// [`Error::Torch`] where a tensor cannot be copied to the CPU.
pub(crate) fn to_bytes(
    tensors: &BTreeMap<String, Tensor>,
    storage: Storage,
    notes: Option<Notes>,
) -> Result<Vec<u8>, Error> {
    let mut stored = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let tensor = tensor.f_to_device_(Device::Cpu, Kind::Float, false, false)?;
        let shape: Vec<usize> = tensor.size().iter().map(|&side| side as usize).collect();
        let values = Vec::<f32>::try_from(tensor.f_flatten(0, -1)?)?;
        let (dtype, bytes): (_, Vec<u8>) = match storage {
            Storage::Fp16 if shape.len() > 1 => {
                let halves = values.into_iter().map(f16::from_f32);
                (Dtype::F16, halves.flat_map(f16::to_le_bytes).collect())
            }
            _ => (
                Dtype::F32,
                values.into_iter().flat_map(f32::to_le_bytes).collect(),
            ),
        };
        stored.push((name, dtype, shape, bytes));
    }
    let views = stored.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (
            *name,
            view.expect("invariant: as many bytes as the shape asks for"),
        )
    });
    Ok(safetensors::serialize(views, notes)
        .expect("invariant: names, shapes and offsets fit in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;

    /// What a file of one tensor is read as.
    fn read<const N: usize>(dtype: Dtype, stored: &[[u8; N]]) -> Vec<f32> {
        let bytes = stored.concat();
        let view = TensorView::new(dtype, vec![stored.len()], &bytes).unwrap();
        let tensor = to_tensor(Path::new("model"), "weight", &view).unwrap();
        Vec::try_from(tensor).unwrap()
    }

    proptest! {
        #[test]
        fn float32_is_read_to_the_bit(bits in proptest::collection::vec(any::<u32>(), 0..64)) {
            let stored: Vec<_> = bits.iter().map(|bits| bits.to_le_bytes()).collect();
            let read: Vec<u32> = read(Dtype::F32, &stored).iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(read, bits);
        }

        #[test]
        fn halves_lose_no_more_than_their_last_digit(x in -6e4f32..6e4) {
            for (dtype, stored, digits) in [
                (Dtype::F16, f16::from_f32(x).to_le_bytes(), 11),
                (Dtype::BF16, bf16::from_f32(x).to_le_bytes(), 8),
            ] {
                let read = read(dtype, &[stored])[0];
                let half_a_step = x.abs() * 0.5f32.powi(digits) + 3e-8; // + half a subnormal step
                prop_assert!((read - x).abs() <= half_a_step, "{x} -> {read:?}");
            }
        }

        #[test]
        fn sixteen_bits_survive_the_way_to_float32_and_back(bits in any::<u16>()) {
            // A signalling NaN may come back as a quiet one.
            let wide = read(Dtype::BF16, &[bits.to_le_bytes()])[0];
            let brain = f32::from_bits(u32::from(bits) << 16);
            prop_assert!(wide == brain || (wide.is_nan() && brain.is_nan()));
            let wide = f16::from_f32(read(Dtype::F16, &[bits.to_le_bytes()])[0]);
            let half = f16::from_bits(bits);
            prop_assert!(wide == half || (wide.is_nan() && half.is_nan()));
        }
    }
}
