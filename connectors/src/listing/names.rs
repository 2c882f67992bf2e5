//! The rules for the names of drops and objects.
use object_store::ObjectMeta;

use crate::{
    Error, Location,
    store::{etag::version, object_ref::ObjectRef},
};

/// The name of the drop if a whole catalog is one drop.
pub(crate) fn all_in_one(location: &Location) -> String {
    let mut parts = location.url.rsplit('/');
    let name = parts.find(|part| !part.is_empty());
    name.unwrap_or("all").to_owned()
}

/// Refuses a drop name of the form KEY=VALUE. DuckDB, pyarrow and other readers interpret such a folder as a Hive
/// partition, and replace the column KEY with the value from the folder's name.
///
/// # Errors
/// [`Error::Mixed`] if the name has a `=`.
pub(crate) fn check_name(drop: &str) -> Result<(), Error> {
    if !drop.contains('=') {
        return Ok(());
    }
    Err(Error::Mixed {
        drop: drop.to_owned(),
        reason: "readers take a folder named KEY=VALUE for a partition, and its value for a column, and the predictions are written to a folder of the drop's name; rename the drop, or take the whole catalog as one drop (--drop-by all)".to_owned(),
    })
}

/// Makes a reference to a listed object, with its path below the catalog.
pub(crate) fn object_ref(location: &Location, meta: &ObjectMeta) -> ObjectRef {
    let path = location.relative(&meta.location).to_owned();
    ObjectRef {
        path,
        etag: Some(version(meta)),
        bytes: meta.size,
    }
}

/// Whether a name may be part of a drop. Names that begin with `_` or `.` are ignored.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['_', '.'])
}

/// Whether an object is read. Its name must end in a suffix of Parquet files, in lower or upper case.
pub(crate) fn is_parquet(path: &str) -> bool {
    let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let suffixes = ["parquet", "parq", "pq", "pqt"];
    suffixes
        .iter()
        .any(|known| suffix.eq_ignore_ascii_case(known))
        && path.split('/').all(is_name)
}
