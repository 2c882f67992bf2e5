//! An object as a listing names it.
use serde::{Deserialize, Serialize};

/// An object as it was when its drop was listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Where it lies below the catalog.
    pub path: String,
    /// Its ETag, where the store gives one.
    pub etag: Option<String>,
    /// Its size.
    pub bytes: u64,
}
