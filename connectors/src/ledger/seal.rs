//! The checksum inside an entry, which shows whether the entry is damaged.
use serde::{Deserialize, Serialize};

use crate::{
    Error, Location,
    ledger::entry::{Entry, checksum},
    paths,
};

/// The field of an entry with the checksum of all other fields.
const CHECKSUM: &str = "checksum";

/// Encodes an entry with the checksum of its fields.
pub(crate) fn sealed(entry: &Entry) -> Vec<u8> {
    #[derive(Serialize)]
    struct Sealed<'a> {
        #[serde(flatten)]
        entry: &'a Entry,
        checksum: String,
    }
    let text = serde_json::to_vec(entry).expect("invariant: an entry is plain data");
    let checksum = checksum_of(&text).expect("invariant: an entry is JSON");
    serde_json::to_vec_pretty(&Sealed { entry, checksum })
        .expect("invariant: an entry is plain data")
}

/// The checksum of all fields but `checksum`. Spaces and the order of fields do not matter.
fn checksum_of(text: &[u8]) -> serde_json::Result<String> {
    let mut entry: serde_json::Value = serde_json::from_slice(text)?;
    if let Some(fields) = entry.as_object_mut() {
        fields.remove(CHECKSUM);
    }
    Ok(checksum(entry.to_string().as_bytes()))
}

/// Reads an entry of the ledger again and says what is wrong with it, or `None` if it is intact.
///
/// Older engines wrote no checksum.
///
/// # Errors
/// Errors of the store.
pub async fn entry_fault(output: &Location, entry: &Entry) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct Sealed {
        checksum: Option<String>,
    }
    let name = paths::entry(entry.sequence);
    let Some(text) = output.read_if_there(&name).await? else {
        return Ok(Some("is missing; restore it from a backup".to_owned()));
    };
    let read = serde_json::from_slice::<Entry>(&text)
        .and_then(|read| Ok((read, serde_json::from_slice::<Sealed>(&text)?.checksum)))
        .and_then(|(read, told)| Ok((read, told, checksum_of(&text)?)));
    Ok(match read {
        Err(error) => Some(format!("is no ledger entry: {error}; restore it from a backup")),
        Ok((_, Some(told), found)) if told != found => Some(
            "is not as it was written: what it says has another checksum; restore it from a backup".to_owned(),
        ),
        Ok((read, ..)) if read != *entry => Some(
            "differs from its copy in _hubbleflow/compacted; restore the entry from a backup or, if the entry is right, delete that folder, and the next run makes it again".to_owned(),
        ),
        Ok(_) => None,
    })
}
