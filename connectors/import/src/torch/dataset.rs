//! The tensors of a dataset, as named arrays.

use super::file::{TorchFile, dtype_of};
use crate::error::ImportError;
use crate::named_arrays::{FIELDS_MAX, NamedArrays, check_name};
use crate::pickle::Id;
use crate::zip::Archive;

/// The classes and functions that a file of tensors may name.
const TENSOR_GLOBALS: [&str; 6] = [
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch.storage.UntypedStorage",
    "torch.utils.data.dataset.TensorDataset",
];

/// The tensors of a TensorDataset, tuple or list, named `0`, `1`, …, or of a dict, named by its keys.
pub(crate) fn arrays(archive: Archive) -> Result<NamedArrays, ImportError> {
    TorchFile::open(archive)?.arrays()
}

impl TorchFile {
    pub(super) fn arrays(&self) -> Result<NamedArrays, ImportError> {
        self.check_globals()?;
        let mut arrays = NamedArrays::default();
        for (name, id) in self.named()? {
            let (array, member) = self.array(&name, id, arrays.members.len())?;
            arrays.members.push(member);
            arrays
                .add(name, array)
                .map_err(|reason| ImportError::unsupported(self.archive.path(), reason))?;
        }
        Ok(arrays)
    }

    /// Checks that the file names no classes or functions except those of tensors.
    fn check_globals(&self) -> Result<(), ImportError> {
        for global in self.pickle.globals() {
            let is_known = |known: &&str| global.is(known);
            if dtype_of(global).is_none() && !TENSOR_GLOBALS.iter().any(is_known) {
                let reason = format!(
                    "it holds a {global}, which is not a tensor; save the tensors alone \
                     (torch.save((image, magnitude, redshift), FILE))"
                );
                return Err(ImportError::unsupported(self.archive.path(), reason));
            }
        }
        Ok(())
    }

    /// The tensors of the file, with their names.
    fn named(&self) -> Result<Vec<(String, Id)>, ImportError> {
        let pickle = &self.pickle;
        let mut root = pickle.root();
        if let Some((class, object)) = pickle.object(root)
            && class.is("torch.utils.data.dataset.TensorDataset")
        {
            let tensors = object.state.and_then(|state| pickle.get(state, "tensors"));
            root = tensors.unwrap_or(root);
        }
        let too_many = |count: usize| {
            let reason = format!("it holds {count} objects; at most {FIELDS_MAX} tensors are read");
            Err(ImportError::unsupported(self.archive.path(), reason))
        };
        if let Some(items) = pickle.sequence(root) {
            if items.len() > FIELDS_MAX {
                return too_many(items.len());
            }
            let number = |(i, &id): (usize, &Id)| (i.to_string(), id);
            return Ok(items.iter().enumerate().map(number).collect());
        }
        let entries = pickle.entries(root).ok_or_else(|| {
            ImportError::unsupported(
                self.archive.path(),
                "it does not hold a TensorDataset, tuple, list or dict of tensors",
            )
        })?;
        if entries.len() > FIELDS_MAX {
            return too_many(entries.len());
        }
        let named = entries
            .iter()
            .filter_map(|(key, id)| Some((pickle.text(*key)?, *id)));
        named
            .map(|(name, id)| match check_name(name) {
                Ok(()) => Ok((name.to_owned(), id)),
                Err(reason) => Err(ImportError::unsupported(self.archive.path(), reason)),
            })
            .collect()
    }
}
