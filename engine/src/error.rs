//! The errors that end a job.
use crate::{
    cluster_error::ClusterError, output_error::OutputError, settings_error::SettingsError,
};

/// An error that ends a job. What is committed stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A usage error: settings that cannot be used as they are.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A drop that was asked for does not exist: a usage error.
    #[error("{place} has no drop {drop}{}", it_has(.known))]
    NoDrop {
        /// The URL of the catalog.
        place: String,
        /// The drop.
        drop: String,
        /// The drops that exist. Empty if the message does not name them.
        known: Vec<String>,
    },
    /// A catalog, an output or a store.
    #[error(transparent)]
    Connectors(#[from] connectors::Error),
    /// A model.
    #[error(transparent)]
    Models(#[from] models::Error),
    /// The processes of a cluster do not come together, or do not agree.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The output holds predictions of a different model, and `model_change` is not set.
    #[error(
        "{out} holds predictions of model {committed:.12} (drop {drop}), and this is model {model_id:.12}; choose another --out, or give --model-change to go on with this one"
    )]
    ModelDiffers {
        /// The URL of the output.
        out: String,
        /// The id of the model that predicted last.
        committed: String,
        /// The drop that it predicted.
        drop: String,
        /// The id of the model of this job.
        model_id: String,
    },
    /// The output holds predictions with the magnitude in another band. An output has one.
    #[error(
        "{out} holds predictions with {committed} (drop {drop}), and this model's have {now}: an output has one reference band, so choose another --out"
    )]
    ReferenceBandDiffers {
        /// The URL of the output.
        out: String,
        /// The magnitude of the predictions in it.
        committed: String,
        /// A drop of these predictions.
        drop: String,
        /// The magnitude of this job's predictions.
        now: String,
    },
    /// The output is not as this job needs it.
    #[error(transparent)]
    Output(#[from] OutputError),
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
    /// The cluster ends, to begin again at once with the processes that have come meanwhile.
    #[error("more processes have come: the cluster begins again; what is committed stays")]
    Regroup,
    /// No row of a catalog can be trained on.
    #[error("{catalog} has no galaxies to train on in these stretches{why}")]
    NoTrainingRows {
        /// The catalog.
        catalog: String,
        /// The rows that were rejected, and what to do.
        why: String,
    },
    /// A worker stopped.
    #[error("a worker stopped: {how}; what is committed stays, run again to go on")]
    Worker {
        /// The message of its panic, or what else ended it.
        how: String,
    },
}

impl Error {
    /// Whether the settings are wrong, and not a store, a file or this machine.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Settings(_)
                | Self::NoDrop { .. }
                | Self::Connectors(connectors::Error::Url { .. })
                | Self::Models(models::Error::Exists { .. })
        )
    }

    /// Whether another process of the cluster was lost, or did not come in time, so that this one should be started again.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::LostPeer { .. } => true,
            Self::Cluster(error) => error.is_loss(),
            _ => false,
        }
    }

    /// The end of a worker.
    pub fn worker(how: impl Into<String>) -> Self {
        Self::Worker { how: how.into() }
    }

    /// An error of this machine.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}

/// The end of a message that names the drops that exist.
fn it_has(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!("; it has: {}", known.join(", ")),
    }
}
