//! What ends a command, and the exit code it ends with.
use connectors::drop_writer::WriteError;
use hubbleflow::SettingsError;
use import::ImportError;
use sample::SampleError;

/// The exit code of a process that has lost another process of its cluster, and should be started again: EX_TEMPFAIL of
/// sysexits.h.
pub const LOST: u8 = 75;

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A usage error.
    #[error("{0}")]
    Usage(String),
    /// A job, an output, a training.
    #[error(transparent)]
    Hubbleflow(#[from] hubbleflow::Error),
    /// A file to be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A sample survey.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// A cluster of this machine crashed too often.
    #[error("{0}")]
    Crashed(String),
}

impl Error {
    /// A usage error.
    pub fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }

    /// An error of this machine.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        hubbleflow::Error::io(what, source).into()
    }

    /// The system starts no more threads for this process.
    pub fn no_threads(source: std::io::Error) -> Self {
        Self::io(
            "the system starts no more threads for this user; raise the limit (ulimit -u), or lower --threads and --workers",
            source,
        )
    }

    /// Why there is no sample survey at a URL. An error of the store says what to do about it.
    pub fn sample(url: &str, error: SampleError) -> Self {
        match error {
            SampleError::Store(source) | SampleError::Drop(WriteError::Store(source)) => {
                connectors::Error::store(url, source).into()
            }
            error => error.into(),
        }
    }

    /// The exit code: 2 for a usage error, 75 if another process of the cluster was lost, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Hubbleflow(error) if error.is_loss()) {
            return LOST;
        }
        let is_usage = match self {
            Self::Usage(_) => true,
            Self::Hubbleflow(error) => error.is_usage(),
            Self::Import(error) => error.is_usage(),
            Self::Sample(error) => error.is_usage(),
            Self::Crashed(_) => false,
        };
        if is_usage { 2 } else { 1 }
    }
}

impl From<connectors::Error> for Error {
    fn from(error: connectors::Error) -> Self {
        Self::Hubbleflow(error.into())
    }
}

impl From<models::Error> for Error {
    fn from(error: models::Error) -> Self {
        Self::Hubbleflow(error.into())
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Self::Hubbleflow(error.into())
    }
}
