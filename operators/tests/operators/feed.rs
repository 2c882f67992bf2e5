use std::{
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use connectors::{DropPlan, galaxy::FileKind};
use hubbleflow_operators::feed::{Feed, feed, feeder};
use timely::dataflow::operators::{Capture, Inspect};

use crate::survey::items;

fn plan(name: &str) -> DropPlan {
    DropPlan {
        name: name.to_owned(),
        attempt: String::new(),
        began: 1,
        kind: FileKind::Galaxies,
        id_kind: None,
        keep: Default::default(),
        inputs: Vec::new(),
        ignored: Vec::new(),
        rows: 0,
        parts: 1,
        failure: None,
        splits: connectors::split::Splits::default(),
    }
}

#[test]
fn drops_come_in_order_at_times_of_their_own_and_end_with_the_feeder() {
    let (feeder, feed_of) = feeder();
    for name in ["b", "a", "c"] {
        assert!(feeder.put(plan(name)));
    }
    drop(feeder);
    let feed_of = Mutex::new(feed_of);
    let drops = timely::execute_directly(|worker| {
        worker.dataflow(|scope| feed(scope, feed_of.into_inner().ok()).capture())
    });
    let drops: Vec<(u64, String)> = items(drops)
        .into_iter()
        .map(|(time, drop)| (time, drop.plan.name))
        .collect();
    assert_eq!(
        drops,
        [
            (0, "b".to_owned()),
            (1, "a".to_owned()),
            (2, "c".to_owned())
        ]
    );
}

#[test]
fn a_worker_without_a_feed_emits_nothing_and_ends() {
    let drops =
        timely::execute_directly(|worker| worker.dataflow(|scope| feed(scope, None).capture()));
    assert_eq!(items(drops), []);
}

#[test]
fn whoever_feeds_a_dataflow_that_is_gone_is_told() {
    let (feeder, feed_of) = feeder();
    drop(feed_of);
    assert!(!feeder.put(plan("late")));
}

#[test]
fn a_drop_wakes_a_worker_that_sleeps() {
    let (feeder, feed_of) = feeder();
    let (tell, told) = channel();
    std::thread::spawn(move || sleep_between_drops(feed_of, tell));
    // A drop is put when the one before it has come out: the worker has nothing to do, and sleeps or is about to.
    for drop in 0..200 {
        feeder.put(plan(&drop.to_string()));
        let heard = told.recv_timeout(Duration::from_secs(20));
        assert_eq!(heard, Ok(drop.to_string()), "the worker sleeps on");
    }
    drop(feeder);
    assert_eq!(
        told.recv_timeout(Duration::from_secs(20)),
        Ok("over".to_owned()),
        "the worker sleeps on"
    );
}

fn sleep_between_drops(feed_of: Feed, tell: Sender<String>) {
    let (over, feed_of) = (tell.clone(), Mutex::new(feed_of));
    timely::execute_directly(move |worker| {
        worker.dataflow(|scope| {
            feed(scope, feed_of.into_inner().ok())
                .inspect(move |drop| tell.send(drop.plan.name.clone()).unwrap());
        });
        while worker.has_dataflows() {
            worker.step_or_park(None);
        }
    });
    over.send("over".to_owned()).unwrap();
}
