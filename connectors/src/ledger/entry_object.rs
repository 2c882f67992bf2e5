//! Reads and parses the object that holds one entry of the ledger.
use crate::{
    Error, Location, json_format,
    ledger::entry::{Entry, FORMAT},
    paths,
};

/// Reads the entry with this number, or returns `None` if it does not exist.
pub(crate) async fn read_entry(output: &Location, sequence: u64) -> Result<Option<Entry>, Error> {
    let name = paths::entry(sequence);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(None);
    };
    let object = output.url_of(&name);
    let entry: Entry = json_format::parse(&text, &object, FORMAT, |error| {
        format!("is no ledger entry: {error}; restore it from a backup")
    })?;
    if entry.sequence != sequence {
        let reason = format!("holds entry {}; restore it from a backup", entry.sequence);
        return Err(Error::Ledger { object, reason });
    }
    Ok(Some(entry))
}
