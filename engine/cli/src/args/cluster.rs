//! The cluster that a process belongs to.
use std::{ops::RangeInclusive, path::PathBuf, str::FromStr};

use clap::Args;
use hubbleflow::{
    ClusterKey, ClusterSettings,
    cluster::{Meeting, read_hosts},
    start::Start,
    units::HumanDuration,
};

use super::values::{LocalPath, local};
use crate::Error;

/// How many processes a cluster may have, as `4` or `2..8`; both ends count.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes(pub RangeInclusive<usize>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a number as 4, or a range as 2..8, which begins at 2 or more".to_owned();
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let sizes = match text.split_once("..") {
            None => number(text)?..=number(text)?,
            Some((first, last)) => number(first)?..=number(last.trim_start_matches('='))?,
        };
        let is_range = sizes.start() != sizes.end();
        match *sizes.start() == 0 || sizes.is_empty() || (is_range && *sizes.start() < 2) {
            true => Err(wrong()),
            false => Ok(Self(sizes)),
        }
    }
}

/// Arguments of a cluster.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Run as a cluster of N processes on this machine
    #[arg(long, value_name = "N", value_parser = local)]
    pub local: Option<usize>,
    /// How often a local cluster is started again after one of its processes crashed
    #[arg(long, default_value_t = 3)]
    pub restarts: u32,
    /// How many processes the cluster has: 4, or 2..8 for a cluster that begins with the processes that have come, goes on
    /// after a loss, and takes newcomers in
    #[arg(long, value_name = "N")]
    pub processes: Option<Sizes>,
    /// The number of this process, from 0; with --hosts
    #[arg(long, value_name = "I", requires = "processes")]
    pub process: Option<usize>,
    /// A file with a line HOST:PORT for each process
    #[arg(long, value_name = "FILE", requires = "processes", value_parser = LocalPath)]
    pub hosts: Option<PathBuf>,
    /// Where the processes meet, in any store, if there is no --hosts [default: a place below --out]
    #[arg(long, value_name = "URL", requires = "processes")]
    pub rendezvous: Option<String>,
    /// The address under which the others reach this process, if not an address of this machine. With a port, this process
    /// listens at the port
    #[arg(long, value_name = "HOST[:PORT]", requires = "processes")]
    pub advertise: Option<String>,
    /// How long processes wait for each other at the start [default: 60s, of a range 30s]
    #[arg(long, value_name = "DURATION", requires = "processes")]
    pub gather: Option<HumanDuration>,
    /// The file with the key of the cluster. The key encrypts all connections between processes, and keeps strangers out.
    /// `hubbleflow cluster-key FILE` makes a key
    #[arg(long, value_name = "FILE", value_parser = LocalPath)]
    pub cluster_key: Option<PathBuf>,
    /// Let other machines connect without a --cluster-key. Anybody who reaches a process may then join
    #[arg(long)]
    pub insecure: bool,
    /// The lines of a hosts file, from a supervisor
    #[arg(long, hide = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub addresses: Vec<String>,
    /// Started by a supervisor, for this command: ends when standard input does
    #[arg(long, hide = true, value_name = "COMMAND@SECONDS")]
    pub supervised: Option<Start>,
    /// Started again by itself, for this command
    #[arg(long, hide = true, value_name = "COMMAND@SECONDS")]
    pub earlier: Option<Start>,
    /// How many processes of the cluster were left then
    #[arg(long, hide = true, value_name = "N")]
    pub left: Option<usize>,
}

impl ClusterArgs {
    /// The settings of the cluster; reads the hosts file and the key if they are named. `None` for a process alone.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings that contradict each other.
    pub(super) fn settings(&self) -> Result<Option<ClusterSettings>, Error> {
        let Some(Sizes(sizes)) = &self.processes else {
            return Ok(None);
        };
        let mut settings = match self.process {
            Some(process) => self.at_hosts(sizes, process)?,
            None if self.hosts.is_some() => {
                return Err(Error::usage(
                    "--hosts needs --process, the number of this process, from 0",
                ));
            }
            None if sizes.end() == &1 => return Ok(None),
            None => self.by_rendezvous(sizes),
        };
        settings.key = self
            .cluster_key
            .as_deref()
            .map(ClusterKey::read)
            .transpose()?;
        settings.is_insecure = self.insecure;
        if let Some(gather) = &self.gather {
            settings.gather = gather.0;
        }
        Ok(Some(settings))
    }

    fn by_rendezvous(&self, sizes: &RangeInclusive<usize>) -> ClusterSettings {
        ClusterSettings {
            meeting: Meeting::Rendezvous {
                processes: sizes.clone(),
                url: self.rendezvous.clone(),
                advertise: self.advertise.clone(),
                left: self.left,
            },
            ..ClusterSettings::by_rendezvous(sizes.clone())
        }
    }

    fn at_hosts(
        &self,
        sizes: &RangeInclusive<usize>,
        process: usize,
    ) -> Result<ClusterSettings, Error> {
        if self.rendezvous.is_some() || self.advertise.is_some() {
            return Err(Error::usage(
                "--process is for --hosts: processes that meet through --rendezvous get their numbers there",
            ));
        }
        let processes = *sizes.end();
        if *sizes.start() < processes {
            return Err(Error::usage(
                "--processes is one number with --hosts; a range needs --rendezvous",
            ));
        }
        let mut hosts = match &self.hosts {
            _ if !self.addresses.is_empty() => self.addresses.clone(),
            Some(file) => read_hosts(file)?,
            None => {
                return Err(Error::usage(
                    "--process needs --hosts, a file with a line HOST:PORT for each process; without --process the processes meet through --rendezvous",
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
        Ok(ClusterSettings::at_hosts(hosts, process))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_number_or_a_range_with_both_ends() {
        assert_eq!("4".parse(), Ok(Sizes(4..=4)));
        assert_eq!("2..8".parse(), Ok(Sizes(2..=8)));
        for wrong in ["0", "", "8..2", "1..4", "..", "2..", "x", "-1", "2..8..9"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
