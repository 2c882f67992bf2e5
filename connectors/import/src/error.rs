//! The errors of an import.

use std::path::{Path, PathBuf};

/// An error of an import. After an error nothing of the drop is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{}: cannot be read", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is damaged or of another format.
    #[error("{}: {reason}; copy it again from its source", file.display())]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What is wrong with the file.
        reason: String,
    },
    /// The file is intact, but its content is not supported.
    #[error("{}: {reason}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// What the file holds, and what to do.
        reason: String,
    },
    /// The files lack a column that the settings do not provide: a usage error.
    #[error("{}: {reason}", file.display())]
    Columns {
        /// The file.
        file: PathBuf,
        /// Which column is missing, and the flag that provides it.
        reason: String,
    },
    /// The place is taken, or is not a place for a new drop: a usage error.
    #[error("{place}: {reason}")]
    Place {
        /// The place.
        place: String,
        /// Why it is refused.
        reason: String,
    },
    /// The drop cannot be written.
    #[error("{place}: the drop cannot be written")]
    Write {
        /// The drop.
        place: String,
        /// The cause.
        source: connectors::drop_writer::WriteError,
    },
}

impl ImportError {
    /// Whether this is a usage error.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Columns { .. } | Self::Place { .. })
    }

    pub(crate) fn io(file: &Path, source: std::io::Error) -> Self {
        let file = file.to_owned();
        // A file that ends too early is damaged, also if the system reports it.
        if source.kind() == std::io::ErrorKind::UnexpectedEof {
            let reason = "it ends too early".to_owned();
            return Self::Corrupt { file, reason };
        }
        Self::Io { file, source }
    }

    pub(crate) fn corrupt(file: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(file: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn columns(file: &Path, reason: impl Into<String>) -> Self {
        Self::Columns {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }
}
