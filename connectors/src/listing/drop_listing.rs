//! A drop as a listing shows it, and the ways to group objects into drops.
use serde::{Deserialize, Serialize};

use crate::store::object_ref::ObjectRef;

/// How the objects below the prefix are grouped into drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropBy {
    /// Each child of the prefix is a drop.
    #[default]
    Child,
    /// All objects below the prefix are one drop, as in a HATS catalog. It is named like the last part of the prefix.
    All,
}

/// A drop as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropListing {
    /// The name, which identifies the drop in every run.
    pub name: String,
    /// The object, if the drop is a single object. A folder is listed when the drop is planned.
    pub(crate) object: Option<ObjectRef>,
    /// Why the drop cannot be read, if the listing shows a reason.
    pub fault: Option<String>,
}

impl DropListing {
    /// Describes a drop that is committed already, of which only the name is known.
    pub fn committed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            object: None,
            fault: None,
        }
    }
}
