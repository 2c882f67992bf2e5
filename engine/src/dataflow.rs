//! The whole job on one screen: each line is an operator, each operator a file of its own name.
use operators::{
    Adopt, Checkpoint, Commit, Committer, Deal, DropId, Flow, HandBack, Infer, Progress, Publish,
    Published, Read, Score, Scorer, Settled, ShowProgress, Validate, Write,
    feed::{Feed, feed},
};
use timely::dataflow::{
    Scope,
    operators::{Concat, ConnectLoop, Feedback, vec::Map},
};

use crate::stations::Stations;

/// Builds the dataflow of a job on one worker. A drop leaves it when it is settled, and then the metrics with it.
pub fn build<'s>(
    scope: Scope<'s, DropId>,
    drops: Option<Feed>,
    stations: &Stations,
    committer: &Committer,
    scorer: &Scorer,
    progress: &Progress,
) -> (Flow<'s, Settled>, Flow<'s, Published>) {
    let drops = feed(scope, drops);
    let work = drops.clone().map(|drop| drop.work());

    let (around, handed_back) = scope.feedback(1);
    let tasks = work.deal(handed_back, stations.reader.splits_in_hand);
    let (adopted, splits) = tasks.adopt(&stations.checkpointer);
    let galaxies = splits.read(&stations.reader);
    let judged = galaxies.validate(stations.plan.rules.clone(), stations.reader.clock);
    let photoz = judged.infer(&stations.inference).concat(adopted);
    photoz.clone().hand_back().connect_loop(around);

    photoz.clone().show_progress(progress);
    let parcels = photoz.checkpoint(&stations.checkpointer);
    let settled = parcels.write(&stations.writer).commit(drops, committer);
    let metrics = settled.clone().score(scorer);
    (settled, metrics.publish(scorer))
}
