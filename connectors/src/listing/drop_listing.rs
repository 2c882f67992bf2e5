//! How the objects of a catalog make drops, and a drop as a listing shows it.
use serde::{Deserialize, Serialize};

use crate::store::object_ref::ObjectRef;

/// How the objects below the prefix make drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropBy {
    /// Each child of the prefix is a drop.
    #[default]
    Child,
    /// All objects below the prefix are one drop, named as the prefix's last part: a HATS or plain catalog.
    All,
}

/// A drop as the listing shows it.
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
    /// A drop that is committed already. Only its name is known.
    pub fn committed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            object: None,
            fault: None,
        }
    }
}
