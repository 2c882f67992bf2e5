//! Histories of commits: random ones, and a run that takes a history and checks the metrics after each step.
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use connectors::{
    committed::{self, replaced_since},
    ledger::{FlagCounts, RowCounts},
};
use hubbleflow_operators::{Metrics, Outcome, Score, Scored, Settled, Tally};
use proptest::{option, prelude::*};
use timely::dataflow::operators::{Capture, Input, capture::Event};

use crate::{
    plain::{self, Object},
    score_output::{Committed, Content, Says},
};

/// Drops have these names, in this order; histories commit them in any.
pub const DROPS: [&str; 4] = ["a", "b", "c", "d"];

/// A commit: the rows of a drop by object. Rejected rows are those that are not there.
#[derive(Clone, Debug)]
pub struct Step {
    pub drop: usize,
    pub rows: Content,
    pub told: Told,
}

/// How the run learns of a commit.
#[derive(Clone, Copy, Debug)]
pub enum Told {
    Ours,
    Overtaken,
    /// Another run's: not before the next of ours.
    Later,
}

pub fn z() -> impl Strategy<Value = f32> {
    (-0.01_f32..0.7).prop_map(|z| z)
}

pub fn says() -> impl Strategy<Value = Says> {
    let cell = 0_i64..12 * 4_i64.pow(29);
    let predicted = (
        z(),
        option::weighted(0.5, z()),
        option::weighted(0.9, 14.0_f32..18.0),
        cell,
    );
    let predicted = predicted.prop_map(|(z_phot, z_spec, mag_r, cell)| Says::Predicted {
        z_phot,
        z_spec,
        mag_r,
        cell,
    });
    prop_oneof![5 => predicted, 1 => Just(Says::Withdrawn)]
}

pub fn step() -> impl Strategy<Value = Step> {
    let object = 0_i64..6;
    let photoz = proptest::collection::btree_map(object.clone(), says(), 0..6);
    let specz = proptest::collection::btree_map(object, z(), 0..4);
    let rows = prop_oneof![
        3 => photoz.prop_map(Content::Photoz),
        1 => specz.prop_map(Content::SpecZ)
    ];
    let told =
        prop_oneof![4 => Just(Told::Ours), 1 => Just(Told::Overtaken), 1 => Just(Told::Later)];
    (0..DROPS.len(), rows, told).prop_map(|(drop, rows, told)| Step { drop, rows, told })
}

/// The objects as they stand, by the rule: of rows and of spec-z, that of the later name counts; withdrawn means gone.
pub fn stand(committed: &BTreeMap<usize, Content>) -> (Vec<Object>, i64) {
    let (mut rows, mut spectra) = (BTreeMap::new(), BTreeMap::new());
    for (&drop, content) in committed {
        match content {
            Content::SpecZ(taught) => spectra.extend(taught.clone()),
            Content::Photoz(photoz) => {
                for (object, says) in photoz {
                    rows.insert(*object, (drop, says));
                    if let Says::Predicted {
                        z_spec: Some(z), ..
                    } = says
                    {
                        spectra.insert(*object, *z);
                    }
                }
            }
        }
    }
    let mut with_spec_z = 0;
    let mut objects = Vec::new();
    for (object, z_spec) in spectra {
        match rows.get(&object) {
            Some((_, Says::Withdrawn)) => continue,
            Some((
                drop,
                Says::Predicted {
                    z_phot,
                    mag_r,
                    cell,
                    ..
                },
            )) => objects.push(Object {
                z_phot: *z_phot,
                z_spec,
                drop: DROPS[*drop].to_owned(),
                mag_r: *mag_r,
                cell: *cell,
            }),
            None => {}
        }
        with_spec_z += 1;
    }
    (objects, with_spec_z)
}

pub fn settled(drop: &str, outcome: Outcome) -> Settled {
    Settled {
        drop: drop.to_owned(),
        outcome,
        rows: RowCounts::default(),
        flags: FlagCounts::default(),
        files: 0,
        tally: Tally::default(),
    }
}

/// The next that was scored: one answer comes for each drop that is settled.
pub fn next(
    worker: &mut timely::worker::Worker,
    events: &Receiver<Event<u64, Vec<Scored>>>,
) -> Scored {
    loop {
        worker.step_or_park(Some(Duration::from_millis(1)));
        for event in events.try_iter() {
            if let Event::Messages(_, mut scored) = event {
                assert_eq!(scored.len(), 1);
                return scored.remove(0);
            }
        }
    }
}

/// Takes a history through one run, the first steps of which are committed before, and checks the metrics wherever
/// they are made. Answers what is committed, and the metrics at the end.
pub fn run(history: Vec<Step>, known: usize) -> (Arc<Committed>, Option<Metrics>) {
    let place = Arc::new(Committed::new());
    let kept = place.clone();
    let last = timely::execute_directly(move |worker| {
        let mut committed: BTreeMap<usize, Content> = BTreeMap::new();
        let mut commit = |at: usize| {
            let Step { drop, rows, .. } = &history[at];
            committed.insert(*drop, rows.clone());
            let sequence = place.commit(at, DROPS[*drop], rows);
            (sequence, stand(&committed))
        };
        let known = known.min(history.len());
        // Of what was committed before, the last is scored, and whatever has no metrics and can have them.
        let mut before: Vec<_> = (0..known).map(&mut commit).collect();
        let ledger = place.runtime.block_on(place.ledger.lock()).clone();
        let unreplaced = before.iter().map(|(sequence, _)| *sequence);
        let unreplaced = unreplaced.filter(|&sequence| replaced_since(&ledger, sequence).is_none());
        assert_eq!(committed::kept(&ledger), unreplaced.collect::<Vec<_>>());
        before.retain(|(sequence, _)| {
            let at = *sequence as usize - 1;
            let has_some = at + 1 < known && matches!(history[at].told, Told::Later);
            !has_some && replaced_since(&ledger, *sequence).is_none()
        });
        let scorer = place.scorer(before.iter().map(|(sequence, _)| *sequence).collect());
        let (mut input, events) = worker.dataflow(|scope| {
            let (input, settled) = scope.new_input::<Vec<Settled>>();
            (input, settled.score(&scorer).capture())
        });
        let mut last = None;
        for (sequence, expected) in before {
            last = Some(check(last, &next(worker, &events), sequence, &expected));
        }
        for (at, step) in history.iter().enumerate().skip(known) {
            let (sequence, expected) = commit(at);
            let outcome = match step.told {
                Told::Ours => Outcome::Committed(sequence),
                Told::Overtaken => Outcome::Overtaken(sequence),
                Told::Later => continue,
            };
            input.send(settled(DROPS[step.drop], outcome));
            input.advance_to(at as u64 + 1);
            last = Some(check(last, &next(worker, &events), sequence, &expected));
        }
        last
    });
    (kept, last)
}

/// Takes in what was scored, as a reader of the files does, and checks the metrics that come of it.
#[track_caller]
pub fn check(
    before: Option<Metrics>,
    scored: &Scored,
    sequence: u64,
    (objects, with_spec_z): &(Vec<Object>, i64),
) -> Metrics {
    let file = scored.metrics.as_ref().unwrap();
    let mut metrics = before.unwrap_or_else(|| {
        assert!(file.complete, "there is nothing that it can be a change of");
        file.as_ref().clone()
    });
    metrics.update(file.as_ref().clone());
    assert_eq!(
        (metrics.sequence, metrics.objects),
        (sequence, *with_spec_z)
    );
    plain::assert_metrics(&metrics, objects);
    metrics
}
