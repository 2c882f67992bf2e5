//! The leader's side of a gathering: it invites, takes in who comes, and tells all when to begin.
use std::{io, time::Duration};

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    door::{Door, Guest},
    gathering::{EVERY, Gathered, Gathering, News, RETRY},
    greeting::{Answer, Earlier, agree},
    hello::{Epoch, Purpose},
    line::{Line, in_time},
    mesh::Roster,
    rendezvous::Invitation,
};
use crate::{
    Error,
    clock::clock,
    start::{Start, nonce},
};

/// After a loss: how long the cluster waits for all that are left, and how long for one more once they have come.
const LEFT_MAX: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(1);

/// A process that waits to begin.
struct Waiting {
    line: Line,
    addresses: Vec<String>,
    earlier: Option<Earlier>,
}

impl Gathering<'_> {
    /// Leads, with an invitation of this number. Returns `None` if another process does.
    pub(super) async fn lead(
        &self,
        number: u64,
        door: &mut Door,
    ) -> Result<Option<Gathered>, Error> {
        let epoch = Epoch::mint()?;
        let invitation = Invitation {
            epoch,
            addresses: self.addresses.clone(),
        };
        if !self.rendezvous.invite(number, &invitation).await? {
            return Ok(None);
        }
        let (mut waiting, mut came) = (Vec::<Waiting>::new(), clock());
        let mut told = clock();
        while !self.is_complete(&waiting, came) {
            if let Ok(guest) = timeout(RETRY, door.next()).await
                && guest.hello.epoch == epoch
                && guest.hello.purpose == Purpose::Join
                && let Some(process) = self.welcome(guest, epoch).await
            {
                waiting.push(process);
                came = clock();
            }
            if clock() - told < EVERY {
                continue;
            }
            told = clock();
            waiting = tell_all(waiting, &News::Wait).await;
            if self.rendezvous.is_overtaken(number).await? {
                return Ok(None);
            }
            if clock() >= self.deadline && waiting.len() + 1 < *self.processes.start() {
                self.rendezvous.clear(number).await?;
                let source = io::Error::new(io::ErrorKind::TimedOut, strangers(door.strangers()));
                return Err(self.too_few(waiting.len() + 1, source).into());
            }
        }
        self.rendezvous.clear(number - 1).await?;
        self.begin(epoch, number, waiting).await.map(Some)
    }

    /// Takes in a process that wants to join, unless its settings differ.
    async fn welcome(&self, guest: Guest, epoch: Epoch) -> Option<Waiting> {
        let Guest {
            greeting, mut line, ..
        } = guest;
        let answer = Answer {
            process: 0,
            epoch,
            agreement: self.agreement.clone(),
            refusal: None,
        };
        // Where it cannot be told, it is gone.
        in_time(line.tell(&answer)).await.ok()?;
        if let Err(error) = agree([0, 1], self.agreement, &greeting.agreement) {
            self.observer.warn(&format!(
                "a process that wanted to join was refused: {error}"
            ));
            return None;
        }
        Some(Waiting {
            line,
            addresses: greeting.addresses,
            earlier: greeting.earlier,
        })
    }

    /// Whether all have come that this start of the cluster waits for; the last one at `came`.
    fn is_complete(&self, waiting: &[Waiting], came: Duration) -> bool {
        let (here, now) = (waiting.len() + 1, clock());
        let (min, max) = (*self.processes.start(), *self.processes.end());
        if here >= max || min == max {
            return here >= max;
        }
        let others = waiting
            .iter()
            .filter_map(|process| process.earlier.as_ref());
        let earlier = others.chain(&self.earlier).map(|earlier| earlier.processes);
        let began = self.deadline - self.patience;
        here >= min
            && match earlier.max() {
                None => now >= self.deadline,
                Some(left) => (here >= left && now >= came + SETTLE) || now >= began + LEFT_MAX,
            }
    }

    /// Tells each process its number. One that cannot be told is missed when the processes connect.
    async fn begin(
        &self,
        epoch: Epoch,
        number: u64,
        waiting: Vec<Waiting>,
    ) -> Result<Gathered, Error> {
        let others = waiting
            .iter()
            .filter_map(|process| process.earlier.as_ref());
        let starts = others.chain(&self.earlier).map(|earlier| &earlier.start);
        // All of one cluster know the same command; of several clusters the one that has been running longest goes on.
        let start = match starts.max_by_key(|start| start.after) {
            Some(start) => start.clone().heard(),
            None => Start {
                command: nonce()?,
                after: Duration::ZERO,
            },
        };
        let others = waiting.iter().map(|process| process.addresses.clone());
        let addresses: Vec<_> = [self.addresses.clone()].into_iter().chain(others).collect();
        for (process, other) in (1..).zip(waiting) {
            let mut line = other.line;
            let begin = News::Begin {
                process,
                addresses: addresses.clone(),
                start: start.told(),
            };
            // Where it fails, the process is gone, and is missed when the processes connect.
            let _ = in_time(line.tell(&begin)).await;
        }
        Ok(Gathered {
            roster: Roster {
                epoch,
                process: 0,
                addresses,
            },
            number,
            start,
        })
    }
}

/// What is said of those who did not prove the key.
fn strangers(count: u64) -> String {
    match count {
        0 => "no other process came".to_owned(),
        count => format!(
            "{count} connections were ended, since the other side did not prove the cluster's key or did not greet in time"
        ),
    }
}

/// Tells all who wait; returns those who are still there.
async fn tell_all(waiting: Vec<Waiting>, news: &News) -> Vec<Waiting> {
    let mut still = Vec::with_capacity(waiting.len());
    for mut process in waiting {
        if in_time(process.line.tell(news)).await.is_ok() && process.line.is_connected() {
            still.push(process);
        }
    }
    still
}

/// Answers processes that come while the cluster runs, until it is dropped: all numbers are taken, so they try again, and
/// join the next start of the cluster. Returns when such a process is there and the cluster has `room` for more.
pub(super) async fn receive(door: &mut Door, agreement: &Map<String, Value>, room: usize) {
    loop {
        let Guest {
            hello,
            greeting,
            mut line,
        } = door.next().await;
        if hello.purpose != Purpose::Join {
            continue;
        }
        let answer = Answer {
            process: 0,
            epoch: hello.epoch,
            agreement: agreement.clone(),
            refusal: None,
        };
        let told = in_time(async {
            line.tell(&answer).await?;
            line.tell(&News::Complete).await
        });
        let agrees = agree([0, 1], agreement, &greeting.agreement).is_ok();
        if told.await.is_ok() && agrees && room > 0 {
            return;
        }
    }
}
