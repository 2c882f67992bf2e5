//! Times collectives on one worker.
use std::{cell::RefCell, rc::Rc, time::Duration};

use operators::collectives::{Gather, Rank, Round};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        InputHandle,
        operators::{Input, Inspect},
    },
    worker::Worker,
};

use super::{
    rounds::{Collective, Rounds},
    timings::Row,
};

/// Messages of a rank that are timed together are this many bytes at most.
const BYTES_TIMED_MAX: u64 = 64 << 20;
/// But so many rounds are timed at least.
const ROUNDS_MIN: usize = 10;
/// How long a worker that waits for work sleeps at a time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Times each collective with messages of each size. The first worker returns the rows.
///
/// All ranks meet at a barrier before each round, and each takes down what the round took it.
pub(super) fn time(
    worker: &mut Worker,
    collectives: &[Collective],
    bytes: &[u64],
    rounds: usize,
) -> Vec<Row> {
    let mut barrier = Rounds::new(Collective::Barrier, worker);
    let mut collected = Collected::new(worker);
    let mut rows = Vec::new();
    for &of in collectives {
        let mut timed = Rounds::new(of, worker);
        let sizes = match of {
            Collective::Barrier => &[0],
            _ => bytes,
        };
        for &bytes in sizes {
            let message = vec![1.0; (bytes / 8) as usize];
            let rounds = rounds.min((BYTES_TIMED_MAX / bytes.max(1)) as usize);
            let rounds = rounds.max(ROUNDS_MIN);
            let mut round = || {
                barrier.round(&[], worker);
                timed.round(&message, worker).as_secs_f64()
            };
            // Some that do not count: connections and heaps grow.
            for _ in 0..rounds.div_ceil(10) {
                round();
            }
            let seconds = (0..rounds).map(|_| round()).collect();
            if let Some(seconds) = collected.slowest(seconds, worker) {
                rows.push(Row::of(worker.peers(), of.to_string(), bytes, seconds));
            }
        }
    }
    rows
}

/// What the ranks have taken down, on the first rank.
struct Collected {
    input: InputHandle<u64, CapacityContainerBuilder<Vec<Vec<f64>>>>,
    came: Rc<RefCell<Option<Vec<f64>>>>,
    is_first: bool,
}

impl Collected {
    fn new(worker: &mut Worker) -> Self {
        let came: Rc<RefCell<Option<Vec<f64>>>> = Rc::default();
        let coming = came.clone();
        let mut input = InputHandle::new();
        worker.dataflow(|scope| {
            let taken = scope.input_from(&mut input);
            let all = taken.gather_to(Rank::FIRST, Round::Item);
            all.inspect(move |all: &Vec<(Rank, Vec<f64>)>| {
                let ranks = all.iter().map(|(_, seconds)| seconds.clone());
                let slowest = ranks.reduce(|left, right| {
                    let pairs = left.into_iter().zip(right);
                    pairs.map(|(left, right)| left.max(right)).collect()
                });
                *coming.borrow_mut() = slowest;
            });
        });
        Self {
            input,
            came,
            is_first: Rank::of(worker) == Rank::FIRST,
        }
    }

    /// What each round took the slowest rank. The other ranks get `None`.
    fn slowest(&mut self, seconds: Vec<f64>, worker: &mut Worker) -> Option<Vec<f64>> {
        self.input.send(seconds);
        self.input.flush();
        worker.step();
        while self.is_first && self.came.borrow().is_none() {
            worker.step_or_park(Some(PATIENCE));
        }
        self.came.take()
    }
}
