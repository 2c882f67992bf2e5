//! What two processes of a cluster tell each other first, on each connection between them.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hello::Generation;
use crate::{ClusterError, start::Start};

/// What the process that dials says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// The settings that all processes must agree on.
    pub agreement: Map<String, Value>,
    /// Of a process that wants to join: where it can be reached.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Of a process that wants to join: what it knows from an earlier start of the cluster.
    #[serde(default)]
    pub earlier: Option<Earlier>,
}

/// What a process knows of the generation before this one.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Earlier {
    /// How many processes of that generation are left, this process included.
    pub processes: usize,
    /// The command that the summary counts for.
    pub start: Start,
}

/// What the other process answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The number of the answering process.
    pub process: usize,
    /// The start of the cluster that the answering process belongs to.
    pub generation: Generation,
    /// Its settings.
    pub agreement: Map<String, Value>,
    /// Why the process that dials may not join.
    #[serde(default)]
    pub refusal: Option<String>,
}

/// Makes sure that two processes have the same settings.
///
/// # Errors
/// [`ClusterError::Disagreement`] naming the first setting in which they differ.
pub(super) fn agree(
    processes: [usize; 2],
    ours: &Map<String, Value>,
    theirs: &Map<String, Value>,
) -> Result<(), ClusterError> {
    let mut keys = ours.keys().chain(theirs.keys());
    let Some(key) = keys.find(|key| ours.get(*key) != theirs.get(*key)) else {
        return Ok(());
    };
    let show = |settings: &Map<String, Value>| {
        let value = settings.get(key);
        value.map_or("not set".to_owned(), ToString::to_string)
    };
    Err(ClusterError::Disagreement {
        processes,
        setting: key.clone(),
        values: [show(ours), show(theirs)],
    })
}
