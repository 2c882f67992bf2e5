//! The leader's side of a gathering: the leader invites, takes processes in, and tells all when to begin.
use std::{io, time::Duration};

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    door::{Door, Guest},
    gathering::{EVERY, GatheredProcesses, Gathering, News, RETRY},
    greeting::{Answer, Earlier, agree},
    hello::{Generation, Purpose},
    line::{Line, in_time},
    mesh::Roster,
    rendezvous::Invitation,
};
use crate::{
    Error,
    clock::clock,
    start::{Start, nonce},
};

/// After a loss: how long the cluster waits for all processes that are left, and then for one more.
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
    ) -> Result<Option<GatheredProcesses>, Error> {
        let generation = Generation::mint()?;
        let invitation = Invitation {
            generation,
            addresses: self.addresses.clone(),
        };
        if !self.rendezvous.invite(number, &invitation).await? {
            return Ok(None);
        }
        let (mut waiting, mut came) = (Vec::<Waiting>::new(), clock());
        let mut told = clock();
        while !self.is_complete(&waiting, came) {
            if let Ok(guest) = timeout(RETRY, door.next()).await
                && guest.hello.generation == generation
                && guest.hello.purpose == Purpose::Join
                && let Some(process) = self.welcome(guest, generation).await
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
                return Err(self.too_few(waiting.len() + 1, door.nobody_came()).into());
            }
        }
        self.rendezvous.clear(number - 1).await?;
        self.begin(generation, number, waiting).await.map(Some)
    }

    /// Takes in a process that wants to join, unless its settings differ.
    async fn welcome(&self, guest: Guest, generation: Generation) -> Option<Waiting> {
        let Guest {
            greeting, mut line, ..
        } = guest;
        // A process that cannot be told is gone.
        answer(&mut line, generation, self.agreement).await.ok()?;
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

    /// What this process and the waiting processes know of an earlier generation of the cluster.
    fn earlier_of<'a>(&'a self, waiting: &'a [Waiting]) -> impl Iterator<Item = &'a Earlier> {
        let others = waiting
            .iter()
            .filter_map(|process| process.earlier.as_ref());
        others.chain(&self.earlier)
    }

    /// Whether the cluster may begin. The last process came at `came`.
    fn is_complete(&self, waiting: &[Waiting], came: Duration) -> bool {
        let (here, now) = (waiting.len() + 1, clock());
        let (min, max) = (*self.processes.start(), *self.processes.end());
        if here >= max || min == max {
            return here >= max;
        }
        let earlier = self.earlier_of(waiting).map(|earlier| earlier.processes);
        let began = self.deadline - self.patience;
        here >= min
            && match earlier.max() {
                None => now >= self.deadline,
                Some(left) => (here >= left && now >= came + SETTLE) || now >= began + LEFT_MAX,
            }
    }

    /// Tells each process its number.
    async fn begin(
        &self,
        generation: Generation,
        number: u64,
        waiting: Vec<Waiting>,
    ) -> Result<GatheredProcesses, Error> {
        let starts = self.earlier_of(&waiting).map(|earlier| &earlier.start);
        // All processes of a cluster know the same command. Processes of several clusters go on with the oldest command.
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
            // A process that cannot be told is gone, and is missed when the processes connect.
            let _ = in_time(line.tell(&begin)).await;
        }
        Ok(GatheredProcesses {
            roster: Roster {
                generation,
                process: 0,
                addresses,
            },
            number,
            start,
        })
    }
}

/// Answers a process that wants to join. Its greeting says whether the settings of both agree.
async fn answer(
    line: &mut Line,
    generation: Generation,
    agreement: &Map<String, Value>,
) -> io::Result<()> {
    let answer = Answer {
        process: 0,
        generation,
        agreement: agreement.clone(),
        refusal: None,
    };
    in_time(line.tell(&answer)).await
}

/// Tells all waiting processes; returns the processes that are still there.
async fn tell_all(waiting: Vec<Waiting>, news: &News) -> Vec<Waiting> {
    let mut still = Vec::with_capacity(waiting.len());
    for mut process in waiting {
        if in_time(process.line.tell(news)).await.is_ok() && process.line.is_connected() {
            still.push(process);
        }
    }
    still
}

/// Answers processes that come while the cluster runs: all numbers are taken, so these processes try again, and join the
/// next start of the cluster. Returns when such a process is there and the cluster has `room` for more processes.
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
        let answered = answer(&mut line, hello.generation, agreement).await.is_ok();
        let told = answered && in_time(line.tell(&News::Complete)).await.is_ok();
        if told && room > 0 && agree([0, 1], agreement, &greeting.agreement).is_ok() {
            return;
        }
    }
}
