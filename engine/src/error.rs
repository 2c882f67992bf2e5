//! What can go wrong with a job as a whole, and the exit code it ends with.

use connectors::drop_writer::WriteError;

use crate::sample::SampleError;

/// An error that ends a job. What is committed stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command cannot be carried out as it stands: mend it.
    #[error("{0}")]
    Usage(String),
    /// A catalog, an output or a store.
    #[error(transparent)]
    Connectors(#[from] connectors::Error),
    /// A file to be imported.
    #[error(transparent)]
    Import(#[from] connectors::import::ImportError),
    /// A model.
    #[error(transparent)]
    Models(#[from] models::Error),
    /// The processes of a cluster do not come together, or do not agree.
    #[error("{0}")]
    Cluster(String),
    /// The output holds what this job would not go on with.
    #[error("{0}")]
    Output(String),
    /// A file or a thread of this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, to which file.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A sample survey.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A worker stopped.
    #[error("a worker stopped: {0}; what is committed stays, run again to go on")]
    Worker(String),
}

impl Error {
    /// The exit code: 2 for a command to mend, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Connectors(connectors::Error::Url { .. }) => 2,
            Self::Models(models::Error::Exists { .. }) => 2,
            Self::Import(error) if error.is_usage() => 2,
            Self::Sample(error) if error.is_usage() => 2,
            _ => 1,
        }
    }

    /// Why there is no sample survey at a URL; what a store says is sorted by what to do about it.
    pub fn sample(url: &str, error: SampleError) -> Self {
        match error {
            SampleError::Store(source) | SampleError::Drop(WriteError::Store(source)) => {
                connectors::Error::store(url, source).into()
            }
            error => error.into(),
        }
    }

    /// The system starts no more threads for this process.
    pub fn no_threads(source: std::io::Error) -> Self {
        Self::io(
            "the system starts no more threads for this user; raise the limit (ulimit -u), or lower --threads and --workers",
            source,
        )
    }

    /// An error of this machine.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
