//! A hosts file for a cluster of two processes on this machine.
use std::{io::Write, net::TcpListener, path::Path};

use tempfile::NamedTempFile;

use crate::tree::text;

/// A hosts file with two free addresses of this machine.
pub struct HostsFile(NamedTempFile);

impl HostsFile {
    #[expect(clippy::new_without_default, reason = "it writes a file")]
    pub fn new() -> Self {
        let mut file = NamedTempFile::new().unwrap();
        // Both listeners stay open until both ports are known, so that the ports differ.
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        for listener in &listeners {
            writeln!(file, "{}", listener.local_addr().unwrap()).unwrap();
        }
        Self(file)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The flags of a process of the cluster.
    pub fn flags(&self, process: usize) -> Vec<String> {
        let (process, hosts) = (process.to_string(), text(self.path()));
        let flags = ["--processes", "2", "--process", &process, "--hosts", &hosts];
        flags.map(str::to_owned).into()
    }
}
