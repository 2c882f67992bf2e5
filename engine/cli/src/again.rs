//! A process of a cluster that may change its size starts itself again, in its own place, to meet the others anew.
use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::Command,
    sync::{Mutex, PoisonError},
};

use hubbleflow::{clock::clock, start::Start};

use crate::console::tell;

/// What a process tells itself when it starts again.
const OURS: [&str; 2] = ["--earlier", "--left"];

/// The cluster of this process, if it may change its size.
static CLUSTER: Mutex<Option<ElasticCluster>> = Mutex::new(None);

/// A cluster that may change its size, as one of its processes knows it.
#[derive(Clone)]
pub(crate) struct ElasticCluster {
    /// The command that the summary counts for, once the processes have met.
    pub start: Option<Start>,
    /// How many processes there are, once they have met.
    pub processes: Option<usize>,
}

/// Keeps in mind that this process may start itself again.
pub(crate) fn remember(cluster: ElasticCluster) {
    *CLUSTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
}

/// Keeps in mind the command and the size of the cluster, once the processes have met.
pub(crate) fn has_met(start: &Start, processes: usize) {
    let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = cluster.as_mut() {
        cluster.start = Some(start.clone());
        cluster.processes = Some(processes);
    }
}

/// Starts this program again in place of this process, if its cluster may change its size; `lost` of its processes are
/// gone. Returns only if the program cannot be started.
pub(crate) fn start_again(lost: usize) {
    let cluster = CLUSTER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let (Some(cluster), Ok(program)) = (cluster, std::env::current_exe()) else {
        return;
    };
    let failed = Command::new(program)
        .args(words_without(&OURS))
        .args(said_again(cluster, lost))
        .exec();
    tell(format_args!("hubbleflow: cannot start again: {failed}"));
}

/// What the new start is told. A process that has not met the others begins as it did before.
fn said_again(cluster: ElasticCluster, lost: usize) -> Vec<String> {
    let (Some(Start { command, after }), Some(processes)) = (cluster.start, cluster.processes)
    else {
        return Vec::new();
    };
    let after = after + clock();
    let left = processes.saturating_sub(lost).max(1);
    let said = [Start { command, after }.to_string(), left.to_string()];
    let said = OURS.iter().zip(said);
    said.flat_map(|(name, value)| [(*name).to_owned(), value])
        .collect()
}

/// The arguments of this process, without these options and their values.
fn words_without(options: &[&str]) -> Vec<OsString> {
    let (mut words, mut kept) = (std::env::args_os().skip(1), Vec::new());
    while let Some(word) = words.next() {
        match options.iter().any(|option| word == **option) {
            true => drop(words.next()),
            false => kept.push(word),
        }
    }
    kept
}
