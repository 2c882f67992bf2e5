//! The loss of a process: its reason, and the end of all connections.
//!
//! Timely waits for ever for a process that is gone. The workers of this process look here between their steps, and the
//! connections are shut down, so that the threads that read and write them end too.
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::channel::Channel;

/// How long to wait for a heartbeat to say which process is lost, after a connection broke.
const REASON_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether, and how, a process of the cluster was lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost(Arc<OnceLock<String>>);

impl Lost {
    /// How the first lost process was lost.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Waits a moment for the reason.
    pub fn wait(&self) -> Option<&str> {
        let mut waited = Duration::ZERO;
        while self.0.get().is_none() && waited < REASON_PATIENCE {
            std::thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
        self.reason()
    }

    /// Takes down a loss, and cuts the connections between workers.
    pub(super) fn lose(&self, how: &str, channels: &[Channel]) {
        self.0.get_or_init(|| how.to_owned());
        channels.iter().for_each(Channel::cut);
    }
}
