//! The oracle: after every step of a history, the metrics are those of a plain computation over what is committed.
use std::collections::BTreeMap;

use hubbleflow_operators::{
    Metrics, Outcome, Score, Settled, publish,
    score::{score_each, score_up_to},
};
use object_store::path::Path;
use proptest::{collection::vec, prelude::*};
use timely::dataflow::operators::{Capture, Input};

use crate::{
    score_history::{DROPS, Step, Told, next, run, settled, step},
    score_output::{Committed, Content, Says},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_every_step_the_metrics_are_those_of_a_plain_computation(
        history in vec(step(), 1..10),
        known in 0_usize..4,
    ) {
        let (place, last) = run(history, known);
        // Made from nothing they are the same to the byte.
        if let Some(last) = last {
            let rebuilt = place.rebuilt();
            if rebuilt.sequence == last.sequence {
                prop_assert_eq!(rebuilt.to_json(), last.to_json());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_commits_changes_nothing(
        contents in vec(step(), DROPS.len()),
        order in Just([0, 1, 2, 3]).prop_shuffle(),
    ) {
        let history = |order: [usize; 4]| -> Vec<Step> {
            let step = |drop: usize| Step { drop, told: Told::Ours, ..contents[drop].clone() };
            order.map(step).into()
        };
        let [forth, other] = [[0, 1, 2, 3], order].map(|order| {
            let (_, last) = run(history(order), 0);
            Metrics { drop: String::new(), ..last.unwrap() }
        });
        prop_assert_eq!(forth.to_json(), other.to_json());
    }
}

fn predicted(z_phot: f32, z_spec: Option<f32>) -> Says {
    Says::Predicted {
        z_phot,
        z_spec,
        mag_r: Some(17.0),
        cell: 0,
    }
}

fn ours(drop: usize, rows: Content) -> Step {
    Step {
        drop,
        rows,
        told: Told::Ours,
    }
}

#[test]
fn a_row_that_is_gone_from_a_drop_run_again_gives_way_to_the_one_before() {
    let photoz = |rows: &[(i64, Says)]| Content::Photoz(rows.iter().cloned().collect());
    let history = vec![
        ours(0, photoz(&[(1, predicted(0.3, None))])),
        ours(1, photoz(&[(1, predicted(0.2, Some(0.2)))])),
        ours(2, Content::SpecZ(BTreeMap::from([(1, 0.25)]))),
        ours(1, photoz(&[])),
    ];
    let (_, last) = run(history, 0);
    let metrics = last.unwrap();
    assert_eq!(metrics.by_drop.keys().collect::<Vec<_>>(), ["a"]);
    assert!((metrics.all.bias.unwrap() - 0.05 / 1.25).abs() < 1e-7);
}

#[test]
fn spec_z_alone_take_no_predictions_place() {
    let photoz = |z_spec| Content::Photoz(BTreeMap::from([(1, predicted(0.3, z_spec))]));
    let history = vec![
        ours(0, photoz(None)),
        ours(3, photoz(Some(0.2))),
        // The same drop, delivered again without cutouts: the first one's prediction stands.
        ours(3, Content::SpecZ(BTreeMap::from([(1, 0.2)]))),
    ];
    let (_, last) = run(history, 0);
    assert_eq!(last.unwrap().by_drop.keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn what_cannot_be_read_is_told_until_its_drop_is_committed_again() {
    let place = Committed::new();
    let rows = Content::Photoz(BTreeMap::from([(1, predicted(0.3, Some(0.2)))]));
    let first = place.commit(0, "a", &rows);
    let file = Path::from("out/photoz/a/part-0000-attempt-0.parquet");
    let store = place.output.location().store.clone();
    place
        .runtime
        .block_on(object_store::ObjectStoreExt::delete(&store, &file))
        .unwrap();
    let scorer = place.scorer(vec![first]);
    timely::execute_directly(move |worker| {
        let (mut input, events) = worker.dataflow(|scope| {
            let (input, settled) = scope.new_input::<Vec<Settled>>();
            (input, settled.score(&scorer).capture())
        });
        let reason = next(worker, &events).metrics.unwrap_err();
        assert!(
            reason.contains("photoz/a/part-0000-attempt-0.parquet"),
            "{reason}"
        );
        let again = place.commit(1, "a", &rows);
        input.send(settled("a", Outcome::Committed(again)));
        input.advance_to(1);
        let metrics = next(worker, &events).metrics.unwrap();
        assert_eq!(metrics.all.n, 1);
    });
}

/// Each file held all slices: 2,000 drops of three rows left 700 MB of metrics.
#[test]
fn the_metrics_of_many_small_drops_cost_what_they_change() {
    const MANY: u64 = 2_000;
    let place = Committed::new();
    for drop in 0..MANY {
        // Every third object is a correction of one before.
        let row = |at: u64| {
            let id = (3 * drop + at) / if at == 2 { 2 } else { 1 };
            let (z_spec, error) = (0.001 * (id % 400) as f32, 0.0001 * (drop % 700) as f32);
            // Tiles of 14,000 square degrees.
            let cell = (id as i64 * 7_919 % 4_170) << 48;
            let predicted = Says::Predicted {
                z_phot: z_spec + error,
                z_spec: Some(z_spec),
                mag_r: Some(14.0 + (id % 40) as f32 / 10.0),
                cell,
            };
            (id as i64, predicted)
        };
        let rows = Content::Photoz((0..3).map(row).collect());
        place.commit(drop as usize, &format!("night-{drop:04}"), &rows);
    }
    let ledger = place.runtime.block_on(place.ledger.lock()).clone();
    let (tell, told) = std::sync::mpsc::channel();
    let sequences = (1..=MANY).collect();
    let handle = place.runtime.handle();
    score_each(
        &place.output,
        ledger.clone(),
        sequences,
        handle,
        move |scored| {
            tell.send(scored.metrics.unwrap()).unwrap();
        },
    );
    let (mut all_bytes, mut largest_change) = (0, 0);
    for metrics in told {
        let bytes = metrics.to_json().len();
        all_bytes += bytes;
        let is_whole = metrics.sequence == 1 || metrics.sequence.is_multiple_of(64);
        assert_eq!(metrics.complete, is_whole, "{}", metrics.sequence);
        if !is_whole {
            largest_change = largest_change.max(bytes);
        }
        let written = publish::write(&place.output, &metrics);
        place.runtime.block_on(written).unwrap();
    }
    println!("{MANY} drops: {all_bytes} bytes, {largest_change} for a drop");
    assert!(all_bytes < 40_000_000 && largest_change < 20_000);
    // Put together, the files are what is made from nothing.
    for sequence in [1, 63, 64, 65, 129, MANY] {
        let together = publish::read_whole(&place.output, &ledger, sequence);
        let together = place.runtime.block_on(together).unwrap().unwrap();
        let made = score_up_to(&place.output, ledger.clone(), sequence, handle).unwrap();
        let made: Metrics = serde_json::from_slice(&made.to_json()).unwrap();
        assert_eq!(together, made);
    }
}
