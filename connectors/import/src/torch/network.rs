//! The tensors of a network: a module or a state_dict.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::TorchFile;
use crate::error::ImportError;
use crate::pickle::{Global, Id, Node};
use crate::zip::Archive;

/// Upper bound on the number of modules, tensors and attributes of a network.
const PARTS_MAX: usize = 1 << 20;
/// Upper bound on the bytes of all names. Each text of the pickle may be part of any number of names.
const NAMES_BYTES_MAX: usize = 64 << 20;
/// Upper bound on the depth of modules within modules.
const DEPTH_MAX: usize = 64;

/// The keys under which checkpoints keep a state_dict beside other things.
const STATE_KEYS: [&str; 5] = [
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "teacher",
];

/// A network as it was saved.
#[derive(Debug, Default)]
pub struct Weights {
    /// The class of the pickled module, or `None` for a state_dict.
    pub class: Option<String>,
    /// The tensors by their names in a state_dict: shape, and numbers in C order.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// The numbers among the attributes of the modules, by names such as `blocks.0.attn.num_heads`.
    pub numbers: BTreeMap<String, f64>,
}

/// Reads a pickled module or a state_dict.
///
/// Whole numbers (such as counters of batches), float16, bfloat16 and float64 become float32.
///
/// ```
/// let path = std::path::Path::new("tests/data/pytorch-2.11-module.pt");
/// let network = hubbleflow_import::weights(path)?;
/// assert_eq!(network.tensors["module.0.weight"].0, [3, 2]);
/// # Ok::<(), hubbleflow_import::ImportError>(())
/// ```
///
/// # Errors
/// - [`ImportError::Io`] if the file cannot be read.
/// - [`ImportError::Corrupt`] if the file is damaged.
/// - [`ImportError::Unsupported`] if the file does not hold a network.
pub fn weights(path: &Path) -> Result<Weights, ImportError> {
    TorchFile::open(Archive::open(path)?)?.weights()
}

/// The weights found so far, and their amount. Modules may hold each other and share tensors, so a small file could
/// describe an endless network.
#[derive(Default)]
struct NetworkWalk {
    weights: Weights,
    /// The number of entries visited.
    parts: usize,
    /// The bytes of all numbers.
    number_bytes: u64,
    /// The bytes of all names.
    name_bytes: usize,
}

impl NetworkWalk {
    /// Counts the entries of a dict. Returns `None` if there are too many.
    fn visit(&mut self, entries: &[(Id, Id)]) -> Option<()> {
        self.parts += entries.len();
        (self.parts <= PARTS_MAX).then_some(())
    }

    /// The name of an entry below `prefix`. Returns `None` if all names together become too long.
    fn name(&mut self, prefix: &str, name: &str, end: &str) -> Option<String> {
        self.name_bytes += prefix.len() + name.len() + end.len();
        (self.name_bytes <= NAMES_BYTES_MAX).then(|| format!("{prefix}{name}{end}"))
    }
}

impl TorchFile {
    pub(super) fn weights(&self) -> Result<Weights, ImportError> {
        let root = self.pickle.root();
        let mut walk = NetworkWalk::default();
        if let Some((class, _)) = self.module(root) {
            walk.weights.class = Some(class.to_string());
            self.walk(root, "", 0, &mut walk)?;
        } else {
            let state = self.state_dict(root).ok_or_else(|| {
                ImportError::unsupported(
                    self.archive.path(),
                    "it holds neither a module nor a state_dict; save the network with torch.save(model, FILE) or \
                     torch.save(model.state_dict(), FILE)",
                )
            })?;
            self.tensors(state, "", &mut walk)?;
        }
        Ok(walk.weights)
    }

    /// The class and the attributes of a module.
    fn module(&self, id: Id) -> Option<(Global<'_>, Id)> {
        let (class, object) = self.pickle.object(id)?;
        let state = object.state?;
        self.pickle.get(state, "_modules")?;
        self.pickle.get(state, "_parameters")?;
        Some((class, state))
    }

    /// The dict of tensors: the root, or the value of one of [`STATE_KEYS`] in the root.
    fn state_dict(&self, root: Id) -> Option<Id> {
        let holds_tensors = |id: Id| {
            let entries = self.pickle.entries(id)?;
            let any = entries
                .iter()
                .any(|(_, value)| self.tensor(*value).is_some());
            any.then_some(id)
        };
        let inner = || {
            STATE_KEYS
                .iter()
                .find_map(|key| holds_tensors(self.pickle.get(root, key)?))
        };
        holds_tensors(root).or_else(inner)
    }

    /// Collects the tensors and numbers of a module, and of the modules within it.
    fn walk(
        &self,
        id: Id,
        prefix: &str,
        depth: usize,
        walk: &mut NetworkWalk,
    ) -> Result<(), ImportError> {
        let Some((_, state)) = self.module(id) else {
            return Ok(());
        };
        for part in ["_parameters", "_buffers"] {
            if let Some(dict) = self.pickle.get(state, part) {
                self.tensors(dict, prefix, walk)?;
            }
        }
        let attributes = self.pickle.entries(state).unwrap_or_default();
        walk.visit(attributes).ok_or_else(|| self.endless())?;
        for &(key, value) in attributes {
            let number = match self.pickle.node(value) {
                Node::Int(int) => *int as f64,
                Node::Float(float) => *float,
                _ => continue,
            };
            if let Some(name) = self.pickle.text(key) {
                let name = walk.name(prefix, name, "");
                let name = name.ok_or_else(|| self.endless())?;
                walk.weights.numbers.insert(name, number);
            }
        }
        let modules = self.pickle.get(state, "_modules");
        let modules = modules.and_then(|dict| self.pickle.entries(dict));
        let modules = modules.unwrap_or_default();
        walk.visit(modules).ok_or_else(|| self.endless())?;
        for &(key, module) in modules {
            let name = self.pickle.text(key).unwrap_or_default();
            let inner = walk.name(prefix, name, ".");
            let inner = inner.filter(|_| depth <= DEPTH_MAX);
            let inner = inner.ok_or_else(|| self.endless())?;
            self.walk(module, &inner, depth + 1, walk)?;
        }
        Ok(())
    }

    /// The error for a network that does not end.
    fn endless(&self) -> ImportError {
        let reason =
            "its modules hold each other or share tensors so often that the network is too large";
        ImportError::corrupt(self.archive.path(), reason)
    }

    /// Collects the tensors of a dict.
    fn tensors(&self, dict: Id, prefix: &str, walk: &mut NetworkWalk) -> Result<(), ImportError> {
        let entries = self.pickle.entries(dict).unwrap_or_default();
        walk.visit(entries).ok_or_else(|| self.endless())?;
        for &(key, value) in entries {
            let Some(name) = self.pickle.text(key) else {
                continue;
            };
            // An unused bias is stored as None.
            if self.tensor(value).is_none() {
                continue;
            }
            let name = walk.name(prefix, name, "");
            let name = name.ok_or_else(|| self.endless())?;
            let tensor = self.numbers(&name, value)?;
            walk.number_bytes += 4 * tensor.1.len() as u64;
            // float16 doubles in size, and a tensor may have a few names.
            if walk.number_bytes > 8 * self.archive.bytes() {
                return Err(self.endless());
            }
            walk.weights.tensors.insert(name, tensor);
        }
        Ok(())
    }

    /// All numbers of a tensor.
    fn numbers(&self, name: &str, id: Id) -> Result<(Vec<usize>, Vec<f32>), ImportError> {
        let (mut array, mut storage) = self.array(name, id, 0)?;
        let shape: Vec<usize> = array.shape.iter().map(|&side| side as usize).collect();
        // The tensor is read as one row, so a single number is allowed too.
        array.shape.insert(0, 1);
        array.strides.insert(0, 0);
        let fail = |reason: String| {
            ImportError::corrupt(self.archive.path(), format!("`{name}`: {reason}"))
        };
        let size = array.dtype.bytes as u64;
        let mut sides = array.shape.iter();
        let bytes = sides.try_fold(size, |bytes, side| bytes.checked_mul(*side));
        if bytes.is_none_or(|bytes| bytes > self.archive.bytes()) {
            return Err(fail("it is larger than the file".to_owned()));
        }
        array.check(storage.size()).map_err(fail)?;
        let bytes = array.read(&mut storage, 0..1)?;
        let numbers = array.dtype.to_f32(&bytes);
        let numbers = numbers.ok_or_else(|| fail(format!("it is of {}", array.dtype)))?;
        Ok((shape, numbers))
    }
}
