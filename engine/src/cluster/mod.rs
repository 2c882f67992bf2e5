//! The processes of a cluster: how they find each other, that no stranger is among them, and that they agree on what they
//! do.
//!
//! ```text
//! settings   key, hosts                 what a user says
//! joining ──► members                   a process joins; who is there
//! rendezvous ◄── gathering, leading     they find each other through a store: one process gathers the others
//! mesh ──► line, greeting, hello        they connect, each with each: prove the key, greet, agree
//! door, address                         where a process listens, and who gets in
//! channel ──► noise, message_bound      a connection, encrypted and bounded
//! heartbeat, lost                       whether the others are still there
//! ```
mod address;
mod channel;
mod door;
mod gathering;
mod greeting;
mod heartbeat;
mod hello;
mod hosts;
mod joining;
mod key;
mod leading;
mod line;
mod lost;
mod members;
mod mesh;
mod message_bound;
mod noise;
mod rendezvous;
mod settings;

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use operators::Shutdown;
use serde_json::{Map, Value};
use timely::communication::AllocatorBuilder;

use crate::{Error, start::Start};
use door::Door;
use heartbeat::Heartbeats;

#[cfg(fuzzing)]
pub use door::fuzz_greeting;
pub use hosts::read_hosts;
pub(crate) use joining::Joining;
pub use key::ClusterKey;
pub(crate) use lost::Lost;
pub(crate) use members::Cluster;
pub(crate) use rendezvous::Rendezvous;
pub use settings::{ClusterSettings, Meeting};

/// A process that has joined its cluster.
pub(crate) struct Joined {
    /// The cluster.
    pub cluster: Cluster,
    /// Its workers' ways to all others.
    pub builders: Vec<AllocatorBuilder>,
    /// What keeps their connections.
    pub guard: Box<dyn Any + Send>,
    /// Tells the other processes that this one is there.
    pub heartbeats: Heartbeats,
    /// Whether one of the others was lost.
    pub lost: Lost,
    /// Where a leader can be reached while the cluster runs.
    pub reception: Option<Reception>,
    /// Asks the cluster to begin again, at another size.
    pub regroup: Regroup,
    /// The command that the summary counts for, if the processes have met through a store.
    pub start: Option<Start>,
}

impl Joined {
    /// What an observer is told.
    pub fn gathered(&self) -> crate::Gathered {
        crate::Gathered {
            process: self.cluster.roster.process,
            processes: self.cluster.processes(),
            start: self.start.clone(),
        }
    }
}

/// Asks the processes of a cluster to store what is done, to end, and to begin again with those that have come.
#[derive(Clone)]
pub(crate) struct Regroup {
    shutdown: Shutdown,
    is_asked: Arc<AtomicBool>,
}

impl Regroup {
    /// Asks this process.
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        self.shutdown.ask();
    }

    /// Whether the cluster is to begin again.
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }
}

/// Answers processes that come while the cluster runs.
pub(crate) struct Reception {
    door: Door,
    rendezvous: Rendezvous,
    number: u64,
    agreement: Map<String, Value>,
    room: usize,
}

impl Reception {
    /// Answers processes that come. Returns when a process waits for which the cluster has room.
    pub async fn receive(&mut self) {
        leading::receive(&mut self.door, &self.agreement, self.room).await;
    }

    /// Removes the invitation: the cluster is over.
    pub async fn close(self) {
        // The next cluster removes an invitation that is left.
        let _ = self.rendezvous.clear(self.number).await;
    }
}

fn starting(source: std::io::Error) -> Error {
    Error::io("starting the connections of the cluster", source)
}
