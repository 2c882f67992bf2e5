//! What `torch.save` has written: tensors by name or place, and modules as the tensors they hold.
//!
//! A file is a zip archive with `data.pkl`, the object, and `data/…`, the storages, uncompressed. The object is read
//! as data ([`pickle`](super::pickle)): no class is looked up and nothing is called. A file of tensors may name those
//! classes alone that tensors are made of; of a module, whatever its class, `_parameters`, `_buffers` and `_modules`
//! are walked.

use std::collections::BTreeMap;
use std::path::Path;

use super::array::{Array, Dtype, FIELDS_MAX, Kind, SIDES_MAX, Table, check_name};
use super::pickle::{Global, Id, Node, Pickle};
use super::zip::Archive;
use super::{ImportError, zip::Member};

/// An object without its tensors' numbers has no more bytes than this.
const PICKLE_BYTES_MAX: u64 = 32 << 20;
/// A network has fewer modules, tensors and attributes than this.
const PARTS_MAX: usize = 1 << 20;
/// The names of them all take fewer bytes than this: one text may be part of any number of names.
const NAMES_BYTES_MAX: usize = 64 << 20;
/// Modules lie no deeper in each other than this.
const DEPTH_MAX: usize = 64;

/// The keys under which checkpoints keep a state_dict beside other things.
const STATE_KEYS: [&str; 4] = ["model", "state_dict", "model_state_dict", "module"];

/// The classes and functions that a file of tensors may name.
const TENSOR_GLOBALS: [&str; 6] = [
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch.storage.UntypedStorage",
    "torch.utils.data.dataset.TensorDataset",
];

/// A network as it was saved.
#[derive(Debug, Default)]
pub struct Weights {
    /// The class of the module that was pickled; a state_dict has none.
    pub class: Option<String>,
    /// Tensors by the names of a state_dict: shape and numbers, row-major.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// Plain numbers among the modules' attributes, as `blocks.0.attn.num_heads`.
    pub numbers: BTreeMap<String, f64>,
}

/// Reads a pickled module or a state_dict.
///
/// Whole numbers (counters of batches) and float64 become float32.
///
/// # Errors
/// [`ImportError::Corrupt`], and [`ImportError::Unsupported`] where the file holds no network.
pub fn weights(path: &Path) -> Result<Weights, ImportError> {
    TorchFile::open(Archive::open(path)?)?.weights()
}

/// The tensors of a TensorDataset, tuple or list, named `0`, `1`, …, or of a dict, by its keys.
pub(super) fn table(archive: Archive) -> Result<Table, ImportError> {
    TorchFile::open(archive)?.table()
}

struct TorchFile {
    archive: Archive,
    /// What the members' names begin with.
    folder: String,
    pickle: Pickle,
    big_endian: bool,
}

/// What was found on the way through a network's modules, and how much: modules may hold each other and share tensors,
/// so a small file could name without end.
#[derive(Default)]
struct Walk {
    weights: Weights,
    /// Entries that were looked at.
    parts: usize,
    /// Bytes of numbers, and of names.
    bytes: u64,
    names: usize,
}

impl Walk {
    /// Counts the entries of a dict; `None` where they are too many.
    fn look_at(&mut self, entries: &[(Id, Id)]) -> Option<()> {
        self.parts += entries.len();
        (self.parts <= PARTS_MAX).then_some(())
    }

    /// A name below another; `None` where names become too long.
    fn name(&mut self, prefix: &str, name: &str, end: &str) -> Option<String> {
        self.names += prefix.len() + name.len() + end.len();
        (self.names <= NAMES_BYTES_MAX).then(|| format!("{prefix}{name}{end}"))
    }
}

/// A tensor's storage and its view of it, in elements.
struct Tensor<'a> {
    storage: &'a str,
    dtype: Dtype,
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

impl TorchFile {
    fn open(archive: Archive) -> Result<Self, ImportError> {
        let path = archive.path().to_owned();
        let folder = archive
            .names()
            .find_map(|name| name.strip_suffix("data.pkl"))
            .map(str::to_owned);
        let folder = folder.ok_or_else(|| {
            ImportError::unsupported(&path, "it is a zip archive, but not of torch.save")
        })?;
        let byteorder = format!("{folder}byteorder");
        let big_endian = archive.names().any(|name| name == byteorder)
            && whole(&mut archive.member(&byteorder)?)? == b"big";
        let mut pickle = archive.member(&format!("{folder}data.pkl"))?;
        let pickle = Pickle::parse(whole(&mut pickle)?)
            .map_err(|reason| ImportError::corrupt(&path, format!("its data.pkl: {reason}")))?;
        Ok(Self {
            archive,
            folder,
            pickle,
            big_endian,
        })
    }

    fn weights(&self) -> Result<Weights, ImportError> {
        let root = self.pickle.root();
        let mut walk = Walk::default();
        if let Some((class, _)) = self.module(root) {
            walk.weights.class = Some(class.to_string());
            self.walk(root, "", 0, &mut walk)?;
        } else {
            let state = self.state_dict(root).ok_or_else(|| {
                ImportError::unsupported(
                    self.archive.path(),
                    "it holds no module and no state_dict; save the network with torch.save(model, FILE) or \
                     torch.save(model.state_dict(), FILE)",
                )
            })?;
            self.tensors(state, "", &mut walk)?;
        }
        Ok(walk.weights)
    }

    fn table(&self) -> Result<Table, ImportError> {
        self.check_globals()?;
        let mut table = Table::default();
        for (name, id) in self.named()? {
            let (array, member) = self.array(&name, id, table.members.len())?;
            table.members.push(member);
            table
                .add(name, array)
                .map_err(|reason| ImportError::unsupported(self.archive.path(), reason))?;
        }
        Ok(table)
    }

    /// That the file names no class or function but those of tensors.
    fn check_globals(&self) -> Result<(), ImportError> {
        for global in self.pickle.globals() {
            let is_known = |known: &&str| global.is(known);
            if dtype_of(global).is_none() && !TENSOR_GLOBALS.iter().any(is_known) {
                let reason = format!(
                    "it holds a {global}, which is no tensor; save the tensors alone \
                     (torch.save((image, magnitude, redshift), FILE))"
                );
                return Err(ImportError::unsupported(self.archive.path(), reason));
            }
        }
        Ok(())
    }

    /// The tensors that the file is made of.
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
            let reason = format!("it holds {count} things; at most {FIELDS_MAX} tensors are read");
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
                "it holds no TensorDataset, tuple, list or dict of tensors",
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

    /// What a tensor says of itself; `None` where the node is no tensor.
    fn tensor(&self, id: Id) -> Option<Tensor<'_>> {
        let (function, object) = self.pickle.object(id)?;
        let args = self.pickle.sequence(object.args)?;
        match function.name_in("torch._utils")? {
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => {
                // A parameter is its tensor; one of a parameter would be none of PyTorch's.
                let inner = *args.first()?;
                let (function, _) = self.pickle.object(inner)?;
                let function = function.name_in("torch._utils")?;
                let plain = function.starts_with("_rebuild_tensor_v");
                plain.then(|| self.tensor(inner))?
            }
            "_rebuild_tensor_v2" | "_rebuild_tensor_v3" => self.plain_tensor(args),
            _ => None,
        }
    }

    /// `(storage, offset, size, stride, …)`, with the type of a version 3 behind the hooks.
    fn plain_tensor(&self, args: &[Id]) -> Option<Tensor<'_>> {
        let pickle = &self.pickle;
        let [storage, offset, size, stride, ..] = args else {
            return None;
        };
        let Node::Persistent(storage) = pickle.node(*storage) else {
            return None;
        };
        let [kind, class, key, ..] = pickle.sequence(*storage)? else {
            return None;
        };
        let storage = pickle.text(*key)?;
        if pickle.text(*kind)? != "storage" || check_name(storage).is_err() {
            return None;
        }
        let own = pickle.global(*class).and_then(dtype_of);
        let given = args.get(6).and_then(|&id| pickle.global(id));
        let mut dtype = own.or_else(|| dtype_of(given?))?;
        dtype.big_endian = self.big_endian;
        let whole = |id: Id| -> Option<Vec<u64>> {
            let items = pickle.sequence(id)?;
            let items = (items.len() <= SIDES_MAX).then_some(items)?.iter();
            items
                .map(|&id| u64::try_from(pickle.int(id)?).ok())
                .collect()
        };
        Some(Tensor {
            storage,
            dtype,
            offset: u64::try_from(pickle.int(*offset)?).ok()?,
            shape: whole(*size)?,
            strides: whole(*stride)?,
        })
    }

    /// A tensor as a view of its storage.
    fn array(&self, name: &str, id: Id, member: usize) -> Result<(Array, Member), ImportError> {
        let path = self.archive.path();
        let tensor = self.tensor(id).ok_or_else(|| {
            let what = match self.pickle.object(id) {
                Some((class, _)) => format!("a {class}"),
                None => "no tensor".to_owned(),
            };
            ImportError::unsupported(
                path,
                format!("`{name}` is {what}; tensors of floats are read"),
            )
        })?;
        let storage = self
            .archive
            .member(&format!("{}data/{}", self.folder, tensor.storage))?;
        let corrupt = |reason: String| ImportError::corrupt(path, format!("`{name}`: {reason}"));
        let size = tensor.dtype.bytes as u64;
        let bytes = |elements: u64| {
            elements
                .checked_mul(size)
                .ok_or_else(|| corrupt("its place is beyond every storage".to_owned()))
        };
        let array = Array {
            member,
            dtype: tensor.dtype,
            start: bytes(tensor.offset)?,
            within: 0,
            strides: tensor
                .strides
                .iter()
                .map(|&stride| bytes(stride))
                .collect::<Result<_, _>>()?,
            shape: tensor.shape,
        };
        Ok((array, storage))
    }

    /// The class and the attributes of a module.
    fn module(&self, id: Id) -> Option<(Global<'_>, Id)> {
        let (class, object) = self.pickle.object(id)?;
        let state = object.state?;
        self.pickle.get(state, "_modules")?;
        self.pickle.get(state, "_parameters")?;
        Some((class, state))
    }

    /// A dict of tensors: the root, or what the root keeps under one of the usual keys.
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

    /// A module's tensors and numbers, then those of the modules in it.
    fn walk(&self, id: Id, prefix: &str, depth: usize, walk: &mut Walk) -> Result<(), ImportError> {
        let Some((_, state)) = self.module(id) else {
            return Ok(());
        };
        for part in ["_parameters", "_buffers"] {
            if let Some(dict) = self.pickle.get(state, part) {
                self.tensors(dict, prefix, walk)?;
            }
        }
        let attributes = self.pickle.entries(state).unwrap_or_default();
        walk.look_at(attributes).ok_or_else(|| self.endless())?;
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
        walk.look_at(modules).ok_or_else(|| self.endless())?;
        for &(key, module) in modules {
            let name = self.pickle.text(key).unwrap_or_default();
            let inner = walk.name(prefix, name, ".");
            let inner = inner.filter(|_| depth <= DEPTH_MAX);
            let inner = inner.ok_or_else(|| self.endless())?;
            self.walk(module, &inner, depth + 1, walk)?;
        }
        Ok(())
    }

    fn endless(&self) -> ImportError {
        let reason = "its modules hold each other, or share tensors or names, without end";
        ImportError::corrupt(self.archive.path(), reason)
    }

    /// The tensors of a dict.
    fn tensors(&self, dict: Id, prefix: &str, walk: &mut Walk) -> Result<(), ImportError> {
        let entries = self.pickle.entries(dict).unwrap_or_default();
        walk.look_at(entries).ok_or_else(|| self.endless())?;
        for &(key, value) in entries {
            let Some(name) = self.pickle.text(key) else {
                continue;
            };
            // An unused bias is there as None.
            if self.tensor(value).is_none() {
                continue;
            }
            let name = walk.name(prefix, name, "");
            let name = name.ok_or_else(|| self.endless())?;
            let tensor = self.numbers(&name, value)?;
            walk.bytes += 4 * tensor.1.len() as u64;
            // Half-precision doubles, and a tensor may stand under some names.
            if walk.bytes > 8 * self.archive.bytes() {
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
        // As one row, which may be a single number.
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

/// A small member's bytes.
fn whole(member: &mut Member) -> Result<&[u8], ImportError> {
    if member.size() > PICKLE_BYTES_MAX {
        let reason = format!("its member {} is too large", member.name());
        return Err(ImportError::unsupported(member.path(), reason));
    }
    let range = 0..member.size();
    member.read(range)
}

/// The type of a storage's class, or of a `torch.dtype`.
fn dtype_of(global: Global<'_>) -> Option<Dtype> {
    let (kind, bytes) = match global.name_in("torch")? {
        "FloatStorage" | "float32" => (Kind::Float, 4),
        "DoubleStorage" | "float64" => (Kind::Float, 8),
        "HalfStorage" | "float16" => (Kind::Float, 2),
        "BFloat16Storage" | "bfloat16" => (Kind::BFloat, 2),
        "LongStorage" | "int64" => (Kind::Int, 8),
        "IntStorage" | "int32" => (Kind::Int, 4),
        "ShortStorage" | "int16" => (Kind::Int, 2),
        "CharStorage" | "int8" => (Kind::Int, 1),
        "ByteStorage" | "uint8" => (Kind::Uint, 1),
        "BoolStorage" | "bool" => (Kind::Bool, 1),
        _ => return None,
    };
    Some(Dtype {
        kind,
        bytes,
        big_endian: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file by PyTorch, with some bytes of its object changed.
    fn changed(file: &str, changes: &[(prop::sample::Index, u8)]) -> Option<TorchFile> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data")
            .join(file);
        let file = TorchFile::open(Archive::open(&path).unwrap()).unwrap();
        let pickle = file.archive.member(&format!("{}data.pkl", file.folder));
        let mut bytes = whole(&mut pickle.unwrap()).unwrap().to_vec();
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = *byte;
        }
        let pickle = Pickle::parse(&bytes).ok()?;
        Some(TorchFile { pickle, ..file })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn an_object_that_makes_no_sense_never_panics(
            is_dataset in any::<bool>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let file = if is_dataset { "pytorch-2.11-dataset.pt" } else { "pytorch-2.11-module.pt" };
            if let Some(file) = changed(file, &changes) {
                let _ = file.weights();
                if let Ok(mut table) = file.table() {
                    for field in 0..table.fields.len() {
                        let array = table.fields[field].1.clone();
                        if array.check(table.members[array.member].size()).is_ok() {
                            let _ = table.read(field, 0..array.rows());
                        }
                    }
                }
            }
        }
    }
}
