//! How the processes of a cluster come together through a store: one process leads and gathers the others, and the others
//! wait for their numbers.
use std::{io, ops::RangeInclusive, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    door::Door,
    greeting::{Answer, Earlier, Greeting, agree},
    hello::{Hello, Purpose},
    key::ClusterKey,
    line::{Line, in_time},
    mesh::Roster,
    rendezvous::{Invitation, Rendezvous},
};
use crate::{ClusterError, Error, Observer, clock::clock, start::Start};

pub(super) const RETRY: Duration = Duration::from_millis(50);
/// How often a leader tells the waiting processes that it is there, and checks whether another process leads meanwhile.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// How long a leader may be silent before the waiting processes give the leader up.
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// How long a leader that can be reached, and does not prove the key, is tried again.
const UNPROVEN_MAX: Duration = Duration::from_secs(5);

/// How the processes of a cluster come together.
pub(super) struct Gathering<'a> {
    pub rendezvous: &'a Rendezvous,
    /// How many processes the cluster may have.
    pub processes: RangeInclusive<usize>,
    /// Where this process can be reached.
    pub addresses: Vec<String>,
    pub agreement: &'a Map<String, Value>,
    pub earlier: Option<Earlier>,
    pub key: Option<&'a ClusterKey>,
    pub observer: &'a dyn Observer,
    /// How long they wait for each other, and until when by the engine's clock.
    pub patience: Duration,
    pub deadline: Duration,
}

/// The processes that have come together.
pub(super) struct GatheredProcesses {
    pub roster: Roster,
    /// The number of the leader's invitation.
    pub number: u64,
    /// The command that the summary counts for.
    pub start: Start,
}

/// What a leader tells the waiting processes.
#[derive(Serialize, Deserialize)]
pub(super) enum News {
    /// The others have not come yet.
    Wait,
    /// The cluster runs, and takes no more.
    Complete,
    /// All have come. The process that hears this has this number, and all processes have these addresses.
    Begin {
        process: usize,
        addresses: Vec<Vec<String>>,
        start: Start,
    },
}

/// Why a leader's invitation led to nothing.
enum Failed {
    /// The leader is gone, or does not answer: this process may lead.
    Gone(io::Error),
    /// The leader has all processes that it takes, or ended the connection: look for the newest invitation again.
    Again(io::Error),
    /// The settings of the leader and of this process differ.
    Refused(ClusterError),
}

impl Gathering<'_> {
    /// Comes together with the others, as the leader or as a waiting process.
    ///
    /// # Errors
    /// [`ClusterError::NotGathered`] if too few come in time; errors of the store.
    pub async fn gather(&self, door: &mut Door) -> Result<GatheredProcesses, Error> {
        // The number of the invitation that was tried last, and when it was tried for the first time.
        let mut tried: Option<(u64, Duration)> = None;
        loop {
            let (newest, failed) = match self.rendezvous.newest().await? {
                None => (0, Failed::Gone(io::ErrorKind::NotFound.into())),
                Some((number, None)) => (number, Failed::Gone(io::ErrorKind::InvalidData.into())),
                Some((number, Some(invitation))) => match self.join(number, &invitation).await {
                    Ok(gathered) => return Ok(gathered),
                    Err(failed) => (number, failed),
                },
            };
            let since = match tried {
                Some((number, since)) if number == newest => since,
                _ => clock(),
            };
            tried = Some((newest, since));
            let failed = match failed {
                Failed::Refused(error) => return Err(error.into()),
                Failed::Again(error) => error,
                Failed::Gone(error) => {
                    let is_gone = error.kind() != io::ErrorKind::PermissionDenied
                        || clock() - since > UNPROVEN_MAX;
                    if is_gone && let Some(gathered) = self.lead(newest + 1, door).await? {
                        return Ok(gathered);
                    }
                    error
                }
            };
            if clock() >= self.deadline {
                return Err(self.too_few(1, failed).into());
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Dials a leader, and waits until the leader begins.
    async fn join(
        &self,
        number: u64,
        invitation: &Invitation,
    ) -> Result<GatheredProcesses, Failed> {
        let mut line = self.dial(invitation).await?;
        loop {
            let news = timeout(SILENCE_MAX, line.hear()).await;
            let news = news.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match news.map_err(Failed::Again)? {
                News::Wait => (),
                News::Complete => {
                    tokio::time::sleep(EVERY).await;
                    let complete = "a cluster runs there, and takes no more processes";
                    return Err(Failed::Again(io::Error::other(complete)));
                }
                News::Begin {
                    process,
                    addresses,
                    start,
                } => {
                    let generation = invitation.generation;
                    return Ok(GatheredProcesses {
                        roster: Roster {
                            generation,
                            process,
                            addresses,
                        },
                        number,
                        start: start.heard(),
                    });
                }
            }
        }
    }

    async fn dial(&self, invitation: &Invitation) -> Result<Line, Failed> {
        let hello = Hello {
            purpose: Purpose::Join,
            is_sealed: self.key.is_some(),
            generation: invitation.generation,
            from: 0,
            to: 0,
        };
        let mut line = self.dial_any(&invitation.addresses, hello).await?;
        let greeting = Greeting {
            agreement: self.agreement.clone(),
            addresses: self.addresses.clone(),
            earlier: self.earlier.clone(),
        };
        let answer = in_time(async {
            line.tell(&greeting).await?;
            line.hear::<Answer>().await
        });
        let answer = answer.await.map_err(Failed::Again)?;
        // This process has no number yet; the message calls it process 1.
        agree([1, 0], self.agreement, &answer.agreement).map_err(Failed::Refused)?;
        Ok(line)
    }

    /// Dials all addresses of a leader at once, and takes the connection that is there first. If there is none, the error of
    /// an address where somebody without the key answers says more than those of addresses where nobody is.
    async fn dial_any(&self, addresses: &[String], hello: Hello) -> Result<Line, Failed> {
        let dialled = addresses.iter();
        let dialled = dialled.map(|address| Line::dial(address, hello, self.key));
        let mut dialled: FuturesUnordered<_> = dialled.collect();
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        while let Some(line) = dialled.next().await {
            match line {
                Ok(line) => return Ok(line),
                Err(error) if failed.kind() != io::ErrorKind::PermissionDenied => failed = error,
                Err(_) => (),
            }
        }
        Err(Failed::Gone(failed))
    }

    pub(super) fn too_few(&self, came: usize, source: io::Error) -> ClusterError {
        ClusterError::NotGathered {
            place: self.rendezvous.url(),
            came,
            wanted: *self.processes.start(),
            seconds: self.patience.as_secs(),
            source,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use connectors::Location;
    use futures::future::join_all;

    use super::*;
    use crate::cluster::mesh::{Connecting, Mesh};

    /// A process that has met others at a place, and is connected with them.
    struct Met {
        roster: Roster,
        _mesh: Mesh,
        _door: Door,
    }

    /// Has a process meet others.
    async fn meet(
        rendezvous: Rendezvous,
        processes: RangeInclusive<usize>,
        key: ClusterKey,
        patience: Duration,
    ) -> Result<Met, Error> {
        let address = "127.0.0.1:0".parse().unwrap();
        let mut door = Door::open(address, Some(key.clone())).await.unwrap();
        let agreement = Map::new();
        let gathering = Gathering {
            rendezvous: &rendezvous,
            processes,
            addresses: vec![format!("127.0.0.1:{}", door.port)],
            agreement: &agreement,
            earlier: None,
            key: Some(&key),
            observer: &(),
            patience,
            deadline: clock() + patience,
        };
        let gathered = gathering.gather(&mut door).await?;
        let connecting = Connecting {
            roster: gathered.roster,
            agreement: &agreement,
            key: Some(&key),
            observer: &(),
            patience,
            deadline: clock() + patience,
        };
        let (mesh, roster) = connecting.connect(&mut door).await?;
        Ok(Met {
            roster,
            _mesh: mesh,
            _door: door,
        })
    }

    fn place() -> (tempfile::TempDir, Rendezvous) {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::open(folder.path().to_str().unwrap(), &Vec::new()).unwrap();
        (folder, Rendezvous::at(location))
    }

    /// Has `count` processes meet. Returns the number of each, and how many processes it knows.
    async fn meet_all(
        count: usize,
        processes: RangeInclusive<usize>,
        patience: Duration,
    ) -> Vec<(usize, usize)> {
        let (_folder, rendezvous) = place();
        let key = ClusterKey::generate().unwrap();
        let meetings = (0..count).map(|_| {
            tokio::spawn(meet(
                rendezvous.clone(),
                processes.clone(),
                key.clone(),
                patience,
            ))
        });
        let met = join_all(meetings).await.into_iter();
        // A process that ends is missed by the processes that still connect.
        let met: Vec<Met> = met.map(|met| met.unwrap().unwrap()).collect();
        let rosters = met.iter().map(|met| &met.roster);
        let mut numbers: Vec<_> = rosters
            .map(|roster| (roster.process, roster.addresses.len()))
            .collect();
        numbers.sort();
        numbers
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn eight_processes_meet_in_a_moment_and_each_gets_a_number() {
        let began = clock();
        let met = meet_all(8, 8..=8, Duration::from_secs(60)).await;
        let took = clock() - began;
        assert_eq!(met, (0..8).map(|process| (process, 8)).collect::<Vec<_>>());
        println!("eight processes have met after {took:?}");
        // Beside other tests, too.
        assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_a_range_those_begin_that_have_come() {
        let met = meet_all(3, 2..=8, Duration::from_secs(3)).await;
        assert_eq!(met, [(0, 3), (1, 3), (2, 3)]);
    }

    #[tokio::test]
    async fn with_another_key_nobody_meets() {
        let (_folder, rendezvous) = place();
        let meeting = || {
            let key = ClusterKey::generate().unwrap();
            meet(rendezvous.clone(), 2..=2, key, Duration::from_secs(2))
        };
        for met in join_all([meeting(), meeting()]).await {
            let error = met.err().unwrap();
            assert!(error.to_string().contains("of 2 processes came"), "{error}");
        }
    }
}
