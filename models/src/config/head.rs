//! The form of the redshift that a network's last layer gives.

use serde::{Deserialize, Serialize};

/// The form of the redshift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum HeadKind {
    /// One number: the redshift.
    #[default]
    Point,
}

impl HeadKind {
    /// Whether this is the default, which need not be written.
    pub(crate) fn is_point(&self) -> bool {
        *self == HeadKind::Point
    }
}
