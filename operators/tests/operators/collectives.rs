//! The collectives against a serial account of what each rank gave.
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use hubbleflow_operators::collectives::{
    Barrier, BroadcastFrom, Gather, PointToPoint, Rank, Receive, Reduce, ReduceVectors, Round,
    ScatterFrom,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use timely::{
    CommunicationConfig, Config, WorkerConfig,
    container::CapacityContainerBuilder,
    dataflow::{
        InputHandle, StreamVec,
        channels::pact::Pipeline,
        operators::{Input, InspectCore, Probe, generic::Operator, vec::UnorderedInput},
    },
    worker::Worker,
};

/// What a worker does, in turn.
#[derive(Clone, Copy, Debug)]
enum Act {
    Give,
    /// Gives at a later time, while its own time stays open.
    GiveEarly,
    NextTime,
    Step,
}

/// What the workers do, an element a worker.
type Acts = Vec<Vec<Act>>;

fn acts() -> impl Strategy<Value = Acts> {
    let act = prop_oneof![
        4 => Just(Act::Give),
        1 => Just(Act::GiveEarly),
        2 => Just(Act::NextTime),
        3 => Just(Act::Step),
    ];
    prop::collection::vec(prop::collection::vec(act, 0..30), 1..=5)
}

/// An item, or a fold of items: a fold that is neither commutative nor associative, one that is both, and one of floats.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    number: usize,
    text: String,
    sum: u64,
    float: f64,
}

impl Item {
    fn new(rank: usize, number: usize) -> Self {
        let seed = (1000 * rank + number) as u64;
        Self {
            number,
            text: format!("{rank}.{number}"),
            sum: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            // Sums of these depend on the order.
            float: 1e16 / (1.0 + seed as f64) + 0.1,
        }
    }

    fn fold(self, other: Self) -> Self {
        Self {
            number: self.number,
            text: format!("({} {})", self.text, other.text),
            sum: self.sum.wrapping_add(other.sum),
            float: self.float + other.float,
        }
    }

    /// A vector as long as the number says.
    fn vector(&self) -> Vec<u64> {
        (0..137 * self.number as u64 % 1500)
            .map(|n| self.sum ^ n)
            .collect()
    }
}

fn fold_elements(left: u64, right: u64) -> u64 {
    left.wrapping_mul(31) ^ right
}

/// What the ranks gave, by time and rank, in the order of giving.
type Given = BTreeMap<u64, Vec<Vec<Item>>>;

fn given(acts: &Acts) -> Given {
    let mut given = Given::new();
    for (rank, acts) in acts.iter().enumerate() {
        let mut time = 0;
        for (number, act) in acts.iter().enumerate() {
            let at = match act {
                Act::Give => time,
                Act::GiveEarly => time + 2,
                Act::NextTime => {
                    time += 1;
                    continue;
                }
                Act::Step => continue,
            };
            let ranks = given.entry(at).or_default();
            ranks.resize(ranks.len().max(rank + 1), Vec::new());
            ranks[rank].push(Item::new(rank, number));
        }
    }
    for ranks in given.values_mut() {
        ranks.resize(acts.len(), Vec::new());
    }
    given
}

/// What a rank got of each collective: times, and results as text.
type Got = BTreeMap<String, Vec<(u64, String)>>;

/// The serial account: what a rank gets.
fn expected(given: &Given, round: Round, root: usize, me: usize) -> Got {
    let mut got = Got::new();
    let mut put = |of: &str, time: u64, result: &dyn Debug| {
        let results = got.entry(of.to_owned()).or_default();
        results.push((time, format!("{result:?}")));
    };
    for (&time, ranks) in given {
        let n = ranks.len();
        for (from, items) in ranks.iter().enumerate() {
            for item in items.iter().filter(|item| item.number % n == me) {
                put(&format!("from {from}"), time, item);
            }
        }
        for (place, item) in ranks[root].iter().enumerate() {
            put("broadcast", time, item);
            if place % n == me {
                put("scatter", time, item);
            }
        }
        for item in &ranks[me] {
            put("barrier", time, item);
        }
        for items in rounds(ranks, round) {
            let up_to_me = items.iter().filter(|(rank, _)| *rank <= me);
            if let Some(prefix) = up_to_me.map(|(_, item)| item.clone()).reduce(Item::fold) {
                put("scan", time, &prefix);
            }
            let fold = items
                .iter()
                .map(|(_, item)| item.clone())
                .reduce(Item::fold);
            let vectors: Vec<_> = items.iter().map(|(_, item)| item.vector()).collect();
            put("allgather", time, &items);
            put("allreduce", time, &fold.clone().unwrap());
            put("vectors", time, &fold_vectors(&vectors));
            if me == root {
                put("gather", time, &items);
                put("reduce", time, &fold.unwrap());
            }
        }
    }
    got
}

/// The rounds of a time, each in rank order.
fn rounds(ranks: &[Vec<Item>], round: Round) -> Vec<Vec<(usize, Item)>> {
    let of_place = |place: Option<usize>| {
        let items = ranks.iter().enumerate().flat_map(|(rank, items)| {
            let items = items.iter().cloned().enumerate();
            items.map(move |(at, item)| (rank, at, item))
        });
        let of_round = items.filter(|(_, at, _)| place.is_none_or(|place| place == *at));
        of_round.map(|(rank, _, item)| (rank, item)).collect()
    };
    match round {
        Round::Time => vec![of_place(None)],
        Round::Item => {
            let longest = ranks.iter().map(Vec::len).max().unwrap_or_default();
            (0..longest).map(|place| of_place(Some(place))).collect()
        }
    }
}

fn fold_vectors(vectors: &[Vec<u64>]) -> Vec<u64> {
    let longest = vectors.iter().map(Vec::len).max().unwrap_or_default();
    let element = |place: usize| {
        let elements = vectors
            .iter()
            .filter_map(|vector| vector.get(place).copied());
        elements.reduce(fold_elements).unwrap()
    };
    (0..longest).map(element).collect()
}

/// Applies a function to each item, and keeps their order; timely's `map` may change the order of containers.
fn each<'s, A: 'static, B: Clone + 'static>(
    items: StreamVec<'s, u64, A>,
    of: impl Fn(A) -> B + 'static,
) -> StreamVec<'s, u64, B> {
    items.unary(Pipeline, "Each", move |_, _| {
        move |input, output| {
            input.for_each(|time, items| {
                output
                    .session(&time)
                    .give_iterator(items.drain(..).map(&of));
            });
        }
    })
}

/// Takes down what one worker gets.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Got>>);

impl Record {
    fn put<R: Debug + Clone + 'static>(&self, of: &str, results: StreamVec<'_, u64, R>) {
        let (of, got) = (of.to_owned(), self.0.clone());
        results.inspect_container(move |event| {
            if let Ok((time, results)) = event {
                let mut got = got.lock().unwrap();
                let results = results.iter().map(|result| (*time, format!("{result:?}")));
                got.entry(of.clone()).or_default().extend(results);
            }
        });
    }
}

fn indexes<D>(items: Vec<(Rank, D)>) -> Vec<(usize, D)> {
    let items = items.into_iter();
    items.map(|(rank, item)| (rank.index(), item)).collect()
}

/// Applies every collective to the items of a worker.
fn apply(items: StreamVec<'_, u64, Item>, round: Round, root: usize, record: &Record) {
    let worker = items.scope().worker();
    let (root, ranks) = (Rank::new(root, worker).unwrap(), worker.peers());
    let all: Vec<Rank> = Rank::all(worker).collect();
    let to = all.clone();
    let received = each(items.clone(), move |item| (to[item.number % ranks], item)).send();
    for from in all {
        let of = format!("from {}", from.index());
        record.put(&of, received.clone().receive(from));
    }
    record.put("broadcast", items.clone().broadcast_from(root));
    record.put("scatter", items.clone().scatter_from(root));
    let gathered = items.clone().gather_to(root, round);
    record.put("gather", each(gathered, indexes));
    record.put("allgather", each(items.clone().allgather(round), indexes));
    record.put("reduce", items.clone().reduce_to(root, round, Item::fold));
    record.put("allreduce", items.clone().allreduce(round, Item::fold));
    record.put("scan", items.clone().scan(round, Item::fold));
    let vectors = each(items.clone(), |item| item.vector());
    record.put("vectors", vectors.allreduce_vectors(round, fold_elements));
    record.put("barrier", items.barrier(round));
}

/// What the ranks get when the workers act.
fn run(acts: &Acts, communication: CommunicationConfig, round: Round, root: usize) -> Vec<Got> {
    let config = Config {
        communication,
        worker: WorkerConfig::default(),
    };
    let acts = acts.clone();
    let work = move |worker: &mut Worker| {
        let (me, record) = (worker.index(), Record::default());
        let (mut input, mut capability) = worker.dataflow(|scope| {
            let (input, items) = scope.new_unordered_input();
            apply(items, round, root, &record);
            input
        });
        for (number, act) in acts[me].iter().enumerate() {
            let at = match act {
                Act::Give => capability.clone(),
                Act::GiveEarly => capability.delayed(&(capability.time() + 2)),
                Act::NextTime => {
                    capability = capability.delayed(&(capability.time() + 1));
                    continue;
                }
                Act::Step => {
                    worker.step();
                    continue;
                }
            };
            input.activate().session(&at).give(Item::new(me, number));
        }
        drop((input, capability));
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
        let mut got = std::mem::take(&mut *record.0.lock().unwrap());
        // Rounds of different times may end in any order.
        got.values_mut()
            .for_each(|results| results.sort_by_key(|(time, _)| *time));
        got
    };
    let guards = timely::execute(config, work).unwrap();
    guards.join().into_iter().map(Result::unwrap).collect()
}

fn check(acts: &Acts, round: Round) {
    let (workers, given) = (acts.len(), given(acts));
    let root = workers / 2;
    for communication in [
        CommunicationConfig::Process(workers),
        CommunicationConfig::ProcessBinary(workers),
    ] {
        for (me, got) in run(acts, communication, round, root)
            .into_iter()
            .enumerate()
        {
            assert_eq!(got, expected(&given, round, root, me), "rank {me}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rounds_by_time_equal_the_serial_account(acts in acts()) {
        check(&acts, Round::Time);
    }

    #[test]
    fn rounds_by_item_equal_the_serial_account(acts in acts()) {
        check(&acts, Round::Item);
    }
}

static LIVE: AtomicI64 = AtomicI64::new(0);

/// An item that is counted while it is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
struct Counted(u64);

impl From<u64> for Counted {
    fn from(number: u64) -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }
}

impl From<Counted> for u64 {
    fn from(counted: Counted) -> Self {
        counted.0
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::from(self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn nothing_is_held_of_rounds_that_are_over() {
    const WORKERS: usize = 3;
    for round in [Round::Time, Round::Item] {
        let work = move |worker: &mut Worker| {
            let mut input = InputHandle::<u64, CapacityContainerBuilder<Vec<Counted>>>::new();
            let probe = worker.dataflow(|scope| {
                let items = scope.input_from(&mut input);
                let least =
                    |left: Counted, right: Counted| if left.0 < right.0 { left } else { right };
                let folded = items.clone().allreduce(round, least).scan(round, least);
                let (probe, _) = folded.barrier(round).probe();
                probe
            });
            for time in 0..500 {
                // The last worker gives nothing every other time.
                if worker.index() < WORKERS - 1 || time % 2 == 0 {
                    input.send(Counted::from(time));
                }
                input.advance_to(time + 1);
                while probe.less_than(&(time + 1)) {
                    worker.step_or_park(None);
                }
                let live = LIVE.load(Ordering::SeqCst);
                assert!(live < 100, "{live} items at time {time}");
            }
        };
        let guards = timely::execute(Config::process(WORKERS), work).unwrap();
        guards.join().into_iter().for_each(Result::unwrap);
        assert_eq!(LIVE.load(Ordering::SeqCst), 0);
    }
}
