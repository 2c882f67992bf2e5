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
    /// Another process has refused this one.
    #[error("{reason}")]
    Refused {
        /// What the other process said.
        reason: String,
    },
}
