//! The weights of a configuration: `model.safetensors`, whose tensors are checked against the layout before they are used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use tch::{Device, Kind, Tensor};

use crate::config::{Branch, Config};
use crate::error::{Error, FoundShape};
use crate::layout::{self, TensorEntry};
pub use crate::tensor_file::Storage;
use crate::tensor_file::{read_tensors, to_tensor};

/// The tensors that a configuration's forward pass needs, under the names of the public checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads the weights of `config` from `bytes`, the content of `path`, into float32 on the CPU.
    ///
    /// Every tensor of the branches in the configuration must be there with its shape. Tensors of the other branches may be
    /// there. Any other tensor is refused.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is damaged, [`Error::Misfit`] if a tensor is missing or has another shape,
    /// [`Error::Unexpected`] if a tensor does not belong to the configuration, [`Error::Tensor`] if its numbers cannot be
    /// weights.
    ///
    /// ```
    /// use hubbleflow_models::{Checkpoint, Config, WEIGHTS_FILE, init};
    /// let (dir, config) = (tempfile::tempdir().unwrap(), Config::preset("astromae-tiny").unwrap());
    /// init::init(dir.path(), &config, "")?;
    /// let path = dir.path().join(WEIGHTS_FILE);
    /// let weights = Checkpoint::parse(&path, &std::fs::read(&path).unwrap(), &config)?;
    /// assert_eq!(weights.tensor("head.weight")?.size(), [192, 192]);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn parse(path: &Path, bytes: &[u8], config: &Config) -> Result<Self, Error> {
        Self::of_layout(path, bytes, layout::layout(config), |name| {
            tolerated(name, config)
        })
    }

    /// Reads the weights of a layout. Tensors that are neither in it nor `tolerated` are refused.
    pub(crate) fn of_layout(
        path: &Path,
        bytes: &[u8],
        layout: Vec<TensorEntry>,
        tolerated: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        StoredWeights::open(path, bytes, layout, tolerated)?.below("")
    }

    /// Makes a checkpoint of weights that are not in a file yet.
    pub(crate) fn of(tensors: BTreeMap<String, Tensor>) -> Self {
        let path = PathBuf::from("(in training)");
        Self { path, tensors }
    }

    /// All tensors, by name.
    pub(crate) fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// Moves the weights to `device`, in numbers of `kind`. Batch normalisations stay in float32.
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

    /// The tensor called `name`, which shares its memory with the checkpoint.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the configuration that the checkpoint was read for has no such tensor.
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

    /// A handle on the same weights for another thread.
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

/// The weights in a file, checked against a layout. They are converted part by part, so that a large network is held once.
pub(crate) struct StoredWeights<'a> {
    path: &'a Path,
    /// The tensors that the forward pass needs.
    views: BTreeMap<String, TensorView<'a>>,
}

impl<'a> StoredWeights<'a> {
    /// Opens the weights of a layout. Tensors that are neither in it nor `tolerated` are refused.
    ///
    /// # Errors
    /// Those of [`Checkpoint::parse`].
    pub(crate) fn open(
        path: &'a Path,
        bytes: &'a [u8],
        layout: Vec<TensorEntry>,
        tolerated: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let mut stored = read_tensors(path, bytes)?;
        let mut views = BTreeMap::new();
        for entry in layout {
            let misfit = |found| Error::Misfit {
                path: path.to_owned(),
                tensor: entry.name.clone(),
                expected: entry.shape.clone(),
                found,
            };
            match stored.remove(&entry.name) {
                Some(view) if view.shape() != entry.shape => {
                    return Err(misfit(FoundShape::Shape(view.shape().to_vec())));
                }
                Some(view) if entry.required => {
                    views.insert(entry.name, view);
                }
                None if entry.required => return Err(misfit(FoundShape::Nothing)),
                _ => {}
            }
        }
        match stored.iter().find(|(name, _)| !tolerated(name)) {
            Some((name, view)) => Err(Error::Unexpected {
                path: path.to_owned(),
                tensor: name.clone(),
                found: view.shape().to_vec(),
            }),
            None => Ok(Self { path, views }),
        }
    }

    /// Converts the tensors whose names begin with `prefix` to float32 on the CPU. They keep their names.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the numbers of a tensor cannot be weights.
    pub(crate) fn below(&self, prefix: &str) -> Result<Checkpoint, Error> {
        let mut tensors = BTreeMap::new();
        let views = self.views.range(prefix.to_owned()..);
        for (name, view) in views.take_while(|(name, _)| name.starts_with(prefix)) {
            let tensor = to_tensor(self.path, name, view)?;
            check_finite(self.path, name, &tensor)?;
            tensors.insert(name.clone(), tensor);
        }
        Ok(Checkpoint {
            path: self.path.to_owned(),
            tensors,
        })
    }
}

/// Whether the file may have this tensor although the layout does not: a counter that only training uses, or a tensor of a
/// branch that is not in the configuration.
fn tolerated(name: &str, config: &Config) -> bool {
    let off = [Branch::Encoder, Branch::Inception, Branch::Magnitude]
        .into_iter()
        .filter(|branch| !config.has(*branch));
    name.ends_with(".num_batches_tracked")
        || off
            .flat_map(layout::prefixes)
            .any(|prefix| name.starts_with(prefix))
}

/// Refuses NaN and infinity, which would make every prediction wrong.
fn check_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), Error> {
    // A NaN makes both ends NaN. This is a single pass over the numbers; `isfinite` takes five.
    let (min, max) = tensor.f_aminmax(None, false)?;
    let ends = [min.f_double_value(&[])?, max.f_double_value(&[])?];
    if ends.iter().all(|end| end.is_finite()) {
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
