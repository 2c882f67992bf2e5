//! Checks whether a published file is as it was committed: its bytes, its rows and its metadata.
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use crate::{
    Error, Output,
    error::AGAIN,
    file::fetch::ObjectReader,
    ledger::entry::{Entry, FileRecord},
    output::{committed::file_of, contradiction::contradiction},
    store::object_ref::ObjectRef,
};

/// Reads a whole published file and says what is wrong with it, or `None` if it is intact.
///
/// # Errors
/// Errors of the store.
pub async fn damage(output: &Output, file: &FileRecord) -> Result<Option<String>, Error> {
    let place = output.location();
    let fail = |source| Error::store(place.url_of(&file.path), source);
    // The file is hashed in pieces, because it may not fit into memory.
    let (mut found, mut hash) = (0, Sha256::new());
    let mut bytes = match place.store.get(&place.path(&file.path)?).await {
        Ok(answer) => answer.into_stream(),
        Err(object_store::Error::NotFound { .. }) => {
            return Ok(Some(format!("is missing; {AGAIN}")));
        }
        Err(source) => return Err(fail(source)),
    };
    while let Some(bytes) = bytes.try_next().await.map_err(fail)? {
        found += bytes.len() as u64;
        hash.update(&bytes);
    }
    let (told, digest) = (file.bytes, hash.finalize());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if (found, &digest) != (told, &file.sha256) {
        return Ok(Some(format!(
            "its bytes are not those that were committed ({found} of them, and {told} were; SHA-256 {digest:.12}…); {AGAIN}"
        )));
    }
    let object = ObjectRef {
        path: file.path.clone(),
        etag: None,
        bytes: file.bytes,
    };
    let footer = ObjectReader::new(place, &object)?.footer().await;
    let rows = footer.map(|footer| footer.file_metadata().num_rows() as u64);
    Ok(match rows {
        Ok(rows) if rows == file.rows => None,
        Ok(rows) => Some(format!("holds {rows} rows, not {}", file.rows)),
        Err(error) => Some(format!("cannot be read: {error}")),
    })
}

/// Says what is wrong with the bytes or the metadata of a published file, or returns `None` if the file is intact.
///
/// # Errors
/// Errors of the store.
pub async fn fault_of(
    output: &Output,
    entry: &Entry,
    file: &FileRecord,
) -> Result<Option<String>, Error> {
    let damage = damage(output, file).await?;
    let Some(of_entry) = file_of(entry, file).filter(|_| damage.is_none()) else {
        return Ok(damage);
    };
    let rows = of_entry.open(output).await?;
    contradiction(entry, of_entry.folder, rows).await
}
