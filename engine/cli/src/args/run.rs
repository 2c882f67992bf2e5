//! How a job runs, and how a catalog is watched.
use clap::Args;
use hubbleflow::{
    JobSettings,
    settings::{BATCH_MAX, WORKERS_MAX},
    units::{HumanBytes, HumanDuration},
};
use models::device::{DeviceChoice, InstructionSet, PrecisionChoice};

use super::{
    catalog::CatalogArgs,
    cluster::ClusterArgs,
    values::{checkpoint, poll, threads},
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
    /// The cluster that this process belongs to.
    #[command(flatten)]
    pub cluster: ClusterArgs,
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
            cluster: self.cluster.settings()?,
        })
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
