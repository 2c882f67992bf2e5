//! The object that holds one entry of the ledger: reads and parses it.
use serde::Deserialize;

use crate::{
    Error, Location,
    entry::{Entry, FORMAT},
    paths,
};

/// Reads the entry at a number of the ledger; `None` if there is none.
pub(crate) async fn read_entry(output: &Location, sequence: u64) -> Result<Option<Entry>, Error> {
    let name = paths::entry(sequence);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(None);
    };
    let object = output.url_of(&name);
    let entry = parse(&text, object.clone())?;
    if entry.sequence != sequence {
        let reason = format!("holds entry {}; restore it from a backup", entry.sequence);
        return Err(Error::Ledger { object, reason });
    }
    Ok(Some(entry))
}

/// Looks at the format first: the fields of a newer one may not be read at all.
fn parse(text: &[u8], object: String) -> Result<Entry, Error> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let bad = |error: serde_json::Error| Error::Ledger {
        object: object.clone(),
        reason: format!("is no ledger entry: {error}; restore it from a backup"),
    };
    let Format { format } = serde_json::from_slice(text).map_err(bad)?;
    if format > FORMAT {
        return Err(Error::Format {
            object,
            found: format,
            known: FORMAT,
        });
    }
    serde_json::from_slice(text).map_err(bad)
}
