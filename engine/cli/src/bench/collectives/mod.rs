//! Collectives alone: clusters of processes of this program, and what a round takes in them.
mod rounds;
mod timings;
mod worker;

use std::{ffi::OsString, path::PathBuf};

use clap::Args;
use hubbleflow::{ClusterKey, ClusterSettings, on_workers, start::Start};

use self::{rounds::Collective, timings::Timings, worker::time};
use crate::{Error, args::LocalPath, supervise};

/// Upper bound on the processes of a cluster.
const PROCESSES_MAX: i64 = 64;
/// Upper bound on the bytes of a message.
const BYTES_MAX: u64 = 1 << 28;

/// Settings of `bench collectives`.
#[derive(Args)]
pub struct CollectivesArgs {
    /// Processes of each cluster that is timed, started on this machine
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2, 4],
        value_parser = clap::value_parser!(u32).range(1..=PROCESSES_MAX))]
    processes: Vec<u32>,
    /// Bytes of a message: a vector of float64, so a multiple of 8
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', default_values_t = [8, 1 << 10, 1 << 14, 1 << 18, 1 << 22],
        value_parser = clap::value_parser!(u64).range(8..=BYTES_MAX))]
    bytes: Vec<u64>,
    /// The collectives that are timed [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    collectives: Vec<Collective>,
    /// Rounds that are timed of each; fewer of long messages
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// The key that encrypts what the processes say
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    cluster_key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// The number of this process, from a supervisor
    #[arg(long, hide = true)]
    process: Option<usize>,
    /// The address of each process, from a supervisor
    #[arg(long, hide = true, value_delimiter = ',')]
    addresses: Vec<String>,
    /// Started by a supervisor: ends when standard input does
    #[arg(long, hide = true)]
    supervised: Option<Start>,
    /// Where the first process writes its timings, from a supervisor
    #[arg(long, hide = true)]
    result: Option<PathBuf>,
}

impl CollectivesArgs {
    fn collectives(&self) -> Vec<Collective> {
        match self.collectives.is_empty() {
            true => Collective::ALL.to_vec(),
            false => self.collectives.clone(),
        }
    }

    /// The arguments of a process that takes part.
    fn pass_on(&self, result: PathBuf) -> Vec<OsString> {
        let list = |items: Vec<String>| OsString::from(items.join(","));
        let bytes = self.bytes.iter().map(u64::to_string).collect();
        let collectives = self.collectives().into_iter();
        let collectives = collectives.map(|of| of.to_string()).collect();
        let key = self.cluster_key.iter();
        let key = key.flat_map(|key| ["--cluster-key".into(), key.into()]);
        let words: Vec<OsString> = vec![
            "bench".into(),
            "collectives".into(),
            "--bytes".into(),
            list(bytes),
            "--collectives".into(),
            list(collectives),
            "--rounds".into(),
            self.rounds.to_string().into(),
            "--result".into(),
            result.into(),
        ];
        words.into_iter().chain(key).collect()
    }
}

/// Times the collectives in one cluster after another. In a process that takes part in one, the timings go to a file.
pub(super) fn bench(args: &CollectivesArgs) -> Result<Option<Timings>, Error> {
    if let Some(odd) = args.bytes.iter().find(|bytes| !bytes.is_multiple_of(8)) {
        return Err(Error::usage(format!(
            "--bytes {odd}: a message is a vector of float64; give a multiple of 8"
        )));
    }
    if let Some(process) = args.process {
        take_part(args, process)?;
        return Ok(None);
    }
    let folder = tempfile::tempdir().map_err(|source| Error::io("a folder for timings", source))?;
    let mut timings = Timings::here();
    for &processes in &args.processes {
        let result = folder.path().join(format!("{processes}.json"));
        let command = args.pass_on(result.clone());
        let code = supervise::supervise(&command, processes as usize, 0, &[], None)?;
        if code != 0 {
            return Err(Error::Crashed(format!(
                "a process of the cluster of {processes} ended with code {code}; its reason is above"
            )));
        }
        let io = |source| Error::io("the timings of a cluster", source);
        let text = std::fs::read(result).map_err(io)?;
        let rows: Vec<_> = serde_json::from_slice(&text).map_err(|error| io(error.into()))?;
        timings.rows.extend(rows);
    }
    Ok(Some(timings))
}

/// Times the collectives as a process of a cluster.
fn take_part(args: &CollectivesArgs, process: usize) -> Result<(), Error> {
    if args.supervised.is_some() {
        supervise::end_with_supervisor()?;
    }
    let mut cluster = ClusterSettings::at_hosts(args.addresses.clone(), process);
    cluster.key = args
        .cluster_key
        .as_deref()
        .map(ClusterKey::read)
        .transpose()?;
    let (collectives, bytes, rounds) = (args.collectives(), args.bytes.clone(), args.rounds);
    let timed = on_workers(Some(&cluster), 1, "bench collectives", move |worker| {
        time(worker, &collectives, &bytes, rounds as usize)
    })?;
    let rows: Vec<_> = timed.into_iter().flatten().collect();
    if let Some(result) = args.result.as_ref().filter(|_| process == 0) {
        let text = crate::console::json(&rows);
        std::fs::write(result, text).map_err(|source| Error::io("writing timings", source))?;
    }
    Ok(())
}
