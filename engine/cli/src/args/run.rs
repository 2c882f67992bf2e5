//! How a job runs, and how a catalog is watched.
use std::path::PathBuf;

use clap::Args;
use hubbleflow::{
    ClusterSettings, JobSettings,
    cluster::read_hosts,
    settings::{BATCH_MAX, WORKERS_MAX},
    start::Start,
    units::{HumanBytes, HumanDuration},
};
use models::device::{DeviceChoice, InstructionSet, PrecisionChoice};

use super::{
    catalog::CatalogArgs,
    values::{LocalPath, checkpoint, local, poll, threads},
};
use crate::Error;

/// Arguments of `run`. Only device, precision, instructions and batch change predictions.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What is read, and where it goes.
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Where the model runs: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// The model's arithmetic: auto, fp32 or bf16
    #[arg(long, default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Instructions of the CPU that the model uses: any, avx2, avx512, avx512_bf16 or amx [default: the fastest that this
    /// machine has]. Machines that differ give the same bits if they use the same instructions
    #[arg(long, value_name = "SET")]
    pub instructions: Option<InstructionSet>,
    /// Galaxies that the model takes at a time [default: 128, on a GPU 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(BATCH_MAX)))]
    pub batch: Option<u32>,
    /// Upper bound on what a process has in flight: fetched, decoded, waiting, not yet written
    #[arg(long, default_value = "512MB")]
    pub memory: HumanBytes,
    /// How often results are stored before their drop is committed: what a crash may cost; 0 switches it off
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = checkpoint)]
    pub checkpoint: HumanDuration,
    /// Threads that run the model in a process [default: its share of the cores, on a GPU 3]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Workers of the dataflow in a process
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    pub workers: u32,
    /// How often a local cluster is started again after one of its processes crashed
    #[arg(long, default_value_t = 3)]
    pub restarts: u32,
    /// Run as a cluster of N processes on this machine
    #[arg(long, value_name = "N", value_parser = local)]
    pub local: Option<usize>,
    /// How many processes the cluster has
    #[arg(long, value_name = "N", requires = "process")]
    pub processes: Option<usize>,
    /// The number of this process, from 0
    #[arg(long, value_name = "I", requires = "processes")]
    pub process: Option<usize>,
    /// A file with a line HOST:PORT for each process
    #[arg(long, value_name = "FILE", requires = "processes", value_parser = LocalPath)]
    pub hosts: Option<PathBuf>,
    /// The lines of such a file, from a supervisor
    #[arg(long, hide = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub addresses: Vec<String>,
    /// Started by a supervisor, for this command: ends when standard input does
    #[arg(long, hide = true, value_name = "COMMAND@SECONDS")]
    pub supervised: Option<Start>,
}

/// Arguments of `watch`.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// How a drop that arrives is run.
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to wait between two looks at the catalog
    #[arg(long, default_value = "500ms", value_parser = poll)]
    pub poll: HumanDuration,
    /// A drop without _SUCCESS is complete when nothing in it has changed for this long
    #[arg(long, default_value = "10s")]
    pub settle: HumanDuration,
}

impl RunArgs {
    /// The settings of the job; reads the hosts file if one is named.
    ///
    /// # Errors
    /// [`Error::Usage`] for hosts that do not fit.
    pub(crate) fn settings(&self) -> Result<JobSettings, Error> {
        Ok(JobSettings {
            plan: self.catalog.settings(),
            device: self.device,
            precision: self.precision,
            instructions: self.instructions,
            batch: self.batch,
            memory_bytes: self.memory.0,
            checkpoint: self.checkpoint.0,
            threads: self.threads,
            workers: self.workers,
            cluster: self.cluster()?,
        })
    }

    fn cluster(&self) -> Result<Option<ClusterSettings>, Error> {
        let (Some(processes), Some(process)) = (self.processes, self.process) else {
            return Ok(None);
        };
        let mut hosts = match &self.hosts {
            _ if !self.addresses.is_empty() => self.addresses.clone(),
            Some(file) => read_hosts(file)?,
            None => {
                return Err(Error::usage(
                    "--process needs --hosts, a file with a line HOST:PORT for each process",
                ));
            }
        };
        if hosts.len() < processes || process >= processes {
            return Err(Error::usage(format!(
                "--process {process} of --processes {processes}, and --hosts names {} hosts; give each process a line HOST:PORT and a number below --processes",
                hosts.len()
            )));
        }
        hosts.truncate(processes);
        Ok(Some(ClusterSettings { hosts, process }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;
    use hubbleflow::JobSettings;

    use super::WatchArgs;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        watch: WatchArgs,
    }

    fn parse(flags: &[&str]) -> Result<WatchArgs, clap::Error> {
        let words = ["watch", "catalog", "--out", "out", "--model", "model"];
        CommandLine::try_parse_from(words.iter().chain(flags)).map(|line| line.watch)
    }

    fn refusal(flags: &[&str]) -> String {
        parse(flags).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let settings = parse(&[]).unwrap().run.settings().unwrap();
        assert_eq!(
            format!("{settings:?}"),
            format!("{:?}", JobSettings::default())
        );
    }

    /// These took all memory, or panicked.
    #[test]
    fn numbers_beyond_their_bounds_are_refused() {
        for flags in [
            ["--workers", "5000"],
            ["--workers", "0"],
            ["--threads", "1000000"],
            ["--local", "100000"],
            ["--local", "0"],
            ["--batch", "4294967295"],
            ["--poll", "0ms"],
            ["--poll", "9ms"],
            ["--checkpoint", "9ms"],
            ["--settle", "1e300h"],
        ] {
            assert!(refusal(&flags).contains(flags[0]), "{flags:?}");
        }
    }

    #[test]
    fn a_url_is_not_a_path_and_its_password_is_not_printed() {
        for url in ["s3://a:secret@b/hosts", "s3:/b/hosts", "https://x/hosts"] {
            let said = refusal(&["--processes", "2", "--process", "0", "--hosts", url]);
            assert!(said.contains("--hosts"), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
