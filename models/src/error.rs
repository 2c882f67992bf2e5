//! What can go wrong between a model directory and a photo-z.

use std::fmt;
use std::path::PathBuf;

/// Why a model could not be loaded, or could not predict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the model directory could not be read or written.
    #[error("{}: {what}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, and what to do.
        what: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// `config.json` is not one that this version understands.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The field, what stands there and what is known.
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
        /// What the reader of the format found.
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
        found: Found,
    },
    /// The file holds a tensor that the configuration has no place for.
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
        /// What is wrong with it.
        reason: String,
    },
    /// A network of another program is none that is known here.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// The file that it came from.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// The file to be written exists, with other content.
    #[error(
        "{}: exists, and holds another model; choose another directory, or remove it",
        path.display()
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// The state belongs to another training.
    #[error(
        "{}: the state of another training (other settings, rows or network); \
         give the settings it was begun with, or choose another directory",
        path.display()
    )]
    State {
        /// The state's file.
        path: PathBuf,
    },
    /// A training went astray.
    #[error(
        "the loss is no number after step {step}: lower the learning rate, or look for odd rows"
    )]
    Diverged {
        /// The step.
        step: u64,
    },
    /// The batch does not fit the model.
    #[error("the batch does not fit the model: {0}")]
    Inputs(String),
    /// The device asked for is not to be had.
    #[error("{0}")]
    Device(String),
    /// libtorch refused an operation (out of memory is the usual reason).
    #[error("libtorch refused an operation")]
    Torch(#[from] tch::TchError),
}

/// The shape that stands in the place of the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No tensor of that name.
    Nothing,
    /// A tensor of this shape.
    Shape(Vec<usize>),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("no such tensor"),
            Found::Shape(shape) => write!(f, "{shape:?}"),
        }
    }
}
