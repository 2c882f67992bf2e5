//! The settings of a cluster.
use std::{ops::RangeInclusive, time::Duration};

use super::key::ClusterKey;
use crate::SettingsError;

/// Upper bound on the workers of all processes together.
const WORKERS_MAX: usize = 4096;
/// How long processes wait for each other, unless a setting says otherwise.
const GATHER: Duration = Duration::from_secs(60);
const GATHER_ANY: Duration = Duration::from_secs(30);

/// The cluster that a process belongs to.
///
/// ```
/// use hubbleflow::cluster::{ClusterKey, ClusterSettings};
///
/// let two = ClusterSettings::at_hosts(vec!["node-a:7001".to_owned(), "node-b:7001".to_owned()], 0);
/// let any = ClusterSettings {
///     key: Some(ClusterKey::generate()?),
///     ..ClusterSettings::by_rendezvous(2..=8)
/// };
/// assert!(any.gather < two.gather);
/// # Ok::<(), hubbleflow::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// How the processes find each other.
    pub meeting: Meeting,
    /// The key that all of them have: it encrypts what they say, and keeps others out.
    pub key: Option<ClusterKey>,
    /// Let other machines connect although there is no key. Without a key, a process is reached on its own machine alone.
    pub is_insecure: bool,
    /// How long the processes wait for each other at the start.
    pub gather: Duration,
}

/// How the processes of a cluster find each other.
#[derive(Clone, Debug)]
pub enum Meeting {
    /// At addresses that are known before.
    Hosts {
        /// The address of each process, `HOST:PORT`.
        hosts: Vec<String>,
        /// The number of this process, from 0. Process 0 leads.
        process: usize,
    },
    /// Through a store: one leads, and gives the others their numbers.
    Rendezvous {
        /// How many processes the cluster may have. It waits for the highest number, and begins with the lowest if no more
        /// come in time.
        processes: RangeInclusive<usize>,
        /// The URL of the place where they meet; `None` for one below the output.
        url: Option<String>,
        /// Where the others can reach this process, `HOST` or `HOST:PORT`; `None` for any address of this machine.
        advertise: Option<String>,
        /// How many processes of an earlier start of the cluster are left, this one included.
        left: Option<usize>,
    },
}

impl ClusterSettings {
    /// A cluster whose processes are at these addresses, `HOST:PORT`. Process 0 leads.
    pub fn at_hosts(hosts: Vec<String>, process: usize) -> Self {
        Self::new(Meeting::Hosts { hosts, process }, GATHER)
    }

    /// A cluster whose processes meet below their output.
    pub fn by_rendezvous(processes: RangeInclusive<usize>) -> Self {
        let is_fixed = processes.start() == processes.end();
        let meeting = Meeting::Rendezvous {
            processes,
            url: None,
            advertise: None,
            left: None,
        };
        Self::new(meeting, if is_fixed { GATHER } else { GATHER_ANY })
    }

    fn new(meeting: Meeting, gather: Duration) -> Self {
        Self {
            meeting,
            key: None,
            is_insecure: false,
            gather,
        }
    }

    /// Whether other machines may connect.
    pub(super) fn is_open(&self) -> bool {
        self.key.is_some() || self.is_insecure
    }

    /// Whether the cluster may begin with fewer processes than it may have, and change its size.
    pub fn is_elastic(&self) -> bool {
        match &self.meeting {
            Meeting::Hosts { .. } => false,
            Meeting::Rendezvous { processes, .. } => processes.start() < processes.end(),
        }
    }

    /// The number of this process, if it is known before the processes meet.
    pub(crate) fn process(&self) -> Option<usize> {
        match self.meeting {
            Meeting::Hosts { process, .. } => Some(process),
            Meeting::Rendezvous { .. } => None,
        }
    }

    /// The highest number of processes.
    pub(super) fn processes_max(&self) -> usize {
        match &self.meeting {
            Meeting::Hosts { hosts, .. } => hosts.len(),
            Meeting::Rendezvous { processes, .. } => *processes.end(),
        }
    }

    /// How many processes there may be, as the command line says it.
    pub(crate) fn sizes(&self) -> String {
        match &self.meeting {
            Meeting::Rendezvous { processes, .. } if self.is_elastic() => {
                format!("{}..{}", processes.start(), processes.end())
            }
            _ => self.processes_max().to_string(),
        }
    }

    /// Refuses numbers that do not fit.
    pub(crate) fn check(&self, workers: usize) -> Result<(), SettingsError> {
        let processes = self.processes_max();
        if let Some(process) = self.process().filter(|&process| process >= processes) {
            return Err(SettingsError::Process { process, processes });
        }
        if processes.saturating_mul(workers) > WORKERS_MAX {
            return Err(SettingsError::ClusterWorkers {
                processes,
                workers,
                max: WORKERS_MAX,
            });
        }
        Ok(())
    }
}
