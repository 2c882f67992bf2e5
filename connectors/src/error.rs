//! The error type of this crate. Its variants differ in what a caller would do about them.
use std::io::ErrorKind;

use crate::galaxy::{IdKind, SchemaError};

/// The advice of messages about a damaged committed file.
pub(crate) const AGAIN: &str = "take its drop in again (run --drop NAME --again)";

/// An error of the catalog, the output or their stores. The message says what happened, to which object, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be understood.
    #[error("{url}: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with the URL.
        reason: String,
    },
    /// The bucket, folder or object is not there.
    #[error("{object}: not found; check the URL, the bucket and the endpoint")]
    NotFound {
        /// The URL of the object or place.
        object: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The store refuses these credentials.
    #[error(
        "{object}: access denied; check the credentials (keys, a profile or a role; AWS_SKIP_SIGNATURE=true for public buckets) and what they may read and write"
    )]
    Denied {
        /// The URL of the object or place.
        object: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The store or the disk is full, or a quota is used up.
    #[error(
        "{object}: there is no room left to write it ({}); make room, or raise the limit, and run again",
        root_cause(source)
    )]
    Full {
        /// The URL of the object.
        object: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// The store failed, even after retries. The same request may succeed later.
    #[error("{object}: the store failed: {}", root_cause(source))]
    Store {
        /// The URL of the object or place.
        object: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// An object has an invalid name, so the listing of the store fails.
    #[error(
        "{place}: an object here has a name that cannot be taken: {reason}; rename it, or move it away"
    )]
    Name {
        /// The URL of the place.
        place: String,
        /// The name, and what is wrong with it.
        reason: String,
    },
    /// The object is not a valid Parquet file. Only its drop fails.
    #[error("{object}: cannot be read as Parquet: {reason}; replace the object and run again")]
    Corrupt {
        /// The object.
        object: String,
        /// What the reader found wrong.
        reason: String,
    },
    /// A checkpoint is not what was stored.
    #[error("{object}: the checkpoint is damaged; the next try predicts its rows again")]
    Checkpoint {
        /// The checkpoint.
        object: String,
    },
    /// Rows cannot be encoded. Only their drop fails.
    #[error(
        "{object}: its rows cannot be written: {reason}; nothing of the drop is lost, and a column of --keep is the likely cause: run again without it"
    )]
    Encoding {
        /// The URL of the object.
        object: String,
        /// What the writer found wrong.
        reason: String,
    },
    /// Reading the object needs more memory at once than was set aside.
    #[error(
        "{object}: reading it takes {needs} bytes at once ({what}), and --memory allows {allowed}; write it with smaller pages and row groups, or give more --memory"
    )]
    Memory {
        /// The object.
        object: String,
        /// The page that needs most of the bytes.
        what: String,
        /// Bytes that are needed at once.
        needs: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The columns of a file do not fit.
    #[error("{object}: {source}")]
    Schema {
        /// The object.
        object: String,
        /// The column, and why it does not fit.
        source: SchemaError,
    },
    /// An object was replaced while its drop was being read.
    #[error(
        "{object}: changed since its drop was listed (its ETag or size is different); run again to take the drop as it is now"
    )]
    Changed {
        /// The object.
        object: String,
    },
    /// The files of a drop do not fit together, or the drop does not fit the committed drops.
    #[error("drop {drop}: {reason}")]
    Mixed {
        /// The drop.
        drop: String,
        /// What does not fit.
        reason: String,
    },
    /// The store of the output lets a second writer overwrite an object, so commits could be lost.
    #[error(
        "{output}: the store does not enforce create-if-absent (a second conditional put replaced the first), so two runs could overwrite each other's commits; use a store with conditional writes (S3, GCS, Azure, a local file system)"
    )]
    NoConditionalPut {
        /// The output.
        output: String,
    },
    /// The store reported that it wrote or deleted an object, but it did not.
    #[error(
        "{object}: the store reported success, but the object {reason}; run again, and check the store if this happens again"
    )]
    NotWritten {
        /// The URL of the object.
        object: String,
        /// How the object differs.
        reason: String,
    },
    /// A folder of the output is a symbolic link. Files behind links are not deleted.
    #[error(
        "{object}: is a symbolic link, and nothing is deleted behind links; replace it by the folder that it leads to"
    )]
    Link {
        /// The link.
        object: String,
    },
    /// A drop is committed, but some of its files may not be published.
    #[error(
        "it is in the ledger as {sequence}, but its files are not all published: {source}; the next run publishes the rest"
    )]
    Unpublished {
        /// The number of its entry.
        sequence: u64,
        /// Why a file could not be published.
        source: Box<Error>,
    },
    /// The ledger was written by a newer engine.
    #[error(
        "{object}: is of format {found}, and this engine knows format {known}; use a newer hubbleflow"
    )]
    Format {
        /// The entry.
        object: String,
        /// The format of the entry.
        found: u32,
        /// The newest format this engine reads.
        known: u32,
    },
    /// The ledger is damaged, or contradicts itself or its files.
    #[error("{object}: {reason}")]
    Ledger {
        /// The entry or file.
        object: String,
        /// The fault of the line.
        reason: String,
    },
}

impl Error {
    /// Converts an error of a store, by what a caller would do about it.
    pub fn store(object: impl Into<String>, source: object_store::Error) -> Self {
        let object = object.into();
        match source {
            object_store::Error::NotFound { .. } => Self::NotFound { object, source },
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Self::Denied { object, source },
            object_store::Error::Precondition { .. } => Self::Changed { object },
            object_store::Error::InvalidPath { .. } => Self::Name {
                place: object,
                reason: root_cause(&source).replace('\n', "\\n"),
            },
            object_store::Error::Generic { .. } if is_full(&source) => {
                Self::Full { object, source }
            }
            // object_store has no kind of its own for this error of a listing.
            object_store::Error::Generic { .. } if root_cause(&source).contains("NoSuchBucket") => {
                Self::NotFound { object, source }
            }
            object_store::Error::Generic { .. } if is_denied(&root_cause(&source)) => {
                Self::Denied { object, source }
            }
            _ => Self::Store { object, source },
        }
    }

    /// The error of a drop that cannot be read, for this reason.
    pub(crate) fn mixed(drop: &str, reason: impl Into<String>) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: reason.into(),
        }
    }

    /// The error of a drop whose ids have a different type than the ids of the catalog.
    pub fn mixed_ids(drop: &str, here: IdKind, there: IdKind, other: &str) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: format!(
                "object_id is {here}, and {there} in drop {other}; a catalog has one type"
            ),
        }
    }

    /// The error of a drop with a kept column that has a different type in another drop.
    pub fn mixed_kept(drop: &str, column: &str, [here, there]: [&str; 2], other: &str) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: format!(
                "column `{column}` of --keep is {here}, and {there} in drop {other}; readers of the whole output need one type: write it alike in all drops, leave --keep out, or choose another --out"
            ),
        }
    }

    /// Whether the same request may succeed if it is repeated.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::NotWritten { .. })
    }
}

/// Whether an error means that a disk, a quota or a store is full.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let by_system = error.downcast_ref::<std::io::Error>().is_some_and(|error| {
        let kinds = [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::FileTooLarge,
        ];
        kinds.contains(&error.kind())
    });
    by_system
        || error.to_string().contains("507 Insufficient Storage")
        || error.source().is_some_and(is_full)
}

/// Whether a message means that access is denied or that there are no credentials.
fn is_denied(message: &str) -> bool {
    ["403 Forbidden", "401 Unauthorized", "169.254.169.254"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// The innermost message of an error. object_store wraps errors several times.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
