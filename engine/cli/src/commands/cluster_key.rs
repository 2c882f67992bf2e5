//! `hubbleflow cluster-key`: a key for the processes of a cluster.
use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use hubbleflow::ClusterKey;

use crate::{Error, console::print};

/// Makes a key, and writes it to a new file that only its owner can read, or prints it.
pub(crate) fn cluster_key(file: Option<&Path>) -> Result<u8, Error> {
    let key = ClusterKey::generate()?.to_base64();
    match file {
        None => print(key)?,
        Some(file) => {
            let mut options = OpenOptions::new();
            // A key that is there is in use somewhere.
            let opened = options.write(true).create_new(true).mode(0o600).open(file);
            let written = opened.and_then(|mut to| writeln!(to, "{key}"));
            written.map_err(|source| Error::io(file.display().to_string(), source))?;
        }
    }
    Ok(0)
}
