//! How a process joins its cluster: it finds the others, connects with them, and starts the heartbeats.
use std::{sync::Arc, time::Duration};

use connectors::Location;
use operators::Shutdown;
use serde_json::{Map, Value};

use super::{
    ClusterSettings, Joined, Meeting, Reception, Regroup, address,
    channel::Channel,
    door::Door,
    gathering::{Gathered, Gathering},
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
    /// The place to meet, if the processes meet through a store.
    pub place: Option<Place>,
    /// The settings that all processes must agree on.
    pub agreement: Map<String, Value>,
    /// The command that the summary counts for, if it was started before.
    pub start: Option<Start>,
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
            earlier: left
                .zip(self.start.as_ref())
                .map(|(processes, start)| Earlier {
                    processes,
                    start: start.told(),
                }),
            key: settings.key.as_ref(),
            observer: self.observer.as_ref(),
            patience: settings.gather,
            deadline: clock() + settings.gather,
        };
        let Gathered {
            roster,
            number,
            start,
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
        joined.start = Some(start);
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
