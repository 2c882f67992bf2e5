//! An object as a listing shows it.
use serde::{Deserialize, Serialize};

/// An object as it was when its drop was listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The path below the catalog.
    pub path: String,
    /// The ETag, or the date if the store gives no ETag.
    pub etag: Option<String>,
    /// The size.
    pub bytes: u64,
}
