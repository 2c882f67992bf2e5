//! Two connections between each two processes of a cluster, for the workers and for heartbeats: a process dials those
//! before it, and those after it dial this one.
use std::{
    io::{Error as IoError, ErrorKind, Result as IoResult},
    time::Duration,
};

use futures::future::{try_join, try_join_all};
use serde_json::{Map, Value};

use super::{
    channel::Channel,
    door::{Door, Guest},
    greeting::{Answer, Greeting, agree},
    hello::{Generation, Hello, Purpose},
    key::ClusterKey,
    line::{Line, in_time},
};
use crate::{ClusterError, Error, Observer, clock::clock};

const RETRY: Duration = Duration::from_millis(50);
/// How often a waiting process checks whether the processes that have come are still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a process with other settings may be a stranger's mistake: the cluster starts if all others come meanwhile.
const GRACE: Duration = Duration::from_secs(3);

/// Who belongs to a cluster, and which of them this process is.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    /// The generation of the cluster. The default if only process 0 knows the generation yet.
    pub generation: Generation,
    /// The number of this process.
    pub process: usize,
    /// Where each process can be reached: each of its addresses, `HOST:PORT`.
    pub addresses: Vec<Vec<String>>,
}

/// How the processes of a roster connect.
pub(super) struct Connecting<'a> {
    pub roster: Roster,
    pub agreement: &'a Map<String, Value>,
    pub key: Option<&'a ClusterKey>,
    pub observer: &'a dyn Observer,
    /// How long they wait for each other, and until when by the engine's clock.
    pub patience: Duration,
    pub deadline: Duration,
}

/// A place for the connection to each other process.
pub(super) type Channels = Vec<Option<Channel>>;

/// The connections to all other processes.
#[derive(Default)]
pub(super) struct Mesh {
    pub workers: Channels,
    pub heartbeats: Channels,
}

impl Connecting<'_> {
    /// Connects this process with all others.
    ///
    /// # Errors
    /// [`ClusterError`] naming the process that is missing, or what it disagrees about.
    pub async fn connect(mut self, door: &mut Door) -> Result<(Mesh, Roster), Error> {
        let none = || self.roster.addresses.iter().map(|_| None).collect();
        let mut mesh = Mesh {
            workers: none(),
            heartbeats: none(),
        };
        if self.roster.process > 0 {
            // The first process tells the generation.
            let (channel, generation) = self.dial(0, Purpose::Workers).await?;
            (mesh.workers[0], self.roster.generation) = (Some(channel), generation);
        } else if self.roster.generation == Generation::default() {
            self.roster.generation = Generation::mint()?;
        }
        let me = self.roster.process;
        let wanted =
            (0..me).flat_map(|peer| [(peer, Purpose::Workers), (peer, Purpose::Heartbeats)]);
        let wanted = wanted.filter(|&wanted| wanted != (0, Purpose::Workers));
        let dialled = try_join_all(wanted.map(async |(peer, purpose)| {
            let (channel, _) = self.dial(peer, purpose).await?;
            Ok::<_, Error>((peer, purpose, channel))
        }));
        let (dialled, ()) = try_join(dialled, self.accept_all(&mut mesh, door)).await?;
        for (peer, purpose, channel) in dialled {
            mesh.of(purpose)[peer] = Some(channel);
        }
        Ok((mesh, self.roster))
    }

    /// Dials a process until the process answers. Returns the generation of that process, too.
    async fn dial(&self, peer: usize, purpose: Purpose) -> Result<(Channel, Generation), Error> {
        loop {
            let mut failed = IoError::from(ErrorKind::AddrNotAvailable);
            for address in &self.roster.addresses[peer] {
                match self.greet(address, peer, purpose).await {
                    Ok((line, answer)) => {
                        self.check(peer, address, &answer)?;
                        let channel = line.into_channel();
                        return Ok((channel.map_err(starting)?, answer.generation));
                    }
                    Err(error) => failed = error,
                }
            }
            if clock() >= self.deadline {
                return Err(self.missing(peer, failed).into());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn greet(
        &self,
        address: &str,
        peer: usize,
        purpose: Purpose,
    ) -> IoResult<(Line, Answer)> {
        let hello = Hello {
            purpose,
            is_sealed: self.key.is_some(),
            generation: self.roster.generation,
            from: rank(self.roster.process),
            to: rank(peer),
        };
        let mut line = Line::dial(address, hello, self.key).await?;
        let greeting = Greeting {
            agreement: self.agreement.clone(),
            addresses: Vec::new(),
            earlier: None,
        };
        let answer = in_time(async {
            line.tell(&greeting).await?;
            line.hear().await
        });
        let answer = answer.await?;
        Ok((line, answer))
    }

    fn check(&self, peer: usize, address: &str, answer: &Answer) -> Result<(), ClusterError> {
        if answer.process != peer {
            return Err(ClusterError::WrongProcess {
                host: address.to_owned(),
                expected: peer,
                there: answer.process,
            });
        }
        if let Some(reason) = answer.refusal.clone() {
            return Err(ClusterError::Refused { reason });
        }
        agree(
            [self.roster.process, peer],
            self.agreement,
            &answer.agreement,
        )
    }

    /// Waits for the processes after this one.
    async fn accept_all(&self, mesh: &mut Mesh, door: &mut Door) -> Result<(), Error> {
        let mut disagreed: Option<(ClusterError, Duration)> = None;
        while let Some(missing) = self.missing_of(mesh) {
            let guest = tokio::time::timeout(LOOK_EVERY, door.next()).await;
            if let Ok(guest) = guest
                && let Err(error) = self.accept(guest, mesh).await
            {
                disagreed.get_or_insert((error, clock() + GRACE));
            }
            self.check_there(mesh)?;
            if let Some((error, _)) = disagreed.take_if(|(_, until)| clock() >= *until) {
                return Err(error.into());
            }
            if clock() >= self.deadline {
                return Err(self.missing(missing, door.nobody_came()).into());
            }
        }
        Ok(())
    }

    /// A process after this one that has not connected yet.
    fn missing_of(&self, mesh: &Mesh) -> Option<usize> {
        let mut later = self.roster.process + 1..self.roster.addresses.len();
        later.find(|&peer| mesh.workers[peer].is_none() || mesh.heartbeats[peer].is_none())
    }

    /// Makes sure that the processes before this one, which have started long ago, are still there.
    fn check_there(&self, mesh: &Mesh) -> Result<(), ClusterError> {
        let before = 0..self.roster.process;
        let is_lost = |peer: &usize| {
            let channel = mesh.workers[*peer].as_ref();
            channel.is_some_and(|channel| !channel.is_connected())
        };
        match before.into_iter().find(is_lost) {
            None => Ok(()),
            Some(process) => Err(ClusterError::LeftAtStart {
                process,
                host: self.name(process),
            }),
        }
    }

    /// Takes in a process that has greeted, or tells the process why not.
    async fn accept(&self, guest: Guest, mesh: &mut Mesh) -> Result<(), ClusterError> {
        let Guest {
            hello,
            greeting,
            mut line,
        } = guest;
        let (peer, process) = (usize::from(hello.from), self.roster.process);
        let is_first = process == 0 && hello.generation == Generation::default();
        if hello.purpose == Purpose::Join
            || (hello.generation != self.roster.generation && !is_first)
        {
            // The other process belongs to another generation. It dials again, in case that this process joins its generation.
            return Ok(());
        }
        let agreed = agree([process, peer], self.agreement, &greeting.agreement);
        let place = mesh.of(hello.purpose).get_mut(peer);
        let place = place.filter(|_| peer > process && usize::from(hello.to) == process);
        let is_taken = match &place {
            None => true,
            Some(Some(there)) => there.is_connected(),
            Some(None) => false,
        };
        let refusal = (agreed.is_ok() && is_taken).then(|| {
            format!(
                "another process {peer} has joined this cluster; give each process a number of its own"
            )
        });
        let answer = Answer {
            process,
            generation: self.roster.generation,
            agreement: self.agreement.clone(),
            refusal,
        };
        let told = in_time(line.tell(&answer)).await;
        if answer.refusal.is_some() && usize::from(hello.to) == process {
            self.observer.warn(&format!(
                "a second process {peer} was refused; give each process a number of its own"
            ));
        }
        agreed?;
        if let (Some(place), Ok(()), None) = (place, told, answer.refusal) {
            // On an error the other side finds the connection closed, and dials again.
            *place = line.into_channel().ok();
        }
        Ok(())
    }

    fn missing(&self, process: usize, source: IoError) -> ClusterError {
        ClusterError::NotJoined {
            process,
            host: self.name(process),
            seconds: self.patience.as_secs(),
            source,
        }
    }

    fn name(&self, process: usize) -> String {
        self.roster.name(process)
    }
}

impl Roster {
    /// What messages call the address of a process.
    pub fn name(&self, process: usize) -> String {
        let addresses = self.addresses.get(process);
        let first = addresses.and_then(|addresses| addresses.first());
        first.cloned().unwrap_or_default()
    }
}

impl Mesh {
    fn of(&mut self, purpose: Purpose) -> &mut Channels {
        match purpose {
            Purpose::Heartbeats => &mut self.heartbeats,
            Purpose::Join | Purpose::Workers => &mut self.workers,
        }
    }
}

fn rank(process: usize) -> u16 {
    u16::try_from(process).expect("invariant: a cluster has at most 4096 workers")
}

fn starting(source: IoError) -> Error {
    Error::io("starting the connections of the cluster", source)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    /// Process `process` of three, of which the first listens at this port.
    fn connecting<'a>(
        process: usize,
        port: u16,
        agreement: &'a Map<String, Value>,
    ) -> Connecting<'a> {
        let patience = Duration::from_secs(20);
        let addresses = [port, 1, 1].map(|port| vec![format!("127.0.0.1:{port}")]);
        Connecting {
            roster: Roster {
                generation: Generation::default(),
                process,
                addresses: addresses.into(),
            },
            agreement,
            key: None,
            observer: &(),
            patience,
            deadline: clock() + patience,
        }
    }

    /// Starts the first process, without settings to agree on. Returns its port, and the error that it ends with.
    async fn start_leader() -> (u16, JoinHandle<Error>) {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut door = Door::open(address, None).await.unwrap();
        let port = door.port;
        let leader = tokio::spawn(async move {
            let agreement = Map::new();
            let connected = connecting(0, port, &agreement).connect(&mut door).await;
            connected.map(|_| ()).unwrap_err()
        });
        (port, leader)
    }

    /// The second of two processes with one number took the place of the first, and the leader's own number was a panic.
    #[tokio::test]
    async fn a_number_that_is_taken_or_the_leaders_own_is_refused() {
        let (port, leader) = start_leader().await;
        let agreement = Map::new();
        let join = async |process| {
            let other = connecting(process, port, &agreement);
            let address = format!("127.0.0.1:{port}");
            let (line, answer) = other.greet(&address, 0, Purpose::Workers).await.unwrap();
            (answer.refusal, line)
        };
        let (refusal, first) = join(1).await;
        assert_eq!(refusal, None);
        for taken in [1, 0, 3, 4000] {
            assert!(
                join(taken)
                    .await
                    .0
                    .unwrap()
                    .contains(&format!("process {taken} "))
            );
        }
        // A process that has gone may come back.
        drop(first);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(join(1).await.0, None);
        leader.abort();
    }

    /// One wrong greeting ended the start.
    #[tokio::test]
    async fn a_process_with_other_settings_stops_the_start_only_if_no_other_comes() {
        let began = clock();
        let (port, leader) = start_leader().await;
        let other = Map::from_iter([("batch".to_owned(), 32.into())]);
        let stranger = connecting(1, port, &other);
        let address = format!("127.0.0.1:{port}");
        let (_, answer) = stranger.greet(&address, 0, Purpose::Workers).await.unwrap();
        assert_eq!(answer.agreement, Map::new());
        let error = leader.await.unwrap();
        assert!(clock() - began >= GRACE);
        assert!(
            error
                .to_string()
                .contains("batch is not set here and 32 there"),
            "{error}"
        );
    }
}
