//! How a process joins its cluster: it finds the others, connects with them, and starts the heartbeats.
use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use operators::Shutdown;
use serde_json::{Map, Value};

use super::{
    ClusterSettings, Joined, Meeting, Reception, Regroup, address,
    channel::Channel,
    door::Door,
    gathering::{GatheredProcesses, Gathering},
    greeting::Earlier,
    heartbeat::{Heartbeats, Listener},
    lost::Lost,
    members::Cluster,
    mesh::{Channels, Connecting, Mesh, Roster},
    rendezvous::Rendezvous,
    starting,
};
use crate::{ClusterError, Error, Observer, SettingsError, Stop, clock::clock, start::Start};

/// How long processes that have come together may take to connect.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// What a process joins its cluster with.
pub(crate) struct Joining<'a> {
    /// The settings of the cluster; `None` for a process alone.
    pub settings: Option<&'a ClusterSettings>,
    /// Workers in each process.
    pub workers: usize,
    /// Where the processes meet, if they meet through a store.
    pub rendezvous: Option<Rendezvous>,
    /// The settings that all processes must agree on.
    pub agreement: Map<String, Value>,
    /// The command that the summary counts for, if it was started before.
    pub start: Option<Start>,
    /// Is asked to end the run when the cluster is to begin again.
    pub shutdown: Shutdown,
    /// Receives what happens.
    pub observer: Arc<dyn Observer>,
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
        let Some(settings) = self.settings else {
            return self.alone();
        };
        match &settings.meeting {
            Meeting::Hosts { hosts, process } => self.join_hosts(settings, hosts, *process).await,
            Meeting::Rendezvous {
                processes,
                advertise,
                left,
                ..
            } => {
                let gathered = self.gather(settings, processes, advertise.as_deref(), *left);
                let (gathered, door) = gathered.await?;
                self.join_gathered(settings, processes, gathered, door)
                    .await
            }
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
        let roster = Roster {
            generation: Default::default(),
            process,
            addresses: hosts.iter().map(|host| vec![host.clone()]).collect(),
        };
        let connecting = self.connecting(settings, roster, settings.gather);
        let (mesh, roster) = connecting.connect(&mut door).await?;
        self.start(self.cluster(roster), mesh, None)
    }

    /// Comes together with the others through a store. Returns the door that others may knock at, too.
    async fn gather(
        &self,
        settings: &ClusterSettings,
        processes: &RangeInclusive<usize>,
        advertise: Option<&str>,
        left: Option<usize>,
    ) -> Result<(GatheredProcesses, Door), Error> {
        let is_open = settings.is_open();
        let address = address::to_advertise(advertise, is_open)?;
        let mut door = self.open(settings, address).await?;
        let earlier = left.zip(self.start.as_ref());
        let gathering = Gathering {
            rendezvous: self.rendezvous()?,
            processes: processes.clone(),
            addresses: address::addresses(advertise, door.port, is_open)?,
            agreement: &self.agreement,
            earlier: earlier.map(|(processes, start)| Earlier {
                processes,
                start: start.told(),
            }),
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience: settings.gather,
            deadline: clock() + settings.gather,
        };
        let gathered = gathering.gather(&mut door).await?;
        Ok((gathered, door))
    }

    /// Connects with the processes that have come together. All were there a moment ago: a process that does not connect
    /// now is lost.
    async fn join_gathered(
        &self,
        settings: &ClusterSettings,
        processes: &RangeInclusive<usize>,
        gathered: GatheredProcesses,
        mut door: Door,
    ) -> Result<Joined, Error> {
        let connecting = self.connecting(settings, gathered.roster, CONNECT_MAX);
        let connected = connecting.connect(&mut door).await;
        let (mesh, roster) = connected.map_err(|error| match error {
            Error::Cluster(error) => Error::LostPeer {
                how: error.to_string(),
            },
            error => error,
        })?;
        let reception = match roster.process {
            0 => Some(Reception {
                room: processes.end() - roster.addresses.len(),
                agreement: self.agreement.clone(),
                rendezvous: self.rendezvous()?.clone(),
                number: gathered.number,
                door,
            }),
            _ => None,
        };
        let mut joined = self.start(self.cluster(roster), mesh, reception)?;
        joined.start = Some(gathered.start);
        Ok(joined)
    }

    fn rendezvous(&self) -> Result<&Rendezvous, SettingsError> {
        self.rendezvous.as_ref().ok_or(SettingsError::NoRendezvous)
    }

    fn cluster(&self, roster: Roster) -> Cluster {
        let workers = self.workers;
        Cluster { roster, workers }
    }

    fn connecting<'a>(
        &'a self,
        settings: &'a ClusterSettings,
        roster: Roster,
        patience: Duration,
    ) -> Connecting<'a> {
        Connecting {
            roster,
            agreement: &self.agreement,
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience,
            deadline: clock() + patience,
        }
    }

    async fn open(&self, settings: &ClusterSettings, address: SocketAddr) -> Result<Door, Error> {
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
        let bounded = |channel: Channel| channel.bounded(cluster.range());
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
            start: None,
        })
    }
}
