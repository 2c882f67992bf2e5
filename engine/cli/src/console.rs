//! What people see: results on standard output, and how it goes on standard error.
use std::{
    error::Error as _,
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
};

use crate::Error;

/// Prints a line of a result. That nobody reads on, as `head` does after some lines, is no error.
///
/// # Errors
/// [`Error::Io`] where it cannot be written, as on a full disk.
pub fn print(line: impl Display) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", visible(line)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::io("standard output", error))
        }
        _ => Ok(()),
    }
}

/// Prints a result: one JSON object, or text.
///
/// # Errors
/// As [`print`].
pub fn show(as_json: bool, value: &(impl serde::Serialize + Display)) -> Result<(), Error> {
    if as_json {
        print(json(value))
    } else {
        print(value)
    }
}

/// A result as JSON.
pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what is shown is plain data")
}

/// Tells how it goes. That nobody can be told stops no work.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{}", visible(line));
}

/// Tells of an error, and what caused it.
pub fn tell_error(error: &Error) {
    let mut said = format!("hubbleflow: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Many repeat what caused them.
        if !said.contains(&words) {
            said += &format!("\n  because: {words}");
        }
        source = cause.source();
    }
    tell(said);
}

/// Sends the log of the libraries to standard error, as far as `HUBBLEFLOW_LOG` asks for it.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HUBBLEFLOW_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that nobody reads stops no work.
        .log_internal_errors(false)
        .init();
}

/// A text for a terminal, its control characters written out as in JSON: names of models, drops and files may hold what
/// a terminal would obey.
fn visible(line: impl Display) -> String {
    let line = line.to_string();
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if line.chars().all(is_plain) {
        return line;
    }
    let written = |c: char| match is_plain(c) {
        true => c.to_string(),
        false => format!("\\u{:04x}", u32::from(c)),
    };
    line.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn a_terminal_is_told_nothing_that_it_would_obey() {
        let said = visible("name \u{1b}[31m\u{9b}2J\u{7}\r\nlast\tword é");
        assert_eq!(
            said,
            "name \\u001b[31m\\u009b2J\\u0007\\u000d\nlast\tword é"
        );
    }
}
