//! The request and the result of a listing.
use std::collections::HashSet;

use object_store::ObjectMeta;

/// The result of a listing.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// Names that cannot be read as objects.
    pub faults: Vec<Fault>,
}

/// A name that cannot be read as an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The path below the place. Characters that cannot be printed are escaped.
    pub path: String,
    /// Why the name cannot be read, and what to do about it.
    pub reason: String,
}

/// Which part of a place is listed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    /// The whole place.
    All,
    /// One child: an object, or a folder and everything below it.
    Child(&'a str),
    /// The children whose names are not known yet. If the store lists in order, only the children after the last known name.
    New(&'a HashSet<String>),
}
