//! The processes of a cluster: how they find each other, and that they agree on what they do.
mod greeting;
mod heartbeat;
mod hosts;
mod lost;

use std::{
    any::Any,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use timely::communication::{
    AllocatorBuilder, Config, Hooks,
    allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
};

use crate::{ClusterError, Error, Observer, SettingsError, clock::clock};
use greeting::{
    Greeting, agree, connect, greet, hear, is_connected, prepare, settle, tell_greeting,
};
use heartbeat::{Heartbeats, Peer};

#[cfg(fuzzing)]
pub use greeting::fuzz_greeting;
pub use hosts::read_hosts;
pub(crate) use lost::Lost;

/// How long processes wait for each other at the start.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(50);
/// Upper bound on the workers of all processes together.
const WORKERS_MAX: usize = 4096;

/// A process that has joined its cluster.
pub(crate) struct Joined {
    /// Its workers' ways to all others.
    pub builders: Vec<AllocatorBuilder>,
    /// What keeps their connections.
    pub guard: Box<dyn Any + Send>,
    /// Tells the other processes that this one is there.
    pub heartbeats: Heartbeats,
    /// Whether one of the others was lost.
    pub lost: Lost,
}

/// The cluster that a process belongs to.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The address of each process, `HOST:PORT`.
    pub hosts: Vec<String>,
    /// The number of this process, from 0. Process 0 leads.
    pub process: usize,
}

/// A place for the connection to each other process.
type Sockets = Vec<Option<TcpStream>>;

/// Where the processes of a cluster are, and which of them this is.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    hosts: Vec<String>,
    process: usize,
    workers: usize,
}

impl Cluster {
    /// A cluster whose processes have this many workers each.
    ///
    /// # Errors
    /// [`SettingsError`] if the numbers do not fit.
    pub fn new(settings: Option<&ClusterSettings>, workers: usize) -> Result<Self, SettingsError> {
        let Some(ClusterSettings { hosts, process }) = settings else {
            return Ok(Self {
                hosts: vec!["localhost:0".to_owned()],
                process: 0,
                workers,
            });
        };
        let (processes, process) = (hosts.len(), *process);
        if process >= processes {
            return Err(SettingsError::Process { process, processes });
        }
        if processes.saturating_mul(workers) > WORKERS_MAX {
            return Err(SettingsError::ClusterWorkers {
                processes,
                workers,
                max: WORKERS_MAX,
            });
        }
        Ok(Self {
            hosts: hosts.clone(),
            process,
            workers,
        })
    }

    /// Processes of the cluster.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }

    /// Workers in this process.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Whether this process plans and commits.
    pub fn is_leader(&self) -> bool {
        self.process == 0
    }

    /// Processes that share this machine's cores with this one, itself included.
    pub fn processes_here(&self) -> usize {
        let host = |address: &String| {
            address
                .rsplit_once(':')
                .map(|(host, _port)| host.to_owned())
        };
        let here = host(&self.hosts[self.process]);
        self.hosts
            .iter()
            .filter(|other| host(other) == here)
            .count()
    }

    /// Connects the processes and makes sure that they agree.
    ///
    /// # Errors
    /// [`Error::Cluster`] naming the process that is missing, or what it disagrees about.
    pub fn connect(
        &self,
        agreement: &Map<String, Value>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Joined, Error> {
        let starting = |source| Error::io("starting the connections of the cluster", source);
        let (sockets, beats) = match self.hosts.len() {
            1 => Default::default(),
            _ => self.sockets(agreement, observer.as_ref())?,
        };
        let lost = Lost::default();
        let connections = sockets.iter().flatten().map(TcpStream::try_clone);
        let connections = connections
            .collect::<Result<Vec<_>, _>>()
            .map_err(starting)?;
        let (lose, observer) = (lost.clone(), observer.clone());
        let on_loss = move |how: &str| {
            observer.peer_lost(how);
            lose.lose(how, &connections);
        };
        let heartbeats =
            Heartbeats::start(self.peers(beats), Arc::new(on_loss)).map_err(starting)?;
        let (builders, guard) = self.allocators(sockets)?;
        Ok(Joined {
            builders,
            guard,
            heartbeats,
            lost,
        })
    }

    /// The workers' ways to all others.
    fn allocators(
        &self,
        sockets: Sockets,
    ) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>), Error> {
        if sockets.is_empty() {
            let alone = Config::Process(self.workers).try_build();
            return alone.map_err(Error::worker);
        }
        let hooks = Hooks::default();
        let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
        let local = ProcessBuilder::new_typed_vector(self.workers, refill, spill);
        let (builders, guard) =
            initialize_networking_from_sockets(local, sockets, self.process, self.workers, hooks)
                .map_err(|source| Error::io("starting the connections of the cluster", source))?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp);
        Ok((builders.collect(), Box::new(guard)))
    }

    fn peers(&self, sockets: Sockets) -> Vec<Peer> {
        let sockets = sockets.into_iter().enumerate();
        let peer = |(process, socket): (usize, Option<TcpStream>)| {
            Some(Peer {
                name: format!("process {process} at {}", self.hosts[process]),
                socket: socket?,
            })
        };
        sockets.filter_map(peer).collect()
    }

    /// Two connections to each other process, for the workers and for heartbeats: this one dials those before it, and
    /// those after it dial this one.
    fn sockets(
        &self,
        agreement: &Map<String, Value>,
        observer: &dyn Observer,
    ) -> Result<(Sockets, Sockets), Error> {
        let greeting = |heartbeats| Greeting {
            process: self.process,
            heartbeats,
            agreement: agreement.clone(),
            refusal: None,
        };
        let deadline = clock() + PATIENCE;
        let address = &self.hosts[self.process];
        let listener = TcpListener::bind(address)
            .map_err(|source| Error::io(format!("listening at {address}"), source))?;
        listener
            .set_nonblocking(true)
            .map_err(|source| Error::io("listening", source))?;
        let none = || -> Sockets { self.hosts.iter().map(|_| None).collect() };
        let mut places = [none(), none()];
        self.dial_all(&mut places, greeting, deadline)?;
        self.accept_all(
            &mut places,
            &greeting(false),
            (&listener, deadline),
            observer,
        )?;
        let [workers, heartbeats] = places;
        Ok((workers, heartbeats))
    }

    fn dial_all(
        &self,
        places: &mut [Sockets; 2],
        greeting: impl Fn(bool) -> Greeting,
        deadline: Duration,
    ) -> Result<(), Error> {
        for (peer, heartbeats) in (0..self.process).flat_map(|peer| [(peer, false), (peer, true)]) {
            let (mut socket, greeting) = (self.dial(peer, deadline)?, greeting(heartbeats));
            let greeted =
                greet(&mut socket, &greeting).map_err(|source| self.lost(peer, source))?;
            if let Some(reason) = greeted.refusal {
                return Err(ClusterError::Refused { reason }.into());
            }
            agree(&greeting, &greeted)?;
            if greeted.process != peer {
                return Err(ClusterError::WrongProcess {
                    host: self.hosts[peer].clone(),
                    expected: peer,
                    there: greeted.process,
                }
                .into());
            }
            places[usize::from(heartbeats)][peer] = Some(socket);
        }
        Ok(())
    }

    fn accept_all(
        &self,
        places: &mut [Sockets; 2],
        greeting: &Greeting,
        (listener, deadline): (&TcpListener, Duration),
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        while let Some(missing) = (self.process + 1..self.hosts.len())
            .find(|&peer| places.iter().any(|sockets| sockets[peer].is_none()))
        {
            match listener.accept() {
                // Whoever does not greet does not belong to this cluster.
                Ok((socket, _)) => {
                    let refused = self.accept(socket, places, greeting)?;
                    if let Some(process) = refused {
                        observer.warn(&format!(
                            "a second process {process} was refused; give each process a number of its own"
                        ));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && clock() < deadline => {
                    std::thread::sleep(RETRY)
                }
                Err(source) => return Err(self.lost(missing, source).into()),
            }
        }
        Ok(())
    }

    /// Takes in a process that has dialled. Of two that say the same number the second is refused, and its number returned.
    fn accept(
        &self,
        mut socket: TcpStream,
        places: &mut [Sockets; 2],
        greeting: &Greeting,
    ) -> Result<Option<usize>, Error> {
        let Ok(greeted) = prepare(&socket).and_then(|()| hear(&mut socket)) else {
            return Ok(None);
        };
        let is_later = (self.process + 1..self.hosts.len()).contains(&greeted.process);
        let place = &mut places[usize::from(greeted.heartbeats)];
        let place = place.get_mut(greeted.process).filter(|_| is_later);
        let agreed = agree(greeting, &greeted);
        let is_taken = agreed.is_ok()
            && match &place {
                None => true,
                Some(Some(there)) => is_connected(there),
                Some(None) => false,
            };
        let answer = Greeting {
            agreement: greeting.agreement.clone(),
            refusal: is_taken.then(|| {
                format!(
                    "another process {} has joined this cluster; give each process a number of its own",
                    greeted.process
                )
            }),
            ..*greeting
        };
        let told = tell_greeting(&mut socket, &answer).and_then(|()| settle(&socket));
        if is_taken {
            return Ok(Some(greeted.process));
        }
        agreed?;
        if let (Some(place), Ok(())) = (place, told) {
            *place = Some(socket);
        }
        Ok(None)
    }

    fn dial(&self, peer: usize, deadline: Duration) -> Result<TcpStream, Error> {
        loop {
            match connect(&self.hosts[peer]) {
                Ok(socket) => return Ok(socket),
                Err(_) if clock() < deadline => std::thread::sleep(RETRY),
                Err(source) => return Err(self.lost(peer, source).into()),
            }
        }
    }

    fn lost(&self, process: usize, source: std::io::Error) -> ClusterError {
        ClusterError::NotJoined {
            process,
            host: self.hosts[process].clone(),
            seconds: PATIENCE.as_secs(),
            source,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn greeting(process: usize) -> Greeting {
        Greeting {
            process,
            heartbeats: false,
            agreement: Map::new(),
            refusal: None,
        }
    }

    /// The second of two processes with one number took the place of the first.
    #[test]
    fn a_second_process_with_the_same_number_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cluster = Cluster {
            hosts: vec![address.clone(), "127.0.0.1:1".to_owned()],
            process: 0,
            workers: 1,
        };
        let mut places: [Sockets; 2] = [vec![None, None], vec![None, None]];
        let mut join = |process| {
            let address = address.clone();
            let other = std::thread::spawn(move || {
                let mut socket = connect(&address).unwrap();
                let greeted = greet(&mut socket, &greeting(process)).unwrap();
                (greeted.refusal, socket)
            });
            let accepted = listener.accept().unwrap().0;
            cluster.accept(accepted, &mut places, &greeting(0)).unwrap();
            other.join().unwrap()
        };
        let (refusal, first) = join(1);
        assert_eq!(refusal, None);
        assert!(join(1).0.unwrap().contains("process 1"));
        // A number that no process has, and the leader's own.
        assert!(join(2).0.is_some());
        assert!(join(0).0.is_some());
        // One that has gone may come back.
        drop(first);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(join(1).0, None);
    }
}
