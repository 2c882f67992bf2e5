//! The processes that a cluster has, and which of them this is.
use std::{any::Any, ops::Range};

use timely::communication::{
    AllocatorBuilder, Config, Hooks,
    allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
};

use super::{
    channel::Channel,
    heartbeat::Peer,
    mesh::{Channels, Roster},
    starting,
};
use crate::Error;

/// Where the processes of a cluster are, and which of them this is.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(super) roster: Roster,
    pub(super) workers: usize,
}

impl Cluster {
    /// Processes of the cluster.
    pub fn processes(&self) -> usize {
        self.roster.addresses.len()
    }

    /// Workers in this process.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Whether this process plans and commits.
    pub fn is_leader(&self) -> bool {
        self.roster.process == 0
    }

    /// Processes that share this machine's cores with this one, itself included.
    pub fn processes_here(&self) -> usize {
        let hosts = |addresses: &[String]| -> Vec<String> {
            let hosts = addresses
                .iter()
                .filter_map(|address| address.rsplit_once(':'));
            hosts.map(|(host, _port)| host.to_owned()).collect()
        };
        let here = hosts(&self.roster.addresses[self.roster.process]);
        let addresses = self.roster.addresses.iter();
        addresses.filter(|other| hosts(other) == here).count()
    }

    pub(super) fn alone(workers: usize) -> Self {
        Self {
            roster: Roster {
                generation: Default::default(),
                process: 0,
                addresses: vec![vec!["localhost:0".to_owned()]],
            },
            workers,
        }
    }

    /// The indexes of the workers in this process.
    pub(super) fn range(&self) -> Range<u64> {
        let first = (self.roster.process * self.workers) as u64;
        first..first + self.workers as u64
    }

    /// The workers' ways to all others.
    pub(super) fn allocators(
        &self,
        channels: Channels,
    ) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>), Error> {
        if self.processes() == 1 {
            let alone = Config::Process(self.workers).try_build();
            return alone.map_err(Error::worker);
        }
        let hooks = Hooks::default();
        let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
        let local = ProcessBuilder::new_typed_vector(self.workers, refill, spill);
        let process = self.roster.process;
        let (builders, guard) =
            initialize_networking_from_sockets(local, channels, process, self.workers, hooks)
                .map_err(starting)?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp);
        Ok((builders.collect(), Box::new(guard)))
    }

    pub(super) fn peers(&self, channels: Channels) -> Vec<Peer> {
        let channels = channels.into_iter().enumerate();
        let peer = |(process, channel): (usize, Option<Channel>)| {
            Some(Peer {
                name: format!("process {process} at {}", self.roster.name(process)),
                channel: channel?,
            })
        };
        channels.filter_map(peer).collect()
    }
}
