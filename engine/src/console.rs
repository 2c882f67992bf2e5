//! What people see: results on standard output, and how it goes on standard error.
use std::{
    fmt::Display,
    io::{ErrorKind, Write},
};

use crate::Error;

/// Prints a line of a result. That nobody reads on, as `head` does after some lines, is no error.
///
/// # Errors
/// [`Error::Io`] where it cannot be written, as on a full disk.
pub fn print(line: impl Display) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
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
    let _ = writeln!(std::io::stderr(), "{line}");
}
