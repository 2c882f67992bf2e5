//! What can go wrong between the stores and the dataflow, split by what a caller would do about it.
use std::io::ErrorKind;

use crate::galaxy::{IdKind, SchemaError};

/// What a user does about a committed file that is damaged, for messages.
pub(crate) const AGAIN: &str = "take its drop in again (run --drop NAME --again)";

/// An error of the catalog, the output or their stores. The message says what happened, to which object, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be understood: mend the command.
    #[error("{url}: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bucket, folder or object is not there.
    #[error("{object}: not found; check the URL, the bucket and the endpoint")]
    NotFound {
        /// What was asked for.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store refuses these credentials.
    #[error(
        "{object}: access denied; check the credentials (keys, a profile or a role; AWS_SKIP_SIGNATURE=true for public buckets) and what they may read and write"
    )]
    Denied {
        /// What was asked for.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store has no room left, or no more than this may be written.
    #[error(
        "{object}: there is no room left to write it ({}); make room, or raise the limit, and run again",
        root_cause(source)
    )]
    Full {
        /// What was to be written.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// The store failed, also after retries: the same request may succeed later.
    #[error("{object}: the store failed: {}", root_cause(source))]
    Store {
        /// What was asked for.
        object: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// An object whose name the store's listing cannot give, and with it no other.
    #[error(
        "{place}: an object here has a name that cannot be taken: {reason}; rename it, or move it away"
    )]
    Name {
        /// What was listed.
        place: String,
        /// The name, and what is wrong with it.
        reason: String,
    },
    /// The object is not what its name says: it fails its drop, and no other.
    #[error("{object}: cannot be read as Parquet: {reason}; replace the object and run again")]
    Corrupt {
        /// The object.
        object: String,
        /// What the reader met.
        reason: String,
    },
    /// Rows that were read cannot be written: it fails their drop, and no other.
    #[error(
        "{object}: its rows cannot be written: {reason}; nothing of the drop is lost, and a column of --keep is the likely cause: run again without it"
    )]
    Encoding {
        /// What was to be written.
        object: String,
        /// What the writer met.
        reason: String,
    },
    /// Reading the object takes more memory at once than was set aside for it.
    #[error(
        "{object}: reading it takes {needs} bytes at once ({what}), and --memory allows {allowed}; write it with smaller pages and row groups, or give more --memory"
    )]
    Memory {
        /// The object.
        object: String,
        /// What takes that much.
        what: String,
        /// Bytes that are needed at once.
        needs: u64,
        /// Bytes that may be held.
        allowed: u64,
    },
    /// The columns of a file do not make galaxies.
    #[error("{object}: {source}")]
    Schema {
        /// The object.
        object: String,
        /// Which column, and why.
        source: SchemaError,
    },
    /// An object was replaced while its drop was being read.
    #[error(
        "{object}: changed since its drop was listed (its ETag or size is another); run again to take the drop as it is now"
    )]
    Changed {
        /// The object.
        object: String,
    },
    /// The files of a drop do not belong together, or the drop does not belong to those before it.
    #[error("drop {drop}: {reason}")]
    Mixed {
        /// The drop.
        drop: String,
        /// What disagrees about what.
        reason: String,
    },
    /// The output's store lets a second writer overwrite what a first one created, so commits could be lost.
    #[error(
        "{output}: the store does not enforce create-if-absent (a second conditional put replaced the first), so two runs could overwrite each other's commits; use a store with conditional writes (S3, GCS, Azure, a local file system)"
    )]
    NoConditionalPut {
        /// The output.
        output: String,
    },
    /// The store said that it had written or deleted an object, and it has not.
    #[error(
        "{object}: the store said yes, but the object {reason}; run again, and check the store if this comes back"
    )]
    NotWritten {
        /// What was written or deleted.
        object: String,
        /// What is there instead.
        reason: String,
    },
    /// A folder of the output is a symbolic link: what lies behind it is not deleted.
    #[error(
        "{object}: is a symbolic link, and nothing is deleted behind links; replace it by the folder that it leads to"
    )]
    Link {
        /// The link.
        object: String,
    },
    /// A drop is in the ledger, but its files may not all be where readers look for them.
    #[error(
        "it is in the ledger as {sequence}, but publishing its files did not come to an end: {source}; the next run goes on with it"
    )]
    Unpublished {
        /// Its entry.
        sequence: u64,
        /// What kept a file from being published.
        source: Box<Error>,
    },
    /// The ledger was written by an engine that knows more than this one.
    #[error(
        "{object}: is of format {found}, and this engine knows format {known}; use a newer hubbleflow"
    )]
    Format {
        /// The entry.
        object: String,
        /// Its format.
        found: u32,
        /// The newest format this engine reads.
        known: u32,
    },
    /// The ledger contradicts itself or the files it lists.
    #[error("{object}: {reason}")]
    Ledger {
        /// The entry or file.
        object: String,
        /// What contradicts what.
        reason: String,
    },
}

impl Error {
    /// Sorts a store's error by what a caller would do about it.
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
            // What a listing meets is of no kind of its own.
            object_store::Error::Generic { .. } if root_cause(&source).contains("NoSuchBucket") => {
                Self::NotFound { object, source }
            }
            object_store::Error::Generic { .. } if is_denied(&root_cause(&source)) => {
                Self::Denied { object, source }
            }
            _ => Self::Store { object, source },
        }
    }

    /// A drop that cannot be taken as a whole, for this reason.
    pub(crate) fn mixed(drop: &str, reason: impl Into<String>) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: reason.into(),
        }
    }

    /// The ids of a drop are of one type, and those of another drop, so of the catalog, of another.
    pub fn mixed_ids(drop: &str, here: IdKind, there: IdKind, other: &str) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: format!(
                "object_id is {here}, and {there} in drop {other}; a catalog has one type"
            ),
        }
    }

    /// A kept column of a drop is of one type, and in another drop of another.
    pub fn mixed_kept(drop: &str, column: &str, [here, there]: [&str; 2], other: &str) -> Self {
        Self::Mixed {
            drop: drop.to_owned(),
            reason: format!(
                "column `{column}` of --keep is {here}, and {there} in drop {other}; readers of the whole output need one type: write it alike in all drops, leave --keep out, or choose another --out"
            ),
        }
    }

    /// Whether the same request may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::NotWritten { .. })
    }
}

/// Whether a disk, a quota or a store is full.
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

/// Whether a store refuses whoever asks, or found nobody to ask as.
fn is_denied(message: &str) -> bool {
    ["403 Forbidden", "401 Unauthorized", "169.254.169.254"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// The innermost message: stores wrap theirs several times over.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
