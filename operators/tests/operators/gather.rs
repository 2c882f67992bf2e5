//! The operator against a plain account of what it was given.
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use hubbleflow_operators::gather::{Group, gather};
use proptest::prelude::*;
use timely::dataflow::{
    channels::pact::Pipeline,
    operators::{Concat, Input, InspectCore},
};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    key: u8,
    number: usize,
}

/// What is done to one of two inputs: an item is sent at its time, or its time goes on.
#[derive(Clone, Debug)]
enum Step {
    Send { input: usize, key: u8 },
    Advance { input: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send = (0..2_usize, 0..4_u8).prop_map(|(input, key)| Step::Send { input, key });
    let advance = (0..2_usize).prop_map(|input| Step::Advance { input });
    prop::collection::vec(prop_oneof![4 => send, 1 => advance], 0..60)
}

/// What was sent and has not come out.
#[derive(Default)]
struct Account {
    open: BTreeMap<(u64, u8), Vec<Item>>,
    completed: BTreeMap<(u64, u8), ()>,
}

impl Account {
    fn take(&mut self, time: u64, group: Group<u8, Item>, frontier: u64) {
        let place = (time, group.key);
        assert!(
            !self.completed.contains_key(&place),
            "a group of {place:?} after the complete one"
        );
        assert!(
            time < frontier,
            "{place:?} is called complete at frontier {frontier}"
        );
        self.completed.insert(place, ());
        assert_eq!(
            self.open.remove(&place).as_deref(),
            Some(&group.items[..]),
            "not the items that were held of {place:?}"
        );
    }

    fn check(&self, frontier: u64) {
        let late = self.open.keys().find(|(time, _)| *time < frontier);
        assert_eq!(late, None, "still held at frontier {frontier}");
    }
}

fn follow(steps: Vec<Step>) {
    timely::execute_directly(move |worker| {
        let came = Rc::new(RefCell::new(Vec::new()));
        let coming = came.clone();
        let mut inputs = worker.dataflow::<u64, _, _>(|scope| {
            let (left, items) = scope.new_input::<Vec<Item>>();
            let (right, more) = scope.new_input::<Vec<Item>>();
            gather(items.concat(more), Pipeline, "Gather", |item| item.key).inspect_container(
                move |event| {
                    if let Ok((time, groups)) = event {
                        coming
                            .borrow_mut()
                            .extend(groups.iter().map(|group| (*time, group.clone())));
                    }
                },
            );
            [left, right]
        });
        let mut account = Account::default();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Send { input, key } => {
                    let item = Item { key, number };
                    let time = *inputs[input].time();
                    inputs[input].send(item);
                    inputs[input].flush();
                    account.open.entry((time, key)).or_default().push(item);
                }
                Step::Advance { input } => {
                    let next = inputs[input].time() + 1;
                    inputs[input].advance_to(next);
                }
            }
            (0..10).for_each(|_| {
                worker.step();
            });
            let frontier = inputs.iter().map(|input| *input.time()).min().unwrap();
            for (time, group) in came.borrow_mut().drain(..) {
                account.take(time, group, frontier);
            }
            account.check(frontier);
        }
        inputs.into_iter().for_each(|input| input.close());
        while worker.has_dataflows() {
            worker.step();
        }
        for (time, group) in came.borrow_mut().drain(..) {
            account.take(time, group, u64::MAX);
        }
        account.check(u64::MAX);
    });
}

proptest! {
    #[test]
    fn every_item_comes_out_once_with_its_key_and_drop(steps in steps()) {
        follow(steps);
    }
}
