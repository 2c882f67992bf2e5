//! The whole job on one screen: each line is an operator, each operator a file of its own name.
use operators::{
    Commit, Committer, Deal, DropId, Flow, HandBack, Infer, Progress, Publish, Published, Read,
    Score, Scorer, Settled, ShowProgress, Validate, Write,
    feed::{Feed, feed},
};
use timely::dataflow::{
    Scope,
    operators::{ConnectLoop, Feedback, vec::Map},
};

use crate::Job;

/// Builds the dataflow of a job on one worker. A drop leaves it when it is settled, and then the metrics with it.
pub fn build<'s>(
    scope: Scope<'s, DropId>,
    drops: Option<Feed>,
    job: &Job,
    committer: &Committer,
    scorer: &Scorer,
    progress: &Progress,
) -> (Flow<'s, Settled>, Flow<'s, Published>) {
    let drops = feed(scope, drops);
    let splits = drops.clone().map(|drop| drop.splits);

    let (around, handed_back) = scope.feedback(1);
    let splits = splits.deal(handed_back, job.reader.splits_in_hand);
    let galaxies = splits.read(&job.reader);
    let judged = galaxies.validate(job.plan.rules, job.reader.clock);
    let photoz = judged.infer(&job.inference);
    photoz.clone().hand_back().connect_loop(around);

    photoz.clone().show_progress(progress);
    let settled = photoz.write(&job.writer).commit(drops, committer);
    let metrics = settled.clone().score(scorer);
    (settled, metrics.publish(scorer))
}
