use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use hubbleflow_operators::offload::{Reply, offload};
use timely::{
    dataflow::{
        InputHandle, ProbeHandle,
        channels::pact::Pipeline,
        operators::{Capture, Input, Probe, ToStream, vec::Delay},
    },
    worker::Worker,
};

use crate::survey::items;

type Out = Rc<RefCell<Vec<(u64, Reply<u64>)>>>;

/// An operator whose items stay out until the test answers them.
fn by_hand(
    worker: &mut Worker,
    in_flight: usize,
) -> (
    InputHandle<u64, timely::container::CapacityContainerBuilder<Vec<u64>>>,
    ProbeHandle<u64>,
    Out,
) {
    let out = Out::default();
    let submitted = out.clone();
    worker.dataflow::<u64, _, _>(|scope| {
        let (input, items) = scope.new_input::<Vec<u64>>();
        let answers = offload(items, Pipeline, "ByHand", in_flight, move |item, reply| {
            submitted.borrow_mut().push((item, reply));
        });
        (input, answers.probe().0, out)
    })
}

fn settle(worker: &mut Worker) {
    for _ in 0..20 {
        worker.step();
    }
}

#[test]
fn a_drop_is_open_while_its_work_is_out() {
    timely::execute_directly(|worker| {
        let (mut input, probe, out) = by_hand(worker, 2);
        input.send(7);
        input.advance_to(1);
        settle(worker);
        assert!(probe.less_than(&1), "nobody has answered yet");
        let (_, reply) = out.borrow_mut().pop().unwrap();
        reply.send(49);
        settle(worker);
        assert!(probe.less_than(&1), "the answer may not be the last");
        reply.finish();
        settle(worker);
        assert!(
            !probe.less_than(&1),
            "the work is done, and the drop is still open"
        );
    });
}

#[test]
fn no_more_are_out_than_allowed_and_the_rest_follow() {
    timely::execute_directly(|worker| {
        let (mut input, probe, out) = by_hand(worker, 3);
        (0..10).for_each(|item| input.send(item));
        input.close();
        let mut seen = Vec::new();
        while !probe.done() {
            settle(worker);
            assert!(out.borrow().len() <= 3);
            if let Some((item, reply)) = out.borrow_mut().pop() {
                seen.push(item);
                reply.finish();
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(0..10));
    });
}

#[test]
fn each_answer_comes_at_the_time_of_its_item() {
    let answers = timely::execute_directly(|worker| {
        worker.dataflow::<u64, _, _>(|scope| {
            let items = [(0_u64, 2_u64), (1, 0), (2, 3)]
                .to_stream(scope)
                .container::<Vec<_>>();
            offload(
                items.delay(|(time, _), _| *time),
                Pipeline,
                "Count",
                1,
                |(time, count), reply| {
                    std::thread::spawn(move || {
                        (0..count).for_each(|answer| reply.send((time, answer)));
                        reply.finish();
                    });
                },
            )
            .capture()
        })
    });
    let mut answers = items(answers);
    answers.sort_unstable();
    assert_eq!(
        answers,
        [
            (0, (0, 0)),
            (0, (0, 1)),
            (2, (2, 0)),
            (2, (2, 1)),
            (2, (2, 2))
        ]
    );
}

#[test]
fn a_lost_reply_stops_the_worker() {
    let run = catch_unwind(AssertUnwindSafe(|| {
        timely::execute_directly(|worker| {
            worker.dataflow::<u64, _, _>(|scope| {
                let items = [1_u64].to_stream(scope).container::<Vec<_>>();
                offload(items, Pipeline, "Lose", 1, |_item, reply: Reply<u64>| {
                    drop(reply)
                });
            });
        });
    }));
    let message = *run.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("was lost"), "{message}");
}
