//! Checks whether a published file is as it was committed: its bytes, its rows, its metadata and its flags.
use arrow::{array::AsArray, datatypes::Int32Type};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use crate::{
    Error, Output,
    error::AGAIN,
    file::fetch::ObjectReader,
    ledger::{
        entry::{Entry, FileRecord},
        flag_counts::FlagCounts,
    },
    output::{
        committed::{CommittedFile, file_of, files_of},
        contradiction::contradiction,
    },
    part::{Folder, count_flags},
    store::object_ref::ObjectRef,
};

/// The name of the column of flags in `photoz/`.
const Z_FLAGS: &str = "z_flags";
/// Files whose flags are counted at once.
const FILES_AT_ONCE: usize = 4;

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

/// Counts the flags in the intact files of an entry again, and says if the entry counts others. `None` if it counts the same,
/// or none of its files has flags.
///
/// # Errors
/// Errors of the store.
pub async fn flags_fault(output: &Output, entry: &Entry) -> Result<Option<String>, Error> {
    let files = files_of(entry).into_iter();
    let files: Vec<_> = files.filter(|file| file.folder == Folder::Photoz).collect();
    let Some(told) = entry.flags.as_ref().filter(|_| !files.is_empty()) else {
        return Ok(None);
    };
    let counts = stream::iter(files).map(|file| async move { flags_of(output, &file).await });
    let mut counts = counts.buffered(FILES_AT_ONCE);
    let mut found = FlagCounts::default();
    while let Some(of_file) = counts.next().await {
        match of_file {
            Ok(of_file) => found += of_file,
            Err(error @ Error::Corrupt { .. }) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    let shown = |counts: &FlagCounts| match counts.is_empty() {
        true => "no flags".to_owned(),
        false => counts.to_string(),
    };
    Ok((found != *told).then(|| {
        format!(
            "its files hold {}, and it says {}",
            shown(&found),
            shown(told)
        )
    }))
}

async fn flags_of(output: &Output, file: &CommittedFile) -> Result<FlagCounts, Error> {
    let mut batches = file.open(output).await?.read(&[Z_FLAGS], |_| true)?;
    let mut counts = FlagCounts::default();
    while let Some(rows) = batches.try_next().await? {
        let flags = rows.column_by_name(Z_FLAGS);
        let flags = flags.and_then(|flags| flags.as_primitive_opt::<Int32Type>());
        counts += flags.map_or_else(FlagCounts::default, |flags| {
            count_flags(flags.iter().flatten())
        });
    }
    Ok(counts)
}
