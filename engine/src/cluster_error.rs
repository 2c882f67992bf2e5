//! Why the processes of a cluster do not come together.

/// The processes of a cluster do not come together, or do not agree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A process did not join in time.
    #[error(
        "process {process} at {host} did not join within {seconds} s ({source}); start it, or mend --hosts"
    )]
    NotJoined {
        /// The process.
        process: usize,
        /// Its address in the hosts file.
        host: String,
        /// How long the others waited for it.
        seconds: u64,
        /// What the last try to reach it met.
        source: std::io::Error,
    },
    /// Too few processes came together.
    #[error(
        "{came} of {wanted} processes came to {place} within {seconds} s ({source}); start the others with the same --rendezvous and --cluster-key, or give --gather more time"
    )]
    NotGathered {
        /// The URL of the place where they meet.
        place: String,
        /// How many came, this one included.
        came: usize,
        /// How many the cluster needs.
        wanted: usize,
        /// How long they waited for each other.
        seconds: u64,
        /// What the last try met.
        source: std::io::Error,
    },
    /// A process left while the others were waiting for the rest.
    #[error("process {process} at {host} left before the cluster had started; start it again")]
    LeftAtStart {
        /// The process.
        process: usize,
        /// Its address.
        host: String,
    },
    /// A process answers at an address where the hosts file has another.
    #[error(
        "process {there} answers at {host}, where --hosts has process {expected}; give all processes the same hosts file"
    )]
    WrongProcess {
        /// The address.
        host: String,
        /// The process that the hosts file has there.
        expected: usize,
        /// The process that is there.
        there: usize,
    },
    /// Two processes were started with different settings.
    #[error("processes {} and {} disagree: {setting} is {} here and {} there; start all processes with the same settings", .processes[0], .processes[1], .values[0], .values[1])]
    Disagreement {
        /// This process, and the other.
        processes: [usize; 2],
        /// The name of the setting.
        setting: String,
        /// Its values in JSON, here and there.
        values: [String; 2],
    },
    /// The run was told to end before all processes had come.
    #[error("told to end before the cluster had started")]
    ToldToEnd,
    /// Another process has refused this one.
    #[error("{reason}")]
    Refused {
        /// What the other process said.
        reason: String,
    },
}

impl ClusterError {
    /// Whether it may go better another time. A wrong key does not become right.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::LeftAtStart { .. } => true,
            Self::NotJoined { source, .. } | Self::NotGathered { source, .. } => {
                source.kind() != std::io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}
