//! One of the starts of a command: a supervisor starts a cluster again when one of its processes crashes.
use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, clock::clock};

/// A start of a command, written `COMMAND@SECONDS`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The command's unique name; the attempts of all its starts begin with it.
    pub command: String,
    /// How long the command had been running when this process began.
    pub after: Duration,
}

impl Start {
    /// What another process is told: how long the command has been running now.
    pub(crate) fn told(&self) -> Self {
        Self {
            command: self.command.clone(),
            after: self.after + clock(),
        }
    }

    /// What another process has just told.
    pub(crate) fn heard(self) -> Self {
        Self {
            command: self.command,
            after: self.after.saturating_sub(clock()),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.command, self.after.as_secs_f64())
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text} is not COMMAND@SECONDS");
        let (command, after) = text.split_once('@').ok_or_else(malformed)?;
        let after = after.parse().map_err(|_| malformed())?;
        Ok(Self {
            command: command.to_owned(),
            after: Duration::try_from_secs_f64(after).map_err(|_| malformed())?,
        })
    }
}

/// Makes a unique name of sixteen hex digits.
///
/// # Errors
/// [`Error::Io`] if the system gives no random numbers.
pub fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::io("the system gives no random numbers", error.into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
