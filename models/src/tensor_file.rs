//! Files of named tensors in the safetensors format.
//!
//! | stored as | read as |
//! |---|---|
//! | `F32`, `F16`, `BF16`, little-endian, row-major | float32, contiguous |

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::f16;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, Tensor};

use crate::error::Error;

/// The two names of the first convolution of the Inception network in the public checkpoint.
const FIRST_PREFIX: &str = "inception_model.conv2d_init.";
const TWIN_PREFIX: &str = "inception_model.vis_inception.0.";

/// Reads the header of a file: every tensor by its name. A tensor with two names is listed under `conv2d_init`.
///
/// # Errors
/// [`Error::Corrupt`] if the file is damaged, [`Error::Tensor`] if a tensor with two names has two contents.
pub(crate) fn read_tensors<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<BTreeMap<String, TensorView<'a>>, Error> {
    let file = SafeTensors::deserialize(bytes).map_err(|source| Error::Corrupt {
        path: path.to_owned(),
        source,
    })?;
    // The order of tensors in a file is arbitrary, so either name may come first.
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

/// Converts a stored tensor to float32, which is exact.
///
/// # Errors
/// [`Error::Tensor`] if it is not stored as `F32`, `F16` or `BF16`.
pub(crate) fn to_tensor(path: &Path, name: &str, view: &TensorView<'_>) -> Result<Tensor, Error> {
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
    // The file is little-endian, as is every processor that libtorch runs on.
    let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
    let stored = Tensor::f_from_data_size(view.data(), &shape, kind)?;
    Ok(stored.f_to_kind(Kind::Float)?)
}

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;
/// The metadata in a file's header, beside the tensors.
pub(crate) type Notes = HashMap<String, String>;

/// Reads the tensors of a file, float32 on the CPU, and the notes in its header.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Corrupt`] if it is damaged, [`Error::Tensor`] if a tensor is not of
/// floats.
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
    let views = read_tensors(path, &bytes)?;
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

/// The format of stored weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// All weights in float32.
    #[default]
    Fp32,
    /// Matrices and kernels in half precision (11 bits a number), vectors in float32.
    Fp16,
}

/// Writes `tensors` as the bytes of a safetensors file, with `notes` in its header.
///
/// # Errors
/// [`Error::Torch`] if a tensor cannot be copied to the CPU.
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
        (*name, view.expect("invariant: the bytes fill the shape"))
    });
    Ok(safetensors::serialize(views, notes)
        .expect("invariant: names, shapes and offsets fit in a header"))
}

/// Writes tensors (name, row-major shape, numbers) as the bytes of a safetensors file of float32.
///
/// # Errors
/// An error of the format if the numbers do not fill a shape.
pub(crate) fn f32_bytes<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], impl AsRef<[f32]>)>,
) -> Result<Vec<u8>, SafeTensorError> {
    let stored: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, numbers)| {
            let bytes = numbers.as_ref().iter().flat_map(|x| x.to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views = stored.iter().map(|(name, shape, bytes)| {
        Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
    });
    let views: Vec<(&str, TensorView<'_>)> = views.collect::<Result<_, SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use half::bf16;
    use proptest::prelude::*;

    /// Reads the numbers of a tensor that is stored like this.
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
