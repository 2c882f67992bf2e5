//! What can go wrong between a file that people have and a drop or a model.

use std::path::{Path, PathBuf};

/// An error of an import. Nothing of a drop that failed is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged, or not what its name says.
    #[error("{}: {reason}; copy it again from its source", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What was met.
        reason: String,
    },
    /// The file is whole, and holds what is not read.
    #[error("{}: {reason}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What it holds, and what to do.
        reason: String,
    },
    /// The command does not say enough, or not what the files hold: mend it.
    #[error("{}: {reason}", file.display())]
    Columns {
        /// The file.
        file: PathBuf,
        /// Which column, and the flag that decides.
        reason: String,
    },
    /// The place to write to is none for a new drop.
    #[error("{place}: {reason}")]
    Place {
        /// The place.
        place: String,
        /// Why.
        reason: String,
    },
    /// The drop cannot be written.
    #[error("{place}: the drop cannot be written")]
    Write {
        /// The drop.
        place: String,
        /// Why.
        source: crate::drop_writer::WriteError,
    },
}

impl ImportError {
    /// Whether it is the command that is to be mended.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Columns { .. } | Self::Place { .. })
    }

    pub(super) fn io(file: &Path, source: std::io::Error) -> Self {
        let file = file.to_owned();
        // A file that ends too early is damaged, whoever noticed.
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            let reason = "it ends too early".to_owned();
            return Self::Corrupt { file, reason };
        }
        Self::Io { file, source }
    }

    pub(super) fn corrupt(file: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn unsupported(file: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn columns(file: &Path, reason: impl Into<String>) -> Self {
        Self::Columns {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }
}
