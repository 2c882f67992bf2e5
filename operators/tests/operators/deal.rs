use std::sync::{Arc, Mutex, mpsc::channel};

use connectors::{
    ObjectRef, RowGroupShape, Split,
    checkpoint::{Task, Work},
    split::{Source, Splits},
};
use hubbleflow_operators::{Deal, deal::HandedBack};
use timely::{
    Config,
    dataflow::{
        channels::pact::Pipeline,
        operators::{Capability, ConnectLoop, Feedback, Inspect, Probe, generic::Operator},
    },
};

const SPLITS: u64 = 40;
const IN_HAND: usize = 3;

/// The splits of a drop, each of a row group of its own, of objects with so many.
fn work(drop: u64, objects: &[usize]) -> Work {
    let object = |groups: &usize| {
        let object = ObjectRef {
            path: "night-1/a.parquet".to_owned(),
            etag: None,
            bytes: 1,
        };
        let shape = RowGroupShape {
            rows: 1,
            decoded_bytes: 1,
            seekable: false,
        };
        (object, vec![shape; *groups])
    };
    let splits = Splits::new(Source {
        drop: drop.to_string(),
        parts: 1,
        objects: objects.iter().map(object).collect(),
        split_bytes: 1,
        batch: 1,
        ..Source::default()
    });
    splits.into()
}

/// The split of a task.
fn split(task: &Task) -> &Split {
    match task {
        Task::Read(split) => split,
        Task::Adopt(_) => panic!("nothing is there to adopt"),
    }
}

/// A split's number among those of all drops.
fn number(task: &Task) -> u64 {
    let split = split(task);
    split.drop.parse::<u64>().unwrap() * SPLITS + split.number
}

fn done(worker: usize) -> HandedBack {
    HandedBack {
        worker,
        splits: 1,
        failed_object: None,
    }
}

/// The splits that each of two workers gets, in their order, where worker 1 hands back none before all are dealt.
fn dealt_beside_a_slow_worker(drops: u64) -> [Vec<u64>; 2] {
    let taken = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
    let told = taken.clone();
    timely::execute(Config::process(2), move |worker| {
        let me = worker.index();
        let taken = taken.clone();
        let (mut input, probe) = worker.dataflow(|scope| {
            use timely::dataflow::operators::Input;
            let (input, planned) = scope.new_input::<Vec<Work>>();
            let (around, handed_back) = scope.feedback(1);
            let all = (SPLITS * drops) as usize;
            let dealt = planned.deal(handed_back, IN_HAND);
            let handed = dealt.unary(Pipeline, "Work", |_, info| {
                let activator = scope.activator_for(info.address.clone());
                let mut in_hand: Vec<Capability<u64>> = Vec::new();
                move |input, output| {
                    let mut taken = taken.lock().unwrap();
                    input.for_each_time(|time, data| {
                        for task in data.flat_map(|tasks| tasks.drain(..)) {
                            taken[me].push(number(&task));
                            in_hand.push(time.retain(0));
                        }
                    });
                    if me == 0 || taken.iter().map(Vec::len).sum::<usize>() == all {
                        for capability in in_hand.drain(..) {
                            output.session(&capability).give(done(me));
                        }
                    } else {
                        activator.activate();
                    }
                }
            });
            let (probe, handed) = handed.probe();
            handed.connect_loop(around);
            (input, probe)
        });
        for drop in 0..drops {
            if me == 0 {
                input.send(work(drop, &[SPLITS as usize]));
            }
            input.advance_to(drop + 1);
        }
        input.close();
        worker.step_while(|| !probe.done());
    })
    .unwrap()
    .join()
    .into_iter()
    .for_each(|ended| ended.unwrap());
    Arc::into_inner(told).unwrap().into_inner().unwrap()
}

#[test]
fn a_slow_worker_keeps_what_it_has_in_hand_and_no_more() {
    let [fast, slow] = dealt_beside_a_slow_worker(1);
    assert_eq!(slow.len(), IN_HAND);
    assert_eq!(fast.len() as u64, SPLITS - IN_HAND as u64);
    assert!(fast.is_sorted() && slow.is_sorted());
}

#[test]
fn drops_share_the_hands_of_the_workers() {
    let [fast, slow] = dealt_beside_a_slow_worker(3);
    assert_eq!(slow.len(), IN_HAND);
    let mut all = [fast, slow].concat();
    all.sort_unstable();
    assert_eq!(all, (0..3 * SPLITS).collect::<Vec<_>>());
}

#[test]
fn a_worker_alone_gets_all_in_their_order() {
    let (tell, told) = channel();
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            use timely::dataflow::operators::{ToStream, vec::Map};
            let (around, handed_back) = scope.feedback(1);
            let drops = [work(0, &[SPLITS as usize])].to_stream(scope);
            let dealt = drops.container::<Vec<_>>().deal(handed_back, 1);
            let dealt = dealt.inspect(move |task| tell.send(split(task).number).unwrap());
            dealt.map(|_| done(0)).connect_loop(around);
        });
    });
    assert_eq!(
        told.iter().collect::<Vec<_>>(),
        (0..SPLITS).collect::<Vec<_>>()
    );
}

#[test]
fn an_object_that_has_failed_is_dealt_no_further() {
    let (tell, told) = channel();
    timely::execute_directly(move |worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            use timely::dataflow::operators::{ToStream, vec::Map};
            let (around, handed_back) = scope.feedback(1);
            let drops = [work(0, &[1000, 3])].to_stream(scope);
            let dealt = drops.container::<Vec<_>>().deal(handed_back, 1);
            let dealt = dealt.inspect(move |task| tell.send(split(task).object_index).unwrap());
            let backs = dealt.map(|task| HandedBack {
                failed_object: (split(&task).object_index == 0).then_some(0),
                ..done(0)
            });
            backs.connect_loop(around);
        });
    });
    assert_eq!(told.iter().collect::<Vec<_>>(), [0, 1, 1, 1]);
}
