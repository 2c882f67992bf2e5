//! The rounds of a collective on one worker.
use std::{cell::Cell, rc::Rc, time::Duration};

use clap::ValueEnum;
use hubbleflow::clock::clock;
use operators::collectives::{
    Barrier, BroadcastFrom, Gather, PointToPoint, Rank, Reduce, ReduceVectors, Round, ScatterFrom,
};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        InputHandle, StreamVec,
        operators::{Input, Inspect, vec::Map},
    },
    worker::Worker,
};

/// How long a worker that waits for work sleeps at a time.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Collective {
    /// Each rank sends to the next and receives from the one before.
    Send,
    /// From rank 0.
    Broadcast,
    /// From rank 0, a message for each rank.
    Scatter,
    /// To rank 0.
    Gather,
    /// To all.
    Allgather,
    /// To rank 0.
    Reduce,
    /// From everyone to everyone.
    Allreduce,
    /// The same with a timestamp a round.
    AllreduceByTime,
    /// Shares are folded, and then gathered.
    AllreduceVectors,
    /// The inclusive prefix.
    Scan,
    /// No message.
    Barrier,
}

impl std::fmt::Display for Collective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value().expect("no collective is skipped");
        f.write_str(value.get_name())
    }
}

impl Collective {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Send,
        Self::Broadcast,
        Self::Scatter,
        Self::Gather,
        Self::Allgather,
        Self::Reduce,
        Self::Allreduce,
        Self::AllreduceByTime,
        Self::AllreduceVectors,
        Self::Scan,
        Self::Barrier,
    ];

    /// Messages that a worker gives in a round, and results that it waits for.
    fn gives_and_gets(self, worker: &Worker) -> (usize, usize) {
        let root = usize::from(Rank::of(worker) == Rank::FIRST);
        match self {
            Self::Broadcast => (root, 1),
            Self::Scatter => (root * worker.peers(), 1),
            Self::Gather | Self::Reduce => (1, root),
            _ => (1, 1),
        }
    }

    /// The results of a stream of messages.
    fn apply(self, messages: StreamVec<'_, u64, Vec<f64>>) -> StreamVec<'_, u64, ()> {
        let worker = messages.scope().worker();
        let (me, ranks) = (worker.index(), worker.peers());
        let sum = |left: f64, right: f64| left + right;
        let sums = move |mut left: Vec<f64>, right: Vec<f64>| {
            let pairs = left.iter_mut().zip(right);
            pairs.for_each(|(left, right)| *left += right);
            left
        };
        let (root, item) = (Rank::FIRST, Round::Item);
        match self {
            Self::Send => {
                let next = Rank::new((me + 1) % ranks, worker).unwrap_or(root);
                messages
                    .map(move |message| (next, message))
                    .send()
                    .map(drop)
            }
            Self::Broadcast => messages.broadcast_from(root).map(drop),
            Self::Scatter => messages.scatter_from(root).map(drop),
            Self::Gather => messages.gather_to(root, item).map(drop),
            Self::Allgather => messages.allgather(item).map(drop),
            Self::Reduce => messages.reduce_to(root, item, sums).map(drop),
            Self::Allreduce => messages.allreduce(item, sums).map(drop),
            Self::AllreduceByTime => messages.allreduce(Round::Time, sums).map(drop),
            Self::AllreduceVectors => messages.allreduce_vectors(item, sum).map(drop),
            Self::Scan => messages.scan(item, sums).map(drop),
            Self::Barrier => messages.map(drop).barrier(item),
        }
    }
}

/// A collective on this worker.
pub(super) struct Rounds {
    input: InputHandle<u64, CapacityContainerBuilder<Vec<Vec<f64>>>>,
    of: Collective,
    gives: usize,
    gets: usize,
    /// Results that have come.
    came: Rc<Cell<usize>>,
    expected: usize,
}

impl Rounds {
    /// Builds the dataflow of a collective.
    pub fn new(of: Collective, worker: &mut Worker) -> Self {
        let came = Rc::new(Cell::new(0));
        let counted = came.clone();
        let mut input = InputHandle::new();
        worker.dataflow(|scope| {
            let messages = scope.input_from(&mut input);
            of.apply(messages)
                .inspect(move |()| counted.set(counted.get() + 1));
        });
        let (gives, gets) = of.gives_and_gets(worker);
        Self {
            input,
            of,
            gives,
            gets,
            came,
            expected: 0,
        }
    }

    /// Takes part in a round; returns what it took this worker.
    pub fn round(&mut self, message: &[f64], worker: &mut Worker) -> Duration {
        let messages: Vec<Vec<f64>> = vec![message.to_vec(); self.gives];
        let began = clock();
        for message in messages {
            self.input.send(message);
        }
        if self.of == Collective::AllreduceByTime {
            self.input.advance_to(self.input.time() + 1);
        } else {
            self.input.flush();
        }
        // What is given leaves with a step, also if nothing comes back.
        worker.step();
        self.expected += self.gets;
        while self.came.get() < self.expected {
            worker.step_or_park(Some(PATIENCE));
        }
        clock() - began
    }
}
