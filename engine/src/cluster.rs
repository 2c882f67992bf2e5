//! The processes of a cluster: how they find each other, and that they agree on what they do.
use std::{
    any::Any,
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use connectors::text::read_text;
use timely::communication::{
    AllocatorBuilder, Config, Hooks,
    allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
};

use crate::{
    Error,
    clock::clock,
    console::tell,
    greeting::{
        Greeting, agree, connect, greet, hear, is_connected, prepare, settle, tell_greeting,
    },
    heartbeat::{Heartbeats, Peer},
    job::Job,
    settings::RunArgs,
    supervise::end_with_cluster,
};

/// How long processes wait for each other at the start.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(50);
/// Upper bound on the size of a hosts file.
const HOSTS_BYTES_MAX: u64 = 1 << 20;
/// Upper bound on the workers of all processes together.
const WORKERS_MAX: usize = 4096;

/// A process that is one of its cluster.
pub struct Joined {
    /// Its workers' ways to all others.
    pub builders: Vec<AllocatorBuilder>,
    /// What keeps their connections.
    pub guard: Box<dyn Any + Send>,
    /// What tells the other processes that this one is there, and ends it where one of them is not.
    pub heartbeats: Heartbeats,
}

/// A place for the connection to each other process.
type Sockets = Vec<Option<TcpStream>>;

/// Where the processes of a cluster are, and which of them this is.
#[derive(Clone, Debug)]
pub struct Cluster {
    hosts: Vec<String>,
    process: usize,
    workers: usize,
}

impl Cluster {
    /// The cluster that the settings describe: one process, unless they name hosts.
    ///
    /// # Errors
    /// [`Error::Usage`] where the hosts do not fit.
    pub fn new(args: &RunArgs) -> Result<Self, Error> {
        let workers = args.workers as usize;
        let (Some(processes), Some(process)) = (args.processes, args.process) else {
            return Ok(Self {
                hosts: vec!["localhost:0".to_owned()],
                process: 0,
                workers,
            });
        };
        let hosts = match &args.hosts {
            _ if !args.addresses.is_empty() => args.addresses.clone(),
            Some(file) => hosts(file)?,
            None => {
                return Err(Error::Usage(
                    "--process needs --hosts, a file with a line HOST:PORT for each process"
                        .to_owned(),
                ));
            }
        };
        if hosts.len() < processes || process >= processes {
            return Err(Error::Usage(format!(
                "--process {process} of --processes {processes}, and --hosts names {} hosts; give each process a line HOST:PORT and a number below --processes",
                hosts.len()
            )));
        }
        if processes.saturating_mul(workers) > WORKERS_MAX {
            return Err(Error::Usage(format!(
                "--processes {processes} of --workers {workers} each are more than {WORKERS_MAX} workers; take fewer of either"
            )));
        }
        Ok(Self {
            hosts: hosts[..processes].to_vec(),
            process,
            workers,
        })
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
    pub fn connect(&self, job: &Job) -> Result<Joined, Error> {
        let starting = |source| Error::io("starting the connections of the cluster", source);
        let (sockets, beats) = match self.hosts.len() {
            1 => Default::default(),
            _ => self.sockets(&agreement(job))?,
        };
        let heartbeats = Heartbeats::start(self.peers(beats), end_without).map_err(starting)?;
        let (builders, guard): (_, Box<dyn Any + Send>) = if sockets.is_empty() {
            let alone = Config::Process(self.workers).try_build();
            alone.map_err(Error::Cluster)?
        } else {
            let hooks = Hooks::default();
            let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
            let local = ProcessBuilder::new_typed_vector(self.workers, refill, spill);
            let (process, workers) = (self.process, self.workers);
            let (builders, guard) =
                initialize_networking_from_sockets(local, sockets, process, workers, hooks)
                    .map_err(starting)?;
            let builders = builders.into_iter().map(AllocatorBuilder::Tcp);
            (builders.collect(), Box::new(guard))
        };
        Ok(Joined {
            builders,
            guard,
            heartbeats,
        })
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
        agreement: &serde_json::Map<String, serde_json::Value>,
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
        self.accept_all(&mut places, &greeting(false), &listener, deadline)?;
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
                return Err(Error::Cluster(reason));
            }
            agree(&greeting, &greeted)?;
            if greeted.process != peer {
                return Err(Error::Cluster(format!(
                    "process {} answers at {}, where --hosts has process {peer}; give all processes the same hosts file",
                    greeted.process, self.hosts[peer]
                )));
            }
            places[usize::from(heartbeats)][peer] = Some(socket);
        }
        Ok(())
    }

    fn accept_all(
        &self,
        places: &mut [Sockets; 2],
        greeting: &Greeting,
        listener: &TcpListener,
        deadline: Duration,
    ) -> Result<(), Error> {
        while let Some(missing) = (self.process + 1..self.hosts.len())
            .find(|&peer| places.iter().any(|sockets| sockets[peer].is_none()))
        {
            match listener.accept() {
                // Whoever does not greet is none of us.
                Ok((socket, _)) => self.accept(socket, places, greeting)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock && clock() < deadline => {
                    std::thread::sleep(RETRY)
                }
                Err(source) => return Err(self.lost(missing, source)),
            }
        }
        Ok(())
    }

    /// Takes in a process that has dialled. Of two that say the same number the second is told to go.
    fn accept(
        &self,
        mut socket: TcpStream,
        places: &mut [Sockets; 2],
        greeting: &Greeting,
    ) -> Result<(), Error> {
        let Ok(greeted) = prepare(&socket).and_then(|()| hear(&mut socket)) else {
            return Ok(());
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
            tell(format_args!(
                "hubbleflow: a second process {} was refused; give each process a number of its own",
                greeted.process
            ));
            return Ok(());
        }
        agreed?;
        if let (Some(place), Ok(())) = (place, told) {
            *place = Some(socket);
        }
        Ok(())
    }

    fn dial(&self, peer: usize, deadline: Duration) -> Result<TcpStream, Error> {
        loop {
            match connect(&self.hosts[peer]) {
                Ok(socket) => return Ok(socket),
                Err(_) if clock() < deadline => std::thread::sleep(RETRY),
                Err(source) => return Err(self.lost(peer, source)),
            }
        }
    }

    fn lost(&self, peer: usize, source: std::io::Error) -> Error {
        let (host, seconds) = (&self.hosts[peer], PATIENCE.as_secs());
        Error::Cluster(format!(
            "process {peer} at {host} did not join within {seconds} s ({source}); start it, or mend --hosts"
        ))
    }
}

/// Ends this process, since another is gone: its workers would wait for it for ever, and are not to be asked.
fn end_without(lost: &str) {
    tell(format_args!(
        "hubbleflow: {lost}; this process ends too: what is committed stays, and the next start goes on"
    ));
    end_with_cluster();
}

/// The addresses in a hosts file.
fn hosts(file: &Path) -> Result<Vec<String>, Error> {
    let text = read_text(file, HOSTS_BYTES_MAX)
        .map_err(|error| Error::Usage(format!("--hosts {}: {error}", file.display())))?;
    let mut hosts: Vec<String> = Vec::new();
    let lines = text.lines().map(str::trim).zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let wrong = |reason: &str| {
            let file = file.display();
            Err(Error::Usage(format!(
                "{file}, line {number}: {line:?} {reason}"
            )))
        };
        let port = line
            .rsplit_once(':')
            .map(|(_host, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return wrong("is not HOST:PORT");
        }
        if hosts.iter().any(|host| host == line) {
            return wrong("stands there twice; give each process a place of its own");
        }
        hosts.push(line.to_owned());
    }
    Ok(hosts)
}

/// What must be the same in all processes.
fn agreement(job: &Job) -> serde_json::Map<String, serde_json::Value> {
    let mut agreement = job.plan.settings.clone();
    for (key, value) in [
        ("engine", env!("CARGO_PKG_VERSION")),
        ("model", job.plan.model_id.as_str()),
        ("output", job.plan.output.location().url.as_str()),
    ] {
        agreement.insert(key.to_owned(), value.into());
    }
    agreement.insert("drop".to_owned(), job.plan.drops.clone().into());
    agreement.insert("again".to_owned(), job.plan.again.into());
    agreement.insert("model_change".to_owned(), job.plan.model_change.into());
    agreement.insert("workers".to_owned(), job.cluster.workers.into());
    agreement.insert("processes".to_owned(), job.cluster.hosts.len().into());
    agreement
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn greeting(process: usize) -> Greeting {
        Greeting {
            process,
            heartbeats: false,
            agreement: serde_json::Map::new(),
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

    #[test]
    fn a_hosts_file_without_an_end_is_a_usage_error() {
        for file in ["/dev/zero", "/no/such/file", "/"] {
            let error = hosts(Path::new(file)).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{error}");
        }
    }
}
