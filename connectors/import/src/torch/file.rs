//! An archive of `torch.save`: the object and its tensors.

use crate::array::{AXES_MAX, ArrayView};
use crate::dtype::{Dtype, ElementKind};
use crate::error::ImportError;
use crate::named_arrays::check_name;
use crate::pickle::{Global, Id, Node, Pickle};
use crate::zip::{Archive, Member};

/// Upper bound on the size of an object without the numbers of its tensors.
const PICKLE_BYTES_MAX: u64 = 32 << 20;

/// An archive whose object is read.
pub(super) struct TorchFile {
    pub(super) archive: Archive,
    /// The prefix of the names of all members.
    pub(super) folder: String,
    pub(super) pickle: Pickle,
    pub(super) big_endian: bool,
}

/// A tensor: its storage, and its view of the storage in elements.
pub(super) struct StoredTensor<'a> {
    storage: &'a str,
    dtype: Dtype,
    offset: u64,
    shape: Vec<u64>,
    strides: Vec<u64>,
}

impl TorchFile {
    /// Reads the object of an archive.
    pub(super) fn open(archive: Archive) -> Result<Self, ImportError> {
        let path = archive.path().to_owned();
        let folder = archive
            .names()
            .find_map(|name| name.strip_suffix("data.pkl"))
            .map(str::to_owned);
        let folder = folder.ok_or_else(|| {
            ImportError::unsupported(&path, "it is a zip archive, but not a file of torch.save")
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

    /// The tensor at a node, or `None` if the node is not a tensor.
    pub(super) fn tensor(&self, id: Id) -> Option<StoredTensor<'_>> {
        let (function, object) = self.pickle.object(id)?;
        let args = self.pickle.sequence(object.args)?;
        match function.name_in("torch._utils")? {
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => {
                // A parameter wraps a tensor. PyTorch does not write parameters of parameters.
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

    /// The tensor of the arguments `(storage, offset, size, stride, …)`. Version 3 has the type after the hooks.
    fn plain_tensor(&self, args: &[Id]) -> Option<StoredTensor<'_>> {
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
            let items = (items.len() <= AXES_MAX).then_some(items)?.iter();
            items
                .map(|&id| u64::try_from(pickle.int(id)?).ok())
                .collect()
        };
        Some(StoredTensor {
            storage,
            dtype,
            offset: u64::try_from(pickle.int(*offset)?).ok()?,
            shape: whole(*size)?,
            strides: whole(*stride)?,
        })
    }

    /// A tensor as a view of its storage.
    pub(super) fn array(
        &self,
        name: &str,
        id: Id,
        member: usize,
    ) -> Result<(ArrayView, Member), ImportError> {
        let path = self.archive.path();
        let tensor = self.tensor(id).ok_or_else(|| {
            let what = match self.pickle.object(id) {
                Some((class, _)) => format!("a {class}"),
                None => "not a tensor".to_owned(),
            };
            ImportError::unsupported(
                path,
                format!("`{name}` is {what}; only tensors of plain numbers are read"),
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
                .ok_or_else(|| corrupt("its offset or its strides are too large".to_owned()))
        };
        let array = ArrayView {
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
}

/// All bytes of a small member.
pub(super) fn whole(member: &mut Member) -> Result<&[u8], ImportError> {
    if member.size() > PICKLE_BYTES_MAX {
        let reason = format!("its member {} is too large", member.name());
        return Err(ImportError::unsupported(member.path(), reason));
    }
    let range = 0..member.size();
    member.read(range)
}

/// The type of the class of a storage, or of a `torch.dtype`.
pub(super) fn dtype_of(global: Global<'_>) -> Option<Dtype> {
    let (kind, bytes) = match global.name_in("torch")? {
        "FloatStorage" | "float32" => (ElementKind::Float, 4),
        "DoubleStorage" | "float64" => (ElementKind::Float, 8),
        "HalfStorage" | "float16" => (ElementKind::Float, 2),
        "BFloat16Storage" | "bfloat16" => (ElementKind::BFloat, 2),
        "LongStorage" | "int64" => (ElementKind::Int, 8),
        "IntStorage" | "int32" => (ElementKind::Int, 4),
        "ShortStorage" | "int16" => (ElementKind::Int, 2),
        "CharStorage" | "int8" => (ElementKind::Int, 1),
        "ByteStorage" | "uint8" => (ElementKind::Uint, 1),
        "BoolStorage" | "bool" => (ElementKind::Bool, 1),
        _ => return None,
    };
    Some(Dtype {
        kind,
        bytes,
        big_endian: false,
    })
}
