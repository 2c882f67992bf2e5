//! The errors of making a sample survey.
use std::path::PathBuf;

use connectors::drop_writer::WriteError;
use object_store::path::Path;

/// An error of making a sample survey.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// The settings contradict each other.
    #[error("{0}")]
    Arguments(String),
    /// The place to write to is not empty.
    #[error("{0} is not empty: name a new place for the survey, or delete what is there first")]
    NotEmpty(Path),
    /// The table of real galaxies could not be read.
    #[error("could not read the photometry {path}")]
    PhotometryFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The table of real galaxies cannot be parsed.
    #[error("photometry {name}, line {line}: {reason}")]
    Photometry {
        /// The name of the table.
        name: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with the line.
        reason: String,
    },
    /// The place of the survey could not be listed.
    #[error("could not list the place of the survey")]
    Store(#[from] object_store::Error),
    /// A batch of rows could not be made.
    #[error("could not make a batch of rows")]
    Arrow(#[from] arrow::error::ArrowError),
    /// A drop could not be written.
    #[error("could not write a drop")]
    Drop(#[from] WriteError),
    /// Threads could not be started.
    #[error("could not start threads to render with")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A thread panicked or was cancelled.
    #[error("a thread that renders stopped")]
    Stopped(#[from] tokio::task::JoinError),
}

impl SampleError {
    /// Whether this is a usage error, not an error of the store or of this machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Arguments(_)
                | Self::NotEmpty(_)
                | Self::PhotometryFile { .. }
                | Self::Photometry { .. }
        )
    }
}
