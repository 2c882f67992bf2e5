//! What can go wrong with a job as a whole.

/// An error that ends a job. What is committed stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A usage error: settings that cannot be used as they are.
    #[error("{0}")]
    Usage(String),
    /// A catalog, an output or a store.
    #[error(transparent)]
    Connectors(#[from] connectors::Error),
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
    /// Another process of the cluster is gone: it ended, hangs, or its network does.
    #[error("{how}; what is committed stays, run again to go on")]
    LostPeer {
        /// Which process, and how it was lost.
        how: String,
    },
    /// A worker stopped.
    #[error("a worker stopped: {0}; what is committed stays, run again to go on")]
    Worker(String),
}

impl Error {
    /// Whether the settings are wrong, and not a store, a file or this machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Usage(_)
                | Self::Connectors(connectors::Error::Url { .. })
                | Self::Models(models::Error::Exists { .. })
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
