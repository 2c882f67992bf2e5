//! The processes of a cluster: how they find each other, that no stranger is among them, and that they agree on what they
//! do.
//!
//! ```text
//! settings   key, hosts                 what a user says
//! rendezvous ◄── gathering              they find each other through a store: one leads and gathers the others
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
mod key;
mod line;
mod lost;
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
    time::Duration,
};

use connectors::Location;
use operators::Shutdown;
use serde_json::{Map, Value};
use timely::communication::{
    AllocatorBuilder, Config, Hooks,
    allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
};

use crate::{ClusterError, Error, Observer, SettingsError, Stop, clock::clock};
use door::Door;
use gathering::{Gathered, Gathering};
use greeting::Earlier;
use heartbeat::{Heartbeats, Listener, Peer};
use mesh::{Channels, Connecting, Mesh, Roster};
use rendezvous::Rendezvous;

#[cfg(fuzzing)]
pub use door::fuzz_greeting;
pub use hosts::read_hosts;
pub use key::ClusterKey;
pub(crate) use lost::Lost;
pub use settings::{ClusterSettings, Meeting};

/// How long processes that have come together may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(15);

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
    pub command: Option<String>,
}

impl Joined {
    /// What an observer is told.
    pub fn gathered(&self) -> crate::Gathered {
        crate::Gathered {
            process: self.cluster.roster.process,
            processes: self.cluster.processes(),
            command: self.command.clone(),
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

/// Where the processes of a cluster are, and which of them this is.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    roster: Roster,
    workers: usize,
}

/// What a process joins its cluster with.
pub(crate) struct Joining<'a> {
    /// The settings of the cluster; `None` for a process alone.
    pub settings: Option<&'a ClusterSettings>,
    /// Workers in each process.
    pub workers: usize,
    /// The place to meet, if the processes meet through a store.
    pub place: Option<Place>,
    /// The settings that all processes must agree on.
    pub agreement: Map<String, Value>,
    /// The command that the summary counts for, if it was started before.
    pub command: Option<String>,
    /// Is asked to end the run when the cluster is to begin again.
    pub shutdown: Shutdown,
    /// Receives what happens.
    pub observer: Arc<dyn Observer>,
}

/// A place where processes meet.
pub(crate) enum Place {
    /// A place of its own.
    At(Location),
    /// A folder of an output.
    Below(Location),
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

    fn alone(workers: usize) -> Self {
        Self {
            roster: Roster {
                epoch: Default::default(),
                process: 0,
                addresses: vec![vec!["localhost:0".to_owned()]],
            },
            workers,
        }
    }

    fn range(&self) -> std::ops::Range<u64> {
        let first = (self.roster.process * self.workers) as u64;
        first..first + self.workers as u64
    }

    /// The workers' ways to all others.
    fn allocators(
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

    fn peers(&self, channels: Channels) -> Vec<Peer> {
        let channels = channels.into_iter().enumerate();
        let peer = |(process, channel): (usize, Option<channel::Channel>)| {
            Some(Peer {
                name: format!("process {process} at {}", self.roster.name(process)),
                channel: channel?,
            })
        };
        channels.filter_map(peer).collect()
    }
}

impl Joining<'_> {
    /// Finds the other processes, connects with them and makes sure that all agree, unless the run is told to end first.
    ///
    /// # Errors
    /// [`Error::Cluster`] naming the process that is missing, or what it disagrees about.
    pub async fn join(&self, mut stop: Stop) -> Result<Joined, Error> {
        let told = async {
            if stop.wait_for(|&stop| stop).await.is_err() {
                // Nobody can tell it any more.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            joined = self.come_together() => joined,
            () = told => Err(ClusterError::ToldToEnd.into()),
        }
    }

    /// Works without other processes.
    ///
    /// # Errors
    /// [`Error::Worker`] if timely cannot be started.
    pub fn alone(&self) -> Result<Joined, Error> {
        self.start(Cluster::alone(self.workers), Mesh::default(), None)
    }

    async fn come_together(&self) -> Result<Joined, Error> {
        let (settings, place) = match (self.settings, &self.place) {
            (None, _) => return self.alone(),
            (Some(settings), place) => (settings, place),
        };
        match (&settings.meeting, place) {
            (Meeting::Hosts { hosts, process }, _) => {
                self.join_hosts(settings, hosts, *process).await
            }
            (Meeting::Rendezvous { .. }, Some(place)) => {
                let rendezvous = match place {
                    Place::At(location) => Rendezvous::at(location.clone()),
                    Place::Below(output) => Rendezvous::below(output.clone()),
                };
                self.meet(settings, rendezvous).await
            }
            (Meeting::Rendezvous { .. }, None) => Err(SettingsError::NoRendezvous.into()),
        }
    }

    async fn join_hosts(
        &self,
        settings: &ClusterSettings,
        hosts: &[String],
        process: usize,
    ) -> Result<Joined, Error> {
        let address = address::at_host(&hosts[process], settings.is_open()).await?;
        let mut door = self.open(settings, address).await?;
        let connecting = Connecting {
            roster: Roster {
                epoch: Default::default(),
                process,
                addresses: hosts.iter().map(|host| vec![host.clone()]).collect(),
            },
            agreement: &self.agreement,
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience: settings.gather,
            deadline: clock() + settings.gather,
        };
        let (mesh, roster) = connecting.connect(&mut door).await?;
        let workers = self.workers;
        self.start(Cluster { roster, workers }, mesh, None)
    }

    async fn meet(
        &self,
        settings: &ClusterSettings,
        rendezvous: Rendezvous,
    ) -> Result<Joined, Error> {
        let Meeting::Rendezvous {
            processes,
            advertise,
            left,
            ..
        } = &settings.meeting
        else {
            return Err(SettingsError::NoRendezvous.into());
        };
        let (advertise, is_open) = (advertise.as_deref(), settings.is_open());
        let address = address::to_advertise(advertise, is_open)?;
        let mut door = self.open(settings, address).await?;
        let gathering = Gathering {
            rendezvous: &rendezvous,
            processes: processes.clone(),
            addresses: address::addresses(advertise, door.port, is_open)?,
            agreement: &self.agreement,
            earlier: left.map(|processes| Earlier {
                processes,
                command: self.command.clone(),
            }),
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience: settings.gather,
            deadline: clock() + settings.gather,
        };
        let Gathered {
            roster,
            number,
            command,
        } = gathering.gather(&mut door).await?;
        let connecting = Connecting {
            roster,
            agreement: &self.agreement,
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience: CONNECT_MAX,
            deadline: clock() + CONNECT_MAX,
        };
        // All were there a moment ago: one that does not connect now is lost.
        let connected = connecting.connect(&mut door).await;
        let (mesh, roster) = connected.map_err(|error| match error {
            Error::Cluster(error) => Error::LostPeer {
                how: error.to_string(),
            },
            error => error,
        })?;
        let reception = (roster.process == 0).then(|| Reception {
            room: processes.end() - roster.addresses.len(),
            agreement: self.agreement.clone(),
            rendezvous,
            number,
            door,
        });
        let workers = self.workers;
        let mut joined = self.start(Cluster { roster, workers }, mesh, reception)?;
        joined.command = Some(command);
        Ok(joined)
    }

    async fn open(
        &self,
        settings: &ClusterSettings,
        address: std::net::SocketAddr,
    ) -> Result<Door, Error> {
        let opened = Door::open(address, settings.key.clone()).await;
        opened.map_err(|source| Error::io(format!("listening at {address}"), source))
    }

    /// Starts the heartbeats and the connections of the workers.
    fn start(
        &self,
        cluster: Cluster,
        mesh: Mesh,
        reception: Option<Reception>,
    ) -> Result<Joined, Error> {
        let lost = Lost::default();
        let bounded = |channel: channel::Channel| channel.bounded(cluster.range());
        let workers = mesh.workers.into_iter();
        let workers: Channels = workers.map(|channel| channel.map(bounded)).collect();
        let channels: Vec<_> = workers.iter().flatten().cloned().collect();
        let (lose, observer) = (lost.clone(), self.observer.clone());
        let on_loss = Box::new(move |how: &str| {
            observer.peer_lost(how);
            lose.lose(how, &channels);
        });
        let regroup = Regroup {
            shutdown: self.shutdown.clone(),
            is_asked: Arc::default(),
        };
        let asked = regroup.clone();
        let listener = Listener {
            lost: on_loss,
            regroup: Box::new(move || asked.ask()),
        };
        let peers = cluster.peers(mesh.heartbeats);
        let heartbeats = Heartbeats::start(peers, listener).map_err(starting)?;
        let (builders, guard) = cluster.allocators(workers)?;
        Ok(Joined {
            cluster,
            builders,
            guard,
            heartbeats,
            lost,
            reception,
            regroup,
            command: None,
        })
    }
}

impl Reception {
    /// Answers processes that come. Returns when one waits and the cluster has room for it.
    pub async fn receive(&mut self) {
        gathering::receive(&mut self.door, &self.agreement, self.room).await;
    }

    /// Removes the invitation: the cluster is over.
    pub async fn close(self) {
        // What is left is removed by the next cluster.
        let _ = self.rendezvous.clear(self.number).await;
    }
}

fn starting(source: std::io::Error) -> Error {
    Error::io("starting the connections of the cluster", source)
}
