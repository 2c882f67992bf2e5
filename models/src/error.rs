//! The errors of this crate, split by what a user would do about them.

use std::fmt;
use std::path::PathBuf;

/// The reason why a model could not be read, written, trained or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The attempt, and what to do.
        what: &'static str,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// This version does not understand `config.json`.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The field, its value and the known values.
        reason: String,
    },
    /// `model.safetensors` is damaged.
    #[error(
        "{}: not a whole safetensors file (truncated or damaged); copy it again from its source",
        path.display()
    )]
    Corrupt {
        /// The weights' file.
        path: PathBuf,
        /// The error of the reader of the format.
        source: safetensors::SafeTensorError,
    },
    /// A tensor that the configuration needs is missing, or has another shape.
    #[error(
        "{}: tensor `{tensor}`: expected shape {expected:?}, found {found}; \
         config.json and the weights do not belong together",
        path.display()
    )]
    Misfit {
        /// The weights' file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: FoundShape,
    },
    /// The file holds a tensor that does not belong to the configuration.
    #[error(
        "{}: tensor `{tensor}` of shape {found:?} is not part of this configuration; \
         check `encoder` and `branches` in config.json",
        path.display()
    )]
    Unexpected {
        /// The weights' file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's numbers cannot be used as weights.
    #[error("{}: tensor `{tensor}`: {reason}", path.display())]
    Tensor {
        /// The weights' file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The reason.
        reason: String,
    },
    /// The tensors of another program do not make a network that this crate knows.
    #[error("{}: {reason}", path.display())]
    Import {
        /// The file that the tensors came from.
        path: PathBuf,
        /// The tensor or attribute that does not fit, and what to do.
        reason: String,
    },
    /// A module of PyTorch is not what its configuration says, or it failed.
    #[error("{}: {reason}", path.display())]
    Module {
        /// The module's file.
        path: PathBuf,
        /// What was expected, and what came.
        reason: String,
    },
    /// The file to be written exists and has other content.
    #[error(
        "{}: exists, and holds another model; choose another directory, or remove it",
        path.display()
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The state is that of another training.
    #[error(
        "{}: the state of another training (other settings, rows or network); \
         give the settings it was begun with, or choose another directory",
        path.display()
    )]
    State {
        /// The state's file.
        path: PathBuf,
    },
    /// The loss of a training became NaN or infinite.
    #[error(
        "the loss is not a finite number after step {step}: lower the learning rate, or look for odd rows"
    )]
    Diverged {
        /// The step.
        step: u64,
    },
    /// The batch does not fit the model.
    #[error("the batch does not fit the model: {0}")]
    Inputs(String),
    /// The model does not give the output that it is asked for.
    #[error("{0}")]
    Outputs(String),
    /// A device, a precision or instructions that are unknown or not available, or a device that has failed for good.
    #[error("{0}")]
    Device(String),
    /// libtorch refused an operation. The usual reason is that memory is short.
    #[error("libtorch refused an operation")]
    Torch(#[from] tch::TchError),
}

/// The shape that was found instead of the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundShape {
    /// There is no tensor of that name.
    Nothing,
    /// There is a tensor of this shape.
    Shape(Vec<usize>),
}

impl fmt::Display for FoundShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FoundShape::Nothing => f.write_str("no such tensor"),
            FoundShape::Shape(shape) => write!(f, "{shape:?}"),
        }
    }
}
