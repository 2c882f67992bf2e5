//! A hosts file: a line `HOST:PORT` for each process.
use std::path::Path;

use connectors::text::read_text;

use crate::SettingsError;

/// Upper bound on the size of a hosts file.
const HOSTS_BYTES_MAX: u64 = 1 << 20;

/// Reads the addresses in a hosts file.
///
/// # Errors
/// [`SettingsError`] for a file that cannot be read, or a line that is not an address of its own.
pub fn read_hosts(file: &Path) -> Result<Vec<String>, SettingsError> {
    let text = read_text(file, HOSTS_BYTES_MAX).map_err(|source| SettingsError::HostsFile {
        file: file.to_owned(),
        source,
    })?;
    let mut hosts: Vec<String> = Vec::new();
    let lines = text.lines().map(str::trim).zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let wrong = |reason| {
            Err(SettingsError::HostsLine {
                file: file.to_owned(),
                number,
                line: line.to_owned(),
                reason,
            })
        };
        let port = line
            .rsplit_once(':')
            .map(|(_host, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return wrong("is not HOST:PORT");
        }
        if hosts.iter().any(|host| host == line) {
            return wrong("stands there twice; give each process a place of its own");
        }
        hosts.push(line.to_owned());
    }
    Ok(hosts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_that_cannot_be_read_is_a_usage_error() {
        for file in ["/dev/zero", "/no/such/file", "/"] {
            let error = read_hosts(Path::new(file)).unwrap_err();
            assert!(matches!(error, SettingsError::HostsFile { .. }), "{error}");
        }
    }
}
