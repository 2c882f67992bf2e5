//! A hosts file: a line `HOST:PORT` for each process.
use std::path::Path;

use connectors::text::read_text;

use crate::Error;

/// Upper bound on the size of a hosts file.
const HOSTS_BYTES_MAX: u64 = 1 << 20;

/// Reads the addresses in a hosts file.
///
/// # Errors
/// [`Error::Usage`] for a file that cannot be read, or a line that is not an address of its own.
pub fn read_hosts(file: &Path) -> Result<Vec<String>, Error> {
    let text = read_text(file, HOSTS_BYTES_MAX)
        .map_err(|error| Error::Usage(format!("--hosts {}: {error}", file.display())))?;
    let mut hosts: Vec<String> = Vec::new();
    let lines = text.lines().map(str::trim).zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty()) {
        let wrong = |reason: &str| {
            let file = file.display();
            Err(Error::Usage(format!(
                "{file}, line {number}: {line:?} {reason}"
            )))
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
    fn a_hosts_file_without_an_end_is_a_usage_error() {
        for file in ["/dev/zero", "/no/such/file", "/"] {
            let error = read_hosts(Path::new(file)).unwrap_err();
            assert!(matches!(error, Error::Usage(_)), "{error}");
        }
    }
}
